//! Rate limit of service discovery per caller.
//!
//! Prometheus does not need a list more often than targets change, and rendering a large list is
//! expensive. A caller is an authorized token or an operator, independently of its address and of
//! the format of its credentials.

use crate::http::{access::Identity, rate::RateLimit};
use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Interval of requests after a burst.
const EVERY: Duration = Duration::from_secs(1);
/// Number of requests that are allowed at once.
const BURST: u32 = 10;

/// Request counters of all callers.
#[derive(Debug)]
pub(super) struct Limit {
    callers: Mutex<RateLimit>,
    /// A random key, so that clients cannot choose callers that collide.
    hasher: RandomState,
}

impl Default for Limit {
    fn default() -> Self {
        Self { callers: Mutex::new(RateLimit::new(EVERY, BURST)), hasher: RandomState::new() }
    }
}

impl Limit {
    /// Counts a request.
    ///
    /// # Errors
    /// Returns the time until the next request is allowed.
    pub(super) fn take(&self, caller: &Identity) -> Result<(), Duration> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.take(self.hasher.hash_one(caller), Instant::now())
    }
}
