//! What is known of the gaps of a pool's replicas.

use super::{TimeRange, TimeRanges};
use std::{borrow::Cow, collections::HashMap, sync::Arc};

/// The gaps of the replicas of a pool, by URL.
#[derive(Clone, Debug)]
pub struct KnownGaps {
    replicas: HashMap<Arc<str>, ReplicaGaps>,
    /// Time of the oldest sample of all replicas.
    oldest: i64,
    /// Whether a replica lacks data that another one has.
    has_any: bool,
    /// Interruptions of all servers before these gaps; `None` if some may be newer than the gaps.
    interruptions: Option<u64>,
}

/// The gaps of a replica. Times in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct ReplicaGaps {
    pub gaps: TimeRanges,
    /// Time since which gaps are known.
    pub since: Option<i64>,
    /// Time up to which they are known.
    pub until: Option<i64>,
    /// Interruptions before `until`.
    pub(super) interruptions: u64,
}

impl ReplicaGaps {
    /// The gaps after the first sample.
    pub fn known_gaps(&self) -> impl Iterator<Item = TimeRange> {
        self.gaps.iter().copied().filter(|it| it.start > i64::MIN)
    }
}

impl Default for KnownGaps {
    fn default() -> Self {
        Self { replicas: HashMap::new(), oldest: i64::MIN, has_any: false, interruptions: None }
    }
}

impl KnownGaps {
    pub(super) fn new(
        replicas: HashMap<Arc<str>, ReplicaGaps>,
        oldest: i64,
        interruptions: Option<u64>,
    ) -> Self {
        let existing = TimeRange { start: oldest, end: TimeRange::OPEN_END };
        let has_any = replicas.values().any(|it| it.gaps.overlaps(existing));
        Self { replicas, oldest, has_any, interruptions }
    }

    pub fn replica(&self, url: &str) -> Option<&ReplicaGaps> {
        self.replicas.get(url)
    }

    /// Whether a replica may lack data that another one has. `interruptions`: those of all
    /// servers until now.
    pub(in crate::query) fn may_have_any(&self, interruptions: u64) -> bool {
        self.has_any
            || self.interruptions.is_none_or(|it| it != interruptions) && !self.replicas.is_empty()
    }

    /// Time of the oldest sample of all replicas.
    pub(in crate::query) fn oldest(&self) -> i64 {
        self.oldest
    }

    /// The gaps of the replica with this URL, which was interrupted this many times until now. After
    /// that it may have a gap, until its scrapes are counted again.
    pub(in crate::query) fn gaps_of(&self, url: &str, interruptions: u64) -> Cow<'_, TimeRanges> {
        let Some(replica) = self.replicas.get(url) else {
            return Cow::Owned(TimeRanges::default());
        };
        match replica.until {
            Some(until) if interruptions != replica.interruptions => {
                let mut gaps = replica.gaps.clone();
                gaps.insert(TimeRange { start: until, end: TimeRange::OPEN_END });
                Cow::Owned(gaps)
            }
            _ => Cow::Borrowed(&replica.gaps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::gaps::time_ranges::testing::{range, ranges};

    #[test]
    fn an_interruption_may_be_the_beginning_of_a_gap() {
        let replica = ReplicaGaps {
            gaps: ranges(&[(10, 20)]),
            since: Some(0),
            until: Some(100),
            interruptions: 3,
        };
        let known = KnownGaps::new(HashMap::from([("a".into(), replica)]), 0, None);
        assert!(known.may_have_any(9));
        assert_eq!(*known.gaps_of("a", 3), ranges(&[(10, 20)]));
        assert!(known.gaps_of("a", 4).overlaps(range(200, 300)));
        assert!(!known.gaps_of("a", 4).overlaps(range(20, 100)));
        assert!(known.gaps_of("b", 4).is_empty());
    }

    #[test]
    fn what_no_replica_has_is_no_gap() {
        let replica = |end| ReplicaGaps { gaps: ranges(&[(i64::MIN, end)]), ..Default::default() };
        let gaps = |a, b| HashMap::from([("a".into(), replica(a)), ("b".into(), replica(b))]);
        assert!(!KnownGaps::new(gaps(500, 500), 500, Some(7)).may_have_any(7));
        assert!(KnownGaps::new(gaps(500, 600), 500, Some(7)).may_have_any(7));
        assert!(
            KnownGaps::new(gaps(500, 500), 500, Some(7)).may_have_any(8),
            "a server was interrupted"
        );
        assert!(!KnownGaps::default().may_have_any(8));
    }
}
