//! Affinity: queries of one client go to the same replica, so that a reload shows the same data.

use super::snapshot::PoolReplica;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ipnet::IpNet;
use lru::LruCache;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use std::{
    fmt,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Maximum number of client addresses that are remembered.
const MAX_ADDRESSES: NonZeroUsize = NonZeroUsize::new(10_000).expect("is not zero");
/// Lifetime of a cookie, seconds. It is renewed in its second half.
pub(super) const COOKIE_LIFETIME: u64 = 3600;
/// Longer values are no cookies of this program.
const MAX_COOKIE: usize = 100;

/// Signs cookies. A cookie contains an expiry and a signature of the replica's URL, but not the URL.
pub struct CookieKey(hmac::Key);

impl CookieKey {
    /// A key that only this process knows. Cookies of other processes have no effect.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> Result<Self, ring::error::Unspecified> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// The value of a cookie for a replica, at a time in seconds since 1970.
    pub(super) fn issue(&self, pool: &str, url: &str, now: u64) -> String {
        let expires = now + COOKIE_LIFETIME;
        let tag = hmac::sign(&self.0, signed(pool, url, expires).as_bytes());
        format!("{expires}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// The replica that a cookie names, and whether the cookie should be renewed.
    pub(super) fn find(
        &self,
        pool: &str,
        cookie: &str,
        replicas: &[PoolReplica],
        now: u64,
    ) -> Option<(usize, bool)> {
        let (expires, tag) = cookie.split_once('.').filter(|_| cookie.len() <= MAX_COOKIE)?;
        let (expires, tag) = (expires.parse().ok()?, URL_SAFE_NO_PAD.decode(tag).ok()?);
        if expires < now || expires > now + COOKIE_LIFETIME {
            return None;
        }
        let is_it = |it: &PoolReplica| {
            let signed = signed(pool, &it.server.url, expires);
            hmac::verify(&self.0, signed.as_bytes(), &tag).is_ok()
        };
        let index = replicas.iter().position(is_it)?;
        Some((index, expires < now + COOKIE_LIFETIME / 2))
    }
}

fn signed(pool: &str, url: &str, expires: u64) -> String {
    format!("{pool}\0{url}\0{expires}")
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey(..)")
    }
}

/// The replica of each client address; the least recently used addresses are forgotten.
pub(super) struct AddressTable(Mutex<LruCache<IpAddr, Arc<str>>>);

impl Default for AddressTable {
    fn default() -> Self {
        // Memory for all addresses is not reserved.
        let mut addresses = LruCache::unbounded();
        addresses.resize(MAX_ADDRESSES);
        Self(Mutex::new(addresses))
    }
}

impl AddressTable {
    /// The replica of `client`. If it is unknown or not among `replicas` any more, `choose` selects
    /// another one.
    pub(super) fn find(
        &self,
        client: IpAddr,
        replicas: &[PoolReplica],
        choose: impl FnOnce() -> usize,
    ) -> (usize, bool) {
        let mut table = self.table();
        let known = table.get(&client);
        let known = known.and_then(|url| replicas.iter().position(|it| it.server.url == *url));
        if let Some(index) = known {
            return (index, true);
        }
        let index = choose();
        if let Some(replica) = replicas.get(index) {
            table.put(client, Arc::clone(&replica.server.url));
        }
        (index, false)
    }

    /// Sets the replica of `client`.
    pub(super) fn put(&self, client: IpAddr, url: &Arc<str>) {
        self.table().put(client, Arc::clone(url));
    }

    /// Number of addresses whose replica has this URL.
    pub(super) fn count(&self, url: &str) -> usize {
        self.table().iter().filter(|(_, it)| &***it == url).count()
    }

    fn table(&self) -> MutexGuard<'_, LruCache<IpAddr, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for AddressTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressTable(..)")
    }
}

/// The address of the client of a request: that of `peer`, or the rightmost address in
/// `X-Forwarded-For` that is no trusted proxy. `forwarded` are the values of the header in order.
pub fn client_address<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[IpNet],
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer.to_canonical();
    let mut addresses = forwarded.rev().flat_map(|value| value.rsplit(','));
    while is_trusted(client) {
        let next = addresses.next().and_then(|text| text.trim().parse::<IpAddr>().ok());
        let Some(next) = next else { break };
        client = next.to_canonical();
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::pool::snapshot::testing::replica;

    #[test]
    fn a_cookie_names_a_replica_of_one_pool_for_a_limited_time() {
        let key = CookieKey::random().unwrap();
        let replicas = [replica("http://a"), replica("http://b")];
        let cookie = key.issue("main", "http://b", 1000);
        assert!(!cookie.contains("http") && cookie.len() <= MAX_COOKIE);
        let find = |pool: &str, cookie: &str, now| key.find(pool, cookie, &replicas, now);
        assert_eq!(find("main", &cookie, 1000), Some((1, false)));
        assert_eq!(find("main", &cookie, 1000 + COOKIE_LIFETIME * 2 / 3), Some((1, true)));
        assert_eq!(find("main", &cookie, 1001 + COOKIE_LIFETIME), None);
        assert_eq!(find("other", &cookie, 1000), None);
        assert_eq!(find("main", &key.issue("main", "http://c", 1000), 1000), None);
        let other = CookieKey::random().unwrap();
        assert_eq!(find("main", &other.issue("main", "http://b", 1000), 1000), None);
        let long = "1".repeat(1 << 20);
        for forged in ["", ".", "x", "1000", "4000.x", "http://b", &*long] {
            assert_eq!(find("main", forged, 1000), None, "{forged:.20}");
        }
        // A longer lifetime needs another signature.
        let (_, tag) = cookie.split_once('.').unwrap();
        assert_eq!(find("main", &format!("4500.{tag}"), 1000), None);
    }

    #[test]
    fn an_address_keeps_its_replica_until_it_is_gone() {
        let table = AddressTable::default();
        let both = [replica("http://a"), replica("http://b")];
        let client: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(table.find(client, &both, || 1), (1, false));
        assert_eq!(table.find(client, &both, || 0), (1, true));
        assert_eq!(table.find("10.0.0.1".parse().unwrap(), &both, || 0), (0, false));
        assert_eq!((table.count("http://a"), table.count("http://b")), (1, 1));
        assert_eq!(table.find(client, &both[..1], || 0), (0, false));
        assert_eq!(table.find(client, &both, || 1), (0, true), "it was replaced");
        for number in 0..20_000_u32 {
            table.find(IpAddr::from(number.to_be_bytes()), &both, || 0);
        }
        assert_eq!(table.count("http://a"), MAX_ADDRESSES.get());
    }

    #[test]
    fn only_trusted_proxies_name_the_client() {
        let trusted: [IpNet; 2] = ["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let find = |peer: &str, forwarded: &[&str]| {
            client_address(peer.parse().unwrap(), forwarded.iter().copied(), &trusted).to_string()
        };
        for (peer, forwarded, expected) in [
            ("10.0.0.1", &["1.1.1.1"][..], "10.0.0.1"),
            ("127.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("127.0.0.1", &["9.9.9.9, 1.1.1.1"], "1.1.1.1"),
            ("127.0.0.1", &["9.9.9.9", "1.1.1.1,127.0.0.2"], "1.1.1.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["unknown"], "127.0.0.1"),
            ("127.0.0.1", &["9.9.9.9, unknown, 127.0.0.2"], "127.0.0.2"),
            ("127.0.0.1", &["127.0.0.3, 127.0.0.2"], "127.0.0.3"),
            ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
            ("::ffff:127.0.0.1", &["::ffff:1.2.3.4"], "1.2.3.4"),
        ] {
            assert_eq!(find(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
        let many = vec!["127.0.0.1"; 10_000].join(",");
        assert_eq!(find("127.0.0.1", &[&many]), "127.0.0.1");
    }
}
