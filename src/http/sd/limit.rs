//! Limits how often one caller may ask.
//!
//! No Prometheus needs a list more often than its targets can change, and to make
//! one of a large table costs something. A caller is what was authorized: a token
//! or an operator, however the request is written and wherever it comes from.

use crate::http::{access::Identity, rate::RateLimit};
use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A request every so often, in the long run.
const EVERY: Duration = Duration::from_secs(1);
/// Requests at once, after a pause.
const BURST: u32 = 10;

/// Counts the requests of each caller.
#[derive(Debug)]
pub(super) struct Limit {
    callers: Mutex<RateLimit>,
    /// Keyed at random, so that no client can choose callers that collide.
    hasher: RandomState,
}

impl Default for Limit {
    fn default() -> Self {
        Self { callers: Mutex::new(RateLimit::new(EVERY, BURST)), hasher: RandomState::new() }
    }
}

impl Limit {
    /// Counts a request, unless it is one too many.
    ///
    /// # Errors
    /// The time after which the caller may ask again.
    pub(super) fn take(&self, caller: &Identity) -> Result<(), Duration> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.take(self.hasher.hash_one(caller), Instant::now())
    }
}
