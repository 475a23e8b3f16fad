//! Rate limit of service discovery, per caller.
//!
//! Prometheus needs no list more often than targets change, and a list of a large table is expensive.
//! A caller is an authorized token or operator, whatever the address and the form of the request.

use crate::http::{access::Identity, rate::RateLimit};
use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Interval of requests in the long run.
const EVERY: Duration = Duration::from_secs(1);
/// Burst after a pause.
const BURST: u32 = 10;

/// Counts the requests of each caller.
#[derive(Debug)]
pub(super) struct Limit {
    callers: Mutex<RateLimit>,
    /// A random key prevents clients from choosing callers that collide.
    hasher: RandomState,
}

impl Default for Limit {
    fn default() -> Self {
        Self { callers: Mutex::new(RateLimit::new(EVERY, BURST)), hasher: RandomState::new() }
    }
}

impl Limit {
    /// Counts a request within the limit.
    ///
    /// # Errors
    /// The time until the next request is accepted.
    pub(super) fn take(&self, caller: &Identity) -> Result<(), Duration> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.take(self.hasher.hash_one(caller), Instant::now())
    }
}
