//! Failed tries take longer and longer.
//!
//! Counted per peer and user: behind a router all have one address, and one
//! that guesses must not slow the others. A peer is an IPv4 address or the /64
//! of an IPv6 one. Memory is bounded twice: so many pairs are remembered, and so
//! many tries wait at once.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

/// Tries of somebody who mistyped.
const FREE: u32 = 3;
/// The wait of the first try after these; each further one waits twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);
/// After so long without a failed try, a pair is forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// Pairs remembered at most.
const PAIRS: usize = 4096;
/// Tries that wait at most.
const WAITING: usize = 256;

/// The memory of failed tries.
#[derive(Debug)]
pub(super) struct Throttle {
    pairs: Mutex<HashMap<u64, Failures>>,
    /// Keyed at random, so that nobody can choose pairs that look the same.
    hasher: RandomState,
    places: Semaphore,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// A try, taken for a failed one until it is forgotten.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    throttle: &'a Throttle,
    pair: u64,
    wait: Duration,
    _place: SemaphorePermit<'a>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            pairs: Mutex::default(),
            hasher: RandomState::new(),
            places: Semaphore::new(WAITING),
        }
    }
}

impl Throttle {
    /// Counts a try; none when too many wait already.
    pub(super) fn begin(&self, peer: Option<IpAddr>, user: Option<&str>) -> Option<Attempt<'_>> {
        let place = self.places.try_acquire().ok()?;
        let pair = self.hasher.hash_one((peer.map(network), user));
        let now = Instant::now();
        let mut pairs = self.pairs();
        if !pairs.contains_key(&pair) && pairs.len() >= PAIRS {
            make_room(&mut pairs, now);
        }
        let failures = pairs.entry(pair).or_insert(Failures { count: 0, last: now });
        if now.duration_since(failures.last) >= FORGET {
            failures.count = 0;
        }
        *failures = Failures { count: failures.count.saturating_add(1), last: now };
        let wait = wait(failures.count);
        Some(Attempt { throttle: self, pair, wait, _place: place })
    }

    fn pairs(&self) -> MutexGuard<'_, HashMap<u64, Failures>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Until it may be looked at.
    pub(super) async fn wait(&self) {
        tokio::time::sleep(self.wait).await;
    }

    /// It was right in the end.
    pub(super) fn forget(self) {
        self.throttle.pairs().remove(&self.pair);
    }
}

fn wait(count: u32) -> Duration {
    match count.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(more) => FIRST.saturating_mul(1_u32 << more.min(16)).min(LONGEST),
    }
}

/// Who owns an IPv6 address, owns its whole network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// Drops what is forgotten anyway, else the pair with the fewest tries: who
/// floods us with names must not make us forget the one that is guessed at.
fn make_room(pairs: &mut HashMap<u64, Failures>, now: Instant) {
    pairs.retain(|_, failures| now.duration_since(failures.last) < FORGET);
    if pairs.len() >= PAIRS {
        let fewest = pairs.iter().min_by_key(|(_, one)| (one.count, one.last));
        if let Some(pair) = fewest.map(|(pair, _)| *pair) {
            pairs.remove(&pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn waits(throttle: &Throttle, who: &str, user: Option<&str>, tries: usize) -> Vec<u128> {
        let wait = |_| throttle.begin(peer(who), user).unwrap().wait.as_millis();
        (0..tries).map(wait).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn failed_tries_wait_longer_and_longer_per_peer_and_user() {
        let throttle = Throttle::default();
        let expected = [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000];
        assert_eq!(waits(&throttle, "10.0.0.1", Some("a"), 11), expected);
        assert_eq!(waits(&throttle, "10.0.0.1", Some("b"), 1), [0]);
        assert_eq!(waits(&throttle, "10.0.0.1", None, 1), [0]);
        assert_eq!(waits(&throttle, "10.0.0.2", Some("a"), 1), [0]);
        assert_eq!(waits(&throttle, "::ffff:10.0.0.1", Some("a"), 1), [5000]);

        let before = Instant::now();
        throttle.begin(peer("10.0.0.1"), Some("a")).unwrap().wait().await;
        assert_eq!(before.elapsed().as_secs(), 5);

        throttle.begin(peer("10.0.0.1"), Some("a")).unwrap().forget();
        assert_eq!(waits(&throttle, "10.0.0.1", Some("a"), 4), [0, 0, 0, 100]);
        tokio::time::advance(FORGET).await;
        assert_eq!(waits(&throttle, "10.0.0.1", Some("a"), 4), [0, 0, 0, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_network_of_ipv6_is_one_peer() {
        let throttle = Throttle::default();
        for host in 1..=4 {
            waits(&throttle, &format!("2001:db8:1:2::{host}"), None, 1);
        }
        assert_eq!(waits(&throttle, "2001:db8:1:2:ffff::", None, 1), [200]);
        assert_eq!(waits(&throttle, "2001:db8:1:3::1", None, 1), [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_names_neither_fills_the_memory_nor_makes_it_forget() {
        let throttle = Throttle::default();
        waits(&throttle, "10.0.0.1", Some("guessed at"), 6);
        for name in 0..2 * PAIRS {
            waits(&throttle, "10.0.0.1", Some(&name.to_string()), 1);
        }
        assert_eq!(throttle.pairs().len(), PAIRS);
        assert_eq!(waits(&throttle, "10.0.0.1", Some("guessed at"), 1), [800]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_tries_wait_than_there_are_places() {
        let throttle = Throttle::default();
        let waiting: Vec<_> = (0..WAITING).map(|_| throttle.begin(None, None).unwrap()).collect();
        assert!(throttle.begin(peer("10.0.0.1"), Some("a")).is_none());
        drop(waiting);
        assert!(throttle.begin(peer("10.0.0.1"), Some("a")).is_some());
    }
}
