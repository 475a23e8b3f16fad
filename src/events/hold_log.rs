//! When events with explicit timestamps were first offered.

use super::ScraperName;
use crate::domain::QueueId;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The hold logs of all scrapers. A log is lost with the process: the hold then begins again, and
/// events are repeated longer.
#[derive(Debug, Default)]
pub struct HoldLogs(Mutex<HashMap<(QueueId, ScraperName), HoldLog>>);

impl HoldLogs {
    /// Notes that the scraper was offered all events up to `front`.
    pub fn offer(&self, scraper: (QueueId, ScraperName), front: i64, now: Instant) {
        self.logs().entry(scraper).or_default().offer(front, now);
    }

    /// The newest event that the scraper was first offered at least `hold` ago.
    pub fn released(&self, scraper: &(QueueId, ScraperName), now: Instant, hold: Duration) -> i64 {
        self.logs().get_mut(scraper).map_or(0, |log| log.release(now, hold))
    }

    /// Forgets scrapers that were not offered an event for `age`.
    pub fn prune(&self, now: Instant, age: Duration) {
        self.logs().retain(|_, log| {
            log.last_offer.is_some_and(|last| now.saturating_duration_since(last) <= age)
        });
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<(QueueId, ScraperName), HoldLog>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hold log of a scraper: times of first offers, ascending.
#[derive(Debug, Default)]
struct HoldLog {
    offers: VecDeque<(Instant, i64)>,
    released: i64,
    last_offer: Option<Instant>,
}

/// Maximum number of entries of a log. Further offers extend the newest entry, whose events are
/// then held longer.
const MAX_OFFERS: usize = 256;

impl HoldLog {
    fn offer(&mut self, front: i64, now: Instant) {
        self.last_offer = Some(now);
        let newest = self.offers.back().map_or(self.released, |(_, front)| *front);
        if front <= newest {
            return;
        }
        if self.offers.len() == MAX_OFFERS {
            self.offers.pop_back();
        }
        self.offers.push_back((now, front));
    }

    fn release(&mut self, now: Instant, hold: Duration) -> i64 {
        while let Some((since, front)) = self.offers.front()
            && now.saturating_duration_since(*since) >= hold
        {
            self.released = *front;
            self.offers.pop_front();
        }
        self.released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_released_a_hold_after_their_first_offer() {
        let logs = HoldLogs::default();
        let (start, hold) = (Instant::now(), Duration::from_secs(60));
        let scraper = (QueueId::INSTALLATION, "a".parse().unwrap());
        let offer = |front, seconds| {
            let now = start + Duration::from_secs(seconds);
            let released = logs.released(&scraper, now, hold);
            logs.offer(scraper.clone(), front, now);
            released
        };
        assert_eq!(offer(5, 0), 0);
        assert_eq!(offer(5, 30), 0);
        assert_eq!(offer(7, 59), 0);
        assert_eq!(offer(7, 60), 5);
        assert_eq!(offer(7, 118), 5);
        assert_eq!(offer(9, 119), 7);
        logs.prune(start + Duration::from_secs(200), Duration::from_secs(10));
        assert_eq!(offer(9, 500), 0);
    }

    #[test]
    fn a_log_is_bounded() {
        let mut log = HoldLog::default();
        let start = Instant::now();
        for seconds in 0..1000_u32 {
            log.offer(i64::from(seconds), start + Duration::from_secs(seconds.into()));
        }
        assert_eq!(log.offers.len(), MAX_OFFERS);
        assert_eq!(log.release(start + Duration::from_secs(2000), Duration::from_secs(60)), 999);
    }
}
