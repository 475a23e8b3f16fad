//! How often one caller may ask.
//!
//! Nobody needs a list more often than its targets can change, and to make one
//! of a large table costs something. Who asks is what is shown as credentials
//! and the peer, so that no Prometheus is in the way of another.

use actix_web::{HttpRequest, http::header};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A request every so often, in the long run.
const EVERY: Duration = Duration::from_secs(1);
/// Requests at once, after a pause.
const BURST: u32 = 10;
/// Callers remembered at most.
const CALLERS: usize = 4096;

/// Remembers for each caller when its last request would have been due, had it
/// asked evenly.
#[derive(Debug, Default)]
pub(super) struct Limit {
    due: Mutex<HashMap<u64, Instant>>,
    /// Keyed at random, so that nobody can choose callers that look the same.
    hasher: RandomState,
}

impl Limit {
    /// Lets a known caller ask, or says after which time.
    pub(super) fn take(&self, request: &HttpRequest) -> Result<(), Duration> {
        let shown = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let peer = request.peer_addr().map(|peer| peer.ip());
        self.take_as(self.hasher.hash_one((shown, peer)))
    }

    fn take_as(&self, caller: u64) -> Result<(), Duration> {
        let now = Instant::now();
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if !due.contains_key(&caller) && due.len() >= CALLERS {
            make_room(&mut due, now);
        }
        let next = due.get(&caller).copied().unwrap_or(now).max(now) + EVERY;
        let allowed = now + EVERY * BURST;
        if next > allowed {
            return Err(next - allowed);
        }
        due.insert(caller, next);
        Ok(())
    }
}

/// Forgets who has not asked lately, which changes nothing for it, else who
/// asked least.
fn make_room(due: &mut HashMap<u64, Instant>, now: Instant) {
    due.retain(|_, due| *due > now);
    if due.len() >= CALLERS {
        let least = due.iter().min_by_key(|(_, due)| **due).map(|(caller, _)| *caller);
        least.map(|caller| due.remove(&caller));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_caller_has_a_burst_and_then_one_request_a_second() {
        let limit = Limit::default();
        let taken = |caller| (0..20).take_while(|_| limit.take_as(caller).is_ok()).count();
        assert_eq!(taken(1), 10);
        assert_eq!(limit.take_as(1), Err(EVERY));
        assert_eq!(taken(2), 10, "another caller");
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(limit.take_as(1), Err(Duration::from_millis(600)));
        tokio::time::advance(Duration::from_millis(600)).await;
        assert_eq!(taken(1), 1);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(taken(1), 10, "what was not used is not saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_callers_neither_fills_the_memory_nor_frees_who_asks_much() {
        let limit = Limit::default();
        while limit.take_as(0).is_ok() {}
        for caller in 1..2 * CALLERS as u64 {
            assert_eq!(limit.take_as(caller), Ok(()));
        }
        assert_eq!(limit.due.lock().unwrap().len(), CALLERS);
        assert!(limit.take_as(0).is_err());
    }
}
