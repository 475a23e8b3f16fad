//! Limits password comparisons per client.
//!
//! A login is counted before its password is compared, so a client cannot avoid the limit by
//! closing its connection early. A client over its limit is refused immediately, without a
//! comparison. Logins are counted per client address and user name, and per address for all user
//! names together. An address is an IPv4 address or the /64 network of an IPv6 address.
//!
//! A password that was correct before is not counted (`access::proven`).

use crate::http::rate::RateLimit;
use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Interval and burst of logins of one address with one user name.
const PAIR: (Duration, u32) = (Duration::from_secs(6), 10);
/// Interval and burst of logins of one address with any user names.
const ADDRESS: (Duration, u32) = (Duration::from_secs(1), 100);
/// Interval and burst of lookups of passwords that were correct for other addresses, per address
/// and user name. This limits the guesses that a client can test with these lookups.
const LOOKUPS: (Duration, u32) = (Duration::from_secs(1), 5000);
/// Interval and burst of wrong tokens, per address and user name. Tokens are too long to be
/// guessed. This limit stops clients with revoked tokens.
const TOKENS: (Duration, u32) = (Duration::from_secs(1), 100);

/// A client address. IPv6 addresses are reduced to their [`network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin(Option<IpAddr>);

impl Origin {
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(network))
    }
}

/// Counters of logins.
#[derive(Debug)]
pub(super) struct Throttle {
    limits: Mutex<Limits>,
    /// A random key, so that clients cannot choose pairs that collide.
    hasher: RandomState,
}

#[derive(Debug)]
struct Limits {
    pairs: RateLimit,
    addresses: RateLimit,
    lookups: RateLimit,
    tokens: RateLimit,
}

/// A counted login. It remains counted unless it succeeds.
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
            lookups: limit(LOOKUPS),
            tokens: limit(TOKENS),
        };
        Self { limits: Mutex::new(limits), hasher: RandomState::new() }
    }
}

impl Throttle {
    /// Counts a login.
    ///
    /// # Errors
    /// Returns the time until the next login is allowed.
    pub(super) fn begin(&self, origin: Origin, user: &str) -> Result<Attempt<'_>, Duration> {
        let (pair, address) = (self.hasher.hash_one((origin, user)), self.hasher.hash_one(origin));
        let now = Instant::now();
        let mut limits = self.limits();
        // Addresses are checked first, so that a client with many user names does not fill the
        // table of pairs.
        limits.addresses.check(address, now)?;
        limits.pairs.take(pair, now)?;
        limits.addresses.take(address, now)?;
        Ok(Attempt { throttle: self, pair, address })
    }

    /// Whether a client may look up passwords that were correct for other addresses.
    pub(super) fn allows_lookup(&self, origin: Origin, user: &str) -> bool {
        let pair = self.hasher.hash_one((origin, user));
        self.limits().lookups.take(pair, Instant::now()).is_ok()
    }

    /// Counts a wrong token.
    ///
    /// # Errors
    /// Returns the time until the next token is allowed, if the client has sent too many.
    pub(super) fn wrong_token(&self, origin: Origin, user: Option<&str>) -> Result<(), Duration> {
        let pair = self.hasher.hash_one((origin, user));
        self.limits().tokens.take(pair, Instant::now())
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Removes the login from the counters, because its credentials were correct.
    pub(super) fn succeeded(self) {
        let mut limits = self.throttle.limits();
        limits.pairs.give_back(self.pair);
        limits.addresses.give_back(self.address);
    }
}

/// The /64 network of an IPv6 address. The owner of an address usually controls its whole /64
/// network.
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
    async fn an_address_is_limited_over_all_user_names() {
        let throttle = Throttle::default();
        let accepted: usize =
            (0..10_000).map(|name| logins(&throttle, "10.0.0.1", &name.to_string(), 1)).sum();
        assert_eq!(accepted, 100);
        assert!(throttle.limits().pairs.len() <= 100);
        assert_eq!(logins(&throttle, "10.0.0.2", "a", 1), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ipv6_network_counts_as_one_address() {
        let throttle = Throttle::default();
        for host in 1..=10 {
            assert_eq!(logins(&throttle, &format!("2001:db8:1:2::{host}"), "a", 1), 1);
        }
        assert_eq!(logins(&throttle, "2001:db8:1:2:ffff::", "a", 1), 0);
        assert_eq!(logins(&throttle, "2001:db8:1:3::1", "a", 1), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn successful_logins_are_not_counted_but_unfinished_ones_are() {
        let throttle = Throttle::default();
        for _ in 0..1000 {
            throttle.begin(origin("10.0.0.1"), "a").unwrap().succeeded();
        }
        for _ in 0..10 {
            // For example, the client closed its connection.
            drop(throttle.begin(origin("10.0.0.1"), "a").unwrap());
        }
        assert_eq!(logins(&throttle, "10.0.0.1", "a", 1), 0);
    }
}
