//! Rate limits per key, with limited memory.
//!
//! Each key has a token bucket with `burst` requests, which is refilled at a constant rate. A
//! bucket is stored as one instant (generic cell rate algorithm): the time when it will be full
//! again.

use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// Maximum number of stored keys.
pub(super) const MAX_KEYS: usize = 4096;

/// The buckets of all keys. Keys must be hashes with a random seed, so that clients cannot choose
/// keys that collide.
#[derive(Debug)]
pub(super) struct RateLimit {
    every: Duration,
    burst: u32,
    due: HashMap<u64, Instant>,
}

impl RateLimit {
    /// Allows `burst` requests at once, and then one request per interval `every`.
    pub(super) fn new(every: Duration, burst: u32) -> Self {
        Self { every, burst, due: HashMap::new() }
    }

    /// Takes a request from the bucket of `key`.
    ///
    /// # Errors
    /// Returns the time until the next request is allowed. Then nothing is taken.
    pub(super) fn take(&mut self, key: u64, now: Instant) -> Result<(), Duration> {
        self.check(key, now)?;
        if !self.due.contains_key(&key) && self.due.len() >= MAX_KEYS {
            self.evict(now);
        }
        let due = self.due.entry(key).or_insert(now);
        *due = (*due).max(now) + self.every;
        Ok(())
    }

    /// Checks whether the bucket of `key` contains a request, without taking it.
    ///
    /// # Errors
    /// Like [`take`](Self::take).
    pub(super) fn check(&self, key: u64, now: Instant) -> Result<(), Duration> {
        let next = self.due.get(&key).copied().unwrap_or(now).max(now) + self.every;
        match next.checked_duration_since(now + self.every * self.burst) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    /// Returns a request to the bucket.
    pub(super) fn give_back(&mut self, key: u64) {
        if let Some(due) = self.due.get_mut(&key) {
            *due = due.checked_sub(self.every).unwrap_or(*due);
        }
    }

    /// Removes full buckets, which has no effect. If there are none, removes the bucket with the
    /// most remaining requests. Otherwise a flood of new keys would reset the bucket of a busy key.
    fn evict(&mut self, now: Instant) {
        self.due.retain(|_, due| *due > now);
        if self.due.len() >= MAX_KEYS {
            let fullest = self.due.iter().min_by_key(|(_, due)| **due).map(|(key, _)| *key);
            fullest.map(|key| self.due.remove(&key));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_key_has_a_burst_and_then_one_request_per_interval() {
        let mut limit = RateLimit::new(EVERY, 10);
        let mut taken =
            |key| (0..20).take_while(|_| limit.take(key, Instant::now()).is_ok()).count();
        assert_eq!((taken(1), taken(2)), (10, 10));
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(limit.take(1, Instant::now()), Err(Duration::from_millis(600)));
        tokio::time::advance(Duration::from_millis(600)).await;
        assert_eq!(limit.check(1, Instant::now()), Ok(()));
        assert_eq!(limit.take(1, Instant::now()), Ok(()));
        assert!(limit.take(1, Instant::now()).is_err());
        limit.give_back(1);
        assert_eq!(limit.take(1, Instant::now()), Ok(()));
        tokio::time::advance(Duration::from_secs(100)).await;
        let mut taken =
            |key| (0..20).take_while(|_| limit.take(key, Instant::now()).is_ok()).count();
        assert_eq!(taken(1), 10, "what was not used is not saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_keys_does_not_reset_a_busy_bucket() {
        let mut limit = RateLimit::new(EVERY, 10);
        let now = Instant::now();
        while limit.take(0, now).is_ok() {}
        for key in 1..2 * MAX_KEYS as u64 {
            assert_eq!(limit.take(key, now), Ok(()));
        }
        assert_eq!(limit.len(), MAX_KEYS);
        assert!(limit.take(0, now).is_err());
    }
}
