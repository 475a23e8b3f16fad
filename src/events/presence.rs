//! When scrapers were seen, until the sweep stores it.
//!
//! A scrape without new events writes nothing to the database.

use super::ScraperName;
use crate::domain::QueueId;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What was seen of scrapers since the last sweep. Its size is bounded by the number of scrapers in
/// the database.
#[derive(Debug, Default)]
pub struct Presence(Mutex<BTreeMap<(QueueId, ScraperName), Seen>>);

/// What was seen of a scraper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Milliseconds since 1970, of the database's clock.
    pub at: i64,
    /// Events up to it are not repeated any more. It is not after the scraper's position.
    pub held: i64,
}

impl Presence {
    /// Notes a scrape of a registered scraper.
    pub fn record(&self, queue: QueueId, scraper: &ScraperName, seen: Seen) {
        let mut all = self.all();
        let known = all.entry((queue, scraper.clone())).or_default();
        *known = Seen { at: known.at.max(seen.at), held: known.held.max(seen.held) };
    }

    /// Takes all records, sorted by queue and name.
    pub(super) fn take(&self) -> BTreeMap<(QueueId, ScraperName), Seen> {
        std::mem::take(&mut *self.all())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<(QueueId, ScraperName), Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_scraper_are_merged() {
        let presence = Presence::default();
        let name: ScraperName = "a".parse().unwrap();
        presence.record(QueueId::new(1), &name, Seen { at: 5, held: 1 });
        presence.record(QueueId::new(1), &name, Seen { at: 4, held: 3 });
        presence.record(QueueId::INSTALLATION, &name, Seen { at: 9, held: 0 });
        let taken: Vec<_> =
            presence.take().into_iter().map(|((queue, _), it)| (queue, it)).collect();
        let expected = [
            (QueueId::INSTALLATION, Seen { at: 9, held: 0 }),
            (QueueId::new(1), Seen { at: 5, held: 3 }),
        ];
        assert_eq!(taken, expected);
        assert!(presence.take().is_empty());
    }
}
