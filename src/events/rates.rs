//! Limits of what a queue accepts within a time.
//!
//! They are kept in memory: each replica has its own, and a restart resets them.

use crate::domain::QueueId;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// New label sets of a queue per hour.
pub(super) const NEW_SERIES_PER_HOUR: u32 = 20_000;
/// Events of a queue per second, after a burst.
pub(super) const EVENTS_PER_SECOND: u32 = 2_000;
pub(super) const EVENTS_BURST: u32 = 20_000;

const EVENTS: Limit = Limit { capacity: EVENTS_BURST as f64, per_second: EVENTS_PER_SECOND as f64 };
const NEW_SERIES: Limit = Limit {
    capacity: NEW_SERIES_PER_HOUR as f64,
    per_second: NEW_SERIES_PER_HOUR as f64 / 3_600.0,
};

/// The rates of all queues.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<QueueId, QueueRates>>);

#[derive(Debug)]
struct QueueRates {
    events: Bucket,
    new_series: Bucket,
}

impl Rates {
    /// Counts events that are posted.
    ///
    /// # Errors
    /// The time after which they are within the limit.
    pub(super) fn take_events(
        &self,
        queue: QueueId,
        events: usize,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut queues = self.queues();
        let bucket = &mut queues.entry(queue).or_insert_with(|| QueueRates::full(now)).events;
        let missing = events as f64 - bucket.refill(&EVENTS, now);
        if missing > 0.0 {
            return Err(Duration::from_secs_f64(missing / EVENTS.per_second));
        }
        bucket.tokens -= events as f64;
        Ok(())
    }

    /// The number of new label sets that the queue accepts.
    pub(super) fn new_series_left(&self, queue: QueueId, now: Instant) -> usize {
        let mut queues = self.queues();
        let left = queues.get_mut(&queue).map(|it| it.new_series.refill(&NEW_SERIES, now));
        // Only whole tokens count, and there are none below zero.
        left.unwrap_or(NEW_SERIES.capacity) as usize
    }

    /// Counts new label sets that were stored.
    pub(super) fn take_new_series(&self, queue: QueueId, series: usize, now: Instant) {
        let mut queues = self.queues();
        let bucket = &mut queues.entry(queue).or_insert_with(|| QueueRates::full(now)).new_series;
        bucket.refill(&NEW_SERIES, now);
        bucket.tokens = (bucket.tokens - series as f64).max(0.0);
    }

    /// Forgets queues whose rates are as those of a new queue.
    pub(super) fn prune(&self, now: Instant) {
        self.queues().retain(|_, it| {
            it.events.refill(&EVENTS, now) < EVENTS.capacity
                || it.new_series.refill(&NEW_SERIES, now) < NEW_SERIES.capacity
        });
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<QueueId, QueueRates>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueRates {
    fn full(now: Instant) -> Self {
        let full = |limit: &Limit| Bucket { tokens: limit.capacity, updated: now };
        Self { events: full(&EVENTS), new_series: full(&NEW_SERIES) }
    }
}

struct Limit {
    capacity: f64,
    per_second: f64,
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    updated: Instant,
}

impl Bucket {
    fn refill(&mut self, limit: &Limit, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.updated).as_secs_f64();
        self.tokens = (self.tokens + elapsed * limit.per_second).min(limit.capacity);
        self.updated = self.updated.max(now);
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: QueueId = QueueId::INSTALLATION;

    #[test]
    fn events_are_limited_after_a_burst_for_each_queue() {
        let rates = Rates::default();
        let start = Instant::now();
        assert_eq!(rates.take_events(QUEUE, 20_000, start), Ok(()));
        let wait = rates.take_events(QUEUE, 1_000, start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(500));
        assert_eq!(rates.take_events(QUEUE, 1_000, start + wait), Ok(()));
        assert!(
            rates.take_events(QUEUE, 1, start).is_err(),
            "a clock that goes back gives nothing"
        );
        assert_eq!(rates.take_events(QueueId::new(1), 20_000, start), Ok(()));
    }

    #[test]
    fn new_label_sets_are_limited_per_hour() {
        let rates = Rates::default();
        let start = Instant::now();
        assert_eq!(rates.new_series_left(QUEUE, start), 20_000);
        rates.take_new_series(QUEUE, 19_999, start);
        assert_eq!(rates.new_series_left(QUEUE, start), 1);
        let half = start + Duration::from_mins(30);
        assert_eq!(rates.new_series_left(QUEUE, half), 10_001);
        rates.take_new_series(QUEUE, 30_000, half);
        assert_eq!(rates.new_series_left(QUEUE, half), 0);
    }

    #[test]
    fn rates_of_idle_queues_are_forgotten() {
        let rates = Rates::default();
        let start = Instant::now();
        rates.take_events(QUEUE, 1, start).unwrap();
        rates.take_new_series(QUEUE, 100, start);
        rates.prune(start + Duration::from_secs(1));
        assert_eq!(rates.queues().len(), 1);
        rates.prune(start + Duration::from_secs(60));
        assert_eq!(rates.queues().len(), 0);
    }
}
