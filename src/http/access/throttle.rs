//! Limits how often credentials are compared for one client.
//!
//! A login is counted before its password is compared, so a client that closes its
//! connection early has used it up. A client over its limit is refused without a
//! comparison and without a delay. Logins are counted per client address and user
//! name, and per address for all user names together. An address is an IPv4
//! address or the /64 network of an IPv6 one.
//!
//! A password that was right before is no guess and is not counted (`access::proven`).

use super::proven::Origin;
use crate::http::rate::RateLimit;
use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Logins of one address with one user name: a burst, then one per interval.
const PAIR: (Duration, u32) = (Duration::from_secs(6), 10);
/// Logins of one address with any user names.
const ADDRESS: (Duration, u32) = (Duration::from_secs(1), 100);
/// Comparisons with passwords that other addresses have proven, for one address and
/// user name. This bounds how many guesses a client can test against them.
const LOOKS: (Duration, u32) = (Duration::from_secs(1), 5000);
/// Wrong tokens of one address and user name. A token is too long to be guessed; this limit stops a
/// client with an old one.
const TOKENS: (Duration, u32) = (Duration::from_secs(1), 100);

/// Counts logins.
#[derive(Debug)]
pub(super) struct Throttle {
    limits: Mutex<Limits>,
    /// A random key prevents clients from choosing pairs that collide.
    hasher: RandomState,
}

#[derive(Debug)]
struct Limits {
    pairs: RateLimit,
    addresses: RateLimit,
    looks: RateLimit,
    tokens: RateLimit,
}

/// A login that was counted. It stays counted unless it succeeds.
#[derive(Debug)]
#[must_use]
pub(super) struct Attempt<'a> {
    throttle: &'a Throttle,
    pair: u64,
    address: u64,
}

impl Default for Throttle {
    fn default() -> Self {
        let limit = |(every, burst)| RateLimit::new(every, burst);
        let limits = Limits {
            pairs: limit(PAIR),
            addresses: limit(ADDRESS),
            looks: limit(LOOKS),
            tokens: limit(TOKENS),
        };
        Self { limits: Mutex::new(limits), hasher: RandomState::new() }
    }
}

impl Throttle {
    /// Counts a login.
    ///
    /// # Errors
    /// The time after which another one is allowed.
    pub(super) fn begin(&self, origin: Origin, user: &str) -> Result<Attempt<'_>, Duration> {
        let (pair, address) = (self.hasher.hash_one((origin, user)), self.hasher.hash_one(origin));
        let now = Instant::now();
        let mut limits = self.limits();
        // In this order, a client that invents user names does not fill the pairs.
        limits.addresses.check(address, now)?;
        limits.pairs.take(pair, now)?;
        limits.addresses.take(address, now)?;
        Ok(Attempt { throttle: self, pair, address })
    }

    /// Whether a client may be compared with what other addresses have proven.
    pub(super) fn may_look(&self, origin: Origin, user: &str) -> bool {
        let pair = self.hasher.hash_one((origin, user));
        self.limits().looks.take(pair, Instant::now()).is_ok()
    }

    /// Counts a wrong token.
    ///
    /// # Errors
    /// The client has sent too many; the time after which it may send another one.
    pub(super) fn wrong_token(&self, origin: Origin, user: Option<&str>) -> Result<(), Duration> {
        let pair = self.hasher.hash_one((origin, user));
        self.limits().tokens.take(pair, Instant::now())
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The credentials were right.
    pub(super) fn succeeded(self) {
        let mut limits = self.throttle.limits();
        limits.pairs.give_back(self.pair);
        limits.addresses.give_back(self.address);
    }
}

/// The owner of an IPv6 address has its whole /64 network.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(Some(text.parse().unwrap()))
    }

    fn logins(throttle: &Throttle, from: &str, user: &str, tries: usize) -> usize {
        (0..tries).filter(|_| throttle.begin(origin(from), user).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn logins_are_limited_per_address_and_user() {
        let throttle = Throttle::default();
        assert_eq!(logins(&throttle, "10.0.0.1", "a", 50), 10);
        assert_eq!(logins(&throttle, "::ffff:10.0.0.1", "a", 50), 0);
        assert_eq!(logins(&throttle, "10.0.0.1", "b", 50), 10);
        assert_eq!(logins(&throttle, "10.0.0.2", "a", 50), 10);
        let wait = throttle.begin(origin("10.0.0.1"), "a").unwrap_err();
        assert_eq!(wait, Duration::from_secs(6));
        tokio::time::advance(wait).await;
        assert_eq!(logins(&throttle, "10.0.0.1", "a", 50), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_limited_whatever_user_names_it_invents() {
        let throttle = Throttle::default();
        let invented: usize =
            (0..10_000).map(|name| logins(&throttle, "10.0.0.1", &name.to_string(), 1)).sum();
        assert_eq!(invented, 100);
        assert!(throttle.limits().pairs.len() <= 100);
        assert_eq!(logins(&throttle, "10.0.0.2", "a", 1), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_network_of_ipv6_is_one_address() {
        let throttle = Throttle::default();
        for host in 1..=10 {
            assert_eq!(logins(&throttle, &format!("2001:db8:1:2::{host}"), "a", 1), 1);
        }
        assert_eq!(logins(&throttle, "2001:db8:1:2:ffff::", "a", 1), 0);
        assert_eq!(logins(&throttle, "2001:db8:1:3::1", "a", 1), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn logins_that_succeed_are_not_counted_and_unfinished_ones_are() {
        let throttle = Throttle::default();
        for _ in 0..1000 {
            throttle.begin(origin("10.0.0.1"), "a").unwrap().succeeded();
        }
        for _ in 0..10 {
            // As when the client closes its connection.
            drop(throttle.begin(origin("10.0.0.1"), "a").unwrap());
        }
        assert_eq!(logins(&throttle, "10.0.0.1", "a", 1), 0);
    }
}
