//! DNS look-ups.
//!
//! The system's look-up blocks a thread, for many seconds when the name server is unreachable.
//! Workers need their few threads to parse bodies, so look-ups can run on another runtime.
//! Concurrent look-ups of the same host are shared. Results are not cached.

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{net::lookup_host, runtime::Handle};

/// A host name was not resolved.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(Arc<str>);

type Addresses = Result<Arc<[SocketAddr]>, LookupError>;
type Lookup = Shared<BoxFuture<'static, Addresses>>;

/// Looks up hosts; clones share the running look-ups.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    runtime: Handle,
    running: Mutex<HashMap<(String, u16), Lookup>>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver(..)")
    }
}

impl Resolver {
    /// Creates a resolver that uses the threads of `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self(Arc::new(Inner { runtime, running: Mutex::default() }))
    }

    /// The addresses of `host`, which is a name or an IP address. Has no timeout.
    ///
    /// # Errors
    /// The name does not exist, or the name server does not respond.
    pub async fn addresses(&self, host: &str, port: u16) -> Addresses {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok([SocketAddr::new(address, port)].into());
        }
        self.lookup(host, port).await
    }

    /// The running look-up of this host, or a new one. It continues when its callers are dropped.
    fn lookup(&self, host: &str, port: u16) -> Lookup {
        let key = (host.to_owned(), port);
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = running.get(&key) {
            return lookup.clone();
        }
        let (inner, own_key) = (Arc::clone(&self.0), key.clone());
        let task = self.0.runtime.spawn(async move {
            let found = lookup_host((own_key.0.as_str(), own_key.1)).await;
            inner.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&own_key);
            found.map(|addresses| addresses.collect()).map_err(LookupError::new)
        });
        let lookup = async move { task.await.unwrap_or_else(|error| Err(LookupError::new(error))) };
        let lookup = lookup.boxed().shared();
        running.insert(key, lookup.clone());
        lookup
    }
}

impl LookupError {
    fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_need_no_lookup_and_names_are_looked_up_each_time() {
        let resolver = Resolver::new(Handle::current());
        for (host, expected) in [("127.0.0.9", "127.0.0.9:90"), ("::1", "[::1]:90")] {
            let addresses = resolver.addresses(host, 90).await.unwrap();
            assert_eq!(*addresses, [expected.parse().unwrap()]);
        }
        for _ in 0..2 {
            let addresses = resolver.addresses("localhost", 90).await.unwrap();
            assert!(addresses.iter().any(|a| a.ip().is_loopback() && a.port() == 90));
            assert!(resolver.0.running.lock().unwrap().is_empty(), "results are not cached");
        }
        let unknown = resolver.addresses("-no-such-host.invalid", 90).await.unwrap_err();
        assert!(unknown.to_string().contains("lookup"), "{unknown}");
    }

    #[tokio::test]
    async fn concurrent_requests_share_one_lookup() {
        let resolver = Resolver::new(Handle::current());
        let (first, second) = (resolver.lookup("localhost", 90), resolver.lookup("localhost", 90));
        assert!(first.ptr_eq(&second));
        let (first, second) = tokio::join!(first, second);
        assert_eq!(first.unwrap(), second.unwrap());
    }
}
