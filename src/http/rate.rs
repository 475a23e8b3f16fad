//! Rate limits for many keys, in bounded memory.
//!
//! Each key has a bucket that holds `burst` requests and is refilled by one every
//! so often. A bucket is one instant: when its last request would have been due,
//! had the requests come evenly (the generic cell rate algorithm).

use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// Limit of stored keys.
pub(super) const KEYS: usize = 4096;

/// The buckets of all keys. Keys are hashes made with a random seed, so that no
/// client can choose two that collide.
#[derive(Debug)]
pub(super) struct RateLimit {
    every: Duration,
    burst: u32,
    due: HashMap<u64, Instant>,
}

impl RateLimit {
    /// `burst` requests at once, then one `every` so often.
    pub(super) fn new(every: Duration, burst: u32) -> Self {
        Self { every, burst, due: HashMap::new() }
    }

    /// Takes one request out of the bucket of `key`.
    ///
    /// # Errors
    /// The time after which there is one again; nothing is taken then.
    pub(super) fn take(&mut self, key: u64, now: Instant) -> Result<(), Duration> {
        self.check(key, now)?;
        if !self.due.contains_key(&key) && self.due.len() >= KEYS {
            self.make_room(now);
        }
        let due = self.due.entry(key).or_insert(now);
        *due = (*due).max(now) + self.every;
        Ok(())
    }

    /// Whether there is a request in the bucket of `key`.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(super) fn check(&self, key: u64, now: Instant) -> Result<(), Duration> {
        let next = self.due.get(&key).copied().unwrap_or(now).max(now) + self.every;
        match next.checked_duration_since(now + self.every * self.burst) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    /// Puts one request back that was taken.
    pub(super) fn give_back(&mut self, key: u64) {
        if let Some(due) = self.due.get_mut(&key) {
            *due = due.checked_sub(self.every).unwrap_or(*due);
        }
    }

    /// Removes full buckets, which has no effect on their keys, else the fullest one: a flood of keys must
    /// not refill the bucket of a busy key.
    fn make_room(&mut self, now: Instant) {
        self.due.retain(|_, due| *due > now);
        if self.due.len() >= KEYS {
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
    async fn each_key_has_a_burst_and_then_one_request_every_so_often() {
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
    async fn a_flood_of_keys_neither_fills_the_memory_nor_refills_a_busy_bucket() {
        let mut limit = RateLimit::new(EVERY, 10);
        let now = Instant::now();
        while limit.take(0, now).is_ok() {}
        for key in 1..2 * KEYS as u64 {
            assert_eq!(limit.take(key, now), Ok(()));
        }
        assert_eq!(limit.len(), KEYS);
        assert!(limit.take(0, now).is_err());
    }
}
