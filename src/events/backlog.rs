//! What a scraper has still to get.

use super::deferred::{self, DeferredEvent};
use crate::store::events::ScraperRow;
use std::collections::HashSet;

/// The number of events that wait for the scraper, and the events of its batch in flight.
pub fn pending(scraper: &ScraperRow, last_seq: i64) -> i64 {
    (last_seq - scraper.position).max(0) + deferred::count(&deferred::read(&scraper.deferred))
}

/// The oldest of them.
pub fn first_pending(scraper: &ScraperRow, last_seq: i64) -> Option<i64> {
    let first = delivered_through(scraper) + 1;
    (first <= last_seq).then_some(first)
}

/// The scraper has got all events up to it.
pub fn delivered_through(scraper: &ScraperRow) -> i64 {
    let deferred = deferred::read(&scraper.deferred);
    let first = deferred.iter().map(|it| it.seq).min();
    first.map_or(scraper.position, |first| scraper.position.min(first - 1))
}

/// The scraper needs no events up to it, not even to repeat them.
pub fn released_through(scraper: &ScraperRow) -> i64 {
    delivered_through(scraper).min(scraper.held)
}

/// Events that a scraper does not get any more, though it has not got them.
#[derive(Debug, Default, PartialEq)]
pub struct Skipped {
    /// Events between the old position and the new one.
    pub after: i64,
    pub through: i64,
    pub deferred: Vec<DeferredEvent>,
}

impl Skipped {
    pub fn events(&self) -> i64 {
        self.through - self.after + deferred::count(&self.deferred)
    }
}

/// Moves the scraper past the events up to `through`.
pub fn skip(scraper: &mut ScraperRow, through: i64) -> Skipped {
    let after = scraper.position;
    scraper.position = after.max(through);
    scraper.held = scraper.held.max(through);
    let deferred = deferred::read(&scraper.deferred);
    let (gone, kept): (Vec<_>, Vec<_>) = deferred.into_iter().partition(|it| it.seq <= through);
    if !gone.is_empty() {
        scraper.deferred = deferred::write(&kept);
    }
    Skipped { after, through: scraper.position, deferred: gone }
}

/// Which events a scraper has got.
#[derive(Debug)]
pub struct Progress {
    position: i64,
    deferred: HashSet<i64>,
}

impl Progress {
    pub fn new(position: i64, deferred: &str) -> Self {
        let deferred = deferred::read(deferred).iter().map(|it| it.seq).collect();
        Self { position, deferred }
    }

    /// Whether the event was delivered, folded into another one, or skipped.
    pub fn has(&self, seq: i64) -> bool {
        seq <= self.position && !self.deferred.contains(&seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::QueueId;

    fn scraper(position: i64, held: i64, deferred: &str) -> ScraperRow {
        ScraperRow {
            queue: QueueId::INSTALLATION,
            name: "a".to_owned(),
            position,
            deferred: deferred.to_owned(),
            held,
            batch: None,
            version: 1,
            last_seen: 0,
        }
    }

    #[test]
    fn deferred_events_are_pending() {
        let row = scraper(10, 10, r#"[[4,1,"1"],[7,3,"2"]]"#);
        assert_eq!((pending(&row, 12), first_pending(&row, 12)), (6, Some(4)));
        assert_eq!((delivered_through(&row), released_through(&row)), (3, 3));
        let held = scraper(10, 6, "[]");
        assert_eq!((pending(&held, 10), first_pending(&held, 10)), (0, None));
        assert_eq!((delivered_through(&held), released_through(&held)), (10, 6));
        assert_eq!(first_pending(&held, 11), Some(11));
        let progress = Progress::new(row.position, &row.deferred);
        assert_eq!(
            [3, 4, 5, 10, 11].map(|seq| progress.has(seq)),
            [true, false, true, true, false]
        );
    }

    #[test]
    fn skipped_events_are_counted() {
        let mut row = scraper(10, 10, r#"[[4,1,"1"],[7,3,"2"]]"#);
        assert_eq!(skip(&mut row, 3).events(), 0);
        assert_eq!(skip(&mut row, 5).events(), 1);
        assert_eq!(row, scraper(10, 10, r#"[[7,3,"2"]]"#));
        let skipped = skip(&mut row, 12);
        assert_eq!((skipped.after, skipped.through, skipped.events()), (10, 12, 5));
        assert_eq!(row, scraper(12, 12, "[]"));
        assert_eq!(skip(&mut row, 12).events(), 0);
    }
}
