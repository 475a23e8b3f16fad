//! When events with explicit timestamps were first offered.

use crate::domain::QueueId;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::ScraperName;

/// The hold logs of all scrapers. A log is lost with the process: the hold then begins again, and
/// events are repeated longer.
#[derive(Debug, Default)]
pub struct HoldLogs(Mutex<HashMap<(QueueId, ScraperName), HoldLog>>);

impl HoldLogs {
    /// Notes that the scraper was offered all events up to `front`. Returns the newest event that
    /// was first offered more than `hold` ago.
    pub fn offer(
        &self,
        key: (QueueId, ScraperName),
        front: i64,
        now: Instant,
        hold: Duration,
    ) -> i64 {
        let mut logs = self.logs();
        let log = logs.entry(key).or_default();
        let released = log.release(now, hold);
        log.offer(front, now);
        released
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
        let key = || (QueueId::INSTALLATION, "a".parse().unwrap());
        let offer =
            |front, seconds| logs.offer(key(), front, start + Duration::from_secs(seconds), hold);
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
