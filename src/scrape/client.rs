//! HTTP client for instances, with one [`Peer`] per address and certificate name.
//!
//! awc pools connections by the URI's authority and closes an idle one only at the next request to
//! the same authority. Containers are replaced, each with a new address, so sockets to old
//! addresses would pile up. A pool per address can be dropped as a whole once it is idle.
//!
//! With TLS an address is not enough: platforms give it to the next instance, whose certificate has
//! another name, and certificates are reloaded. A connection is reused only for the name and with
//! the certificates that it was verified with.
//!
//! `awc::Client` is not `Send`, so each worker has its own [`ScrapeClient`].

use super::{
    failure::{FailureReason, ScrapeFailure},
    http2::Http2,
};
use crate::{
    discovery::Endpoint,
    net::{ConnectionEvents, ConnectionLimiter, Connector, PeerAddr, PeerTls, Permit},
    tls::{ClientConfig, ClientConfigs, ClientTls, ServerName},
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::Instant as Deadline;

#[derive(Clone)]
pub struct ScrapeClient(Rc<Peers>);

struct Peers {
    by_key: RefCell<HashMap<Key, Rc<Peer>>>,
    backends: ClientTls,
    limiter: ConnectionLimiter,
    idle_timeout: Duration,
}

/// Pool key of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    location: Location,
    /// Generation of the certificates, with TLS.
    certificates: Option<u64>,
}

/// Address and protocol of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Location {
    pub(super) address: SocketAddr,
    /// With TLS: the name that the certificate must contain.
    pub(super) tls: Option<ServerName<'static>>,
    pub(super) http2: bool,
}

pub(super) struct Peer {
    pub(super) http1: awc::Client,
    pub(super) events: Rc<ConnectionEvents>,
    http2: Option<Http2>,
    last_used: Cell<Instant>,
}

impl Location {
    pub(super) fn of(endpoint: &Endpoint) -> Result<Self, ScrapeFailure> {
        let tls = endpoint.tls.then(|| server_name(endpoint)).transpose()?;
        Ok(Self { address: endpoint.address, tls, http2: endpoint.http2 })
    }
}

/// The name that the instance's certificate must contain; by default its address.
fn server_name(endpoint: &Endpoint) -> Result<ServerName<'static>, ScrapeFailure> {
    let Some(name) = endpoint.server_cert_domain_san.as_deref().filter(|name| !name.is_empty())
    else {
        return Ok(ServerName::from(endpoint.address.ip()));
    };
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let text = format!("the route names {name:?} for its certificate, which is not a DNS name");
        ScrapeFailure::new(FailureReason::Tls, text)
    })
}

impl Peer {
    fn new(location: &Location, configs: Option<&ClientConfigs>, peers: &Peers) -> Self {
        let address = |config: fn(&ClientConfigs) -> &Arc<ClientConfig>| {
            let tls = location.tls.clone().zip(configs);
            let tls = tls.map(|(name, all)| PeerTls { config: Arc::clone(config(all)), name });
            PeerAddr { address: location.address, tls }
        };
        let (events, limiter) = (Rc::new(ConnectionEvents::default()), &peers.limiter);
        let http2 = location
            .http2
            .then(|| Http2::new(address(|all| &all.http2), limiter.clone(), peers.idle_timeout));
        let connector = Connector::to_peer(address(|all| &all.http1), Rc::clone(&events));
        let connector = awc::Connector::new()
            .connector(connector.limited(limiter.clone()))
            // The caller's deadline is the only one.
            .timeout(Duration::from_secs(3600))
            .handshake_timeout(Duration::from_secs(3600))
            .conn_keep_alive(peers.idle_timeout)
            .conn_lifetime(Duration::from_secs(3600));
        let http1 = awc::Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .finish();
        Self { http1, events, http2, last_used: Cell::new(Instant::now()) }
    }

    /// The HTTP/2 pool, unless the instance requires HTTP/1.1.
    pub(super) fn http2(&self) -> Option<&Http2> {
        self.http2.as_ref().filter(|http2| !http2.requires_http1())
    }
}

impl ScrapeClient {
    /// Creates a client. It closes connections that are idle for `idle_timeout`, and all idle
    /// connections when `limiter` has no room left.
    ///
    /// Needs a running `LocalSet` (an actix arbiter) for the task that closes idle connections. The
    /// task ends with the client.
    pub fn new(idle_timeout: Duration, backends: ClientTls, limiter: ConnectionLimiter) -> Self {
        let peers = Peers { by_key: RefCell::default(), backends, limiter, idle_timeout };
        let peers = Rc::new(peers);
        actix_rt::spawn(close_idle(Rc::downgrade(&peers), peers.limiter.clone(), idle_timeout));
        Self(peers)
    }

    /// Waits until a request for `owner` may use a connection.
    ///
    /// # Errors
    /// No connection was free before the deadline.
    pub(super) async fn permit(
        &self,
        owner: &str,
        deadline: Deadline,
    ) -> Result<Permit, ScrapeFailure> {
        let permit = tokio::time::timeout_at(deadline, self.0.limiter.acquire(owner)).await;
        permit.map_err(|_| {
            ScrapeFailure::new(
                FailureReason::NoConnection,
                "not scraped: no connection was free in time",
            )
        })
    }

    pub(super) fn max_connections(&self) -> usize {
        self.0.limiter.max()
    }

    /// Counts a request that is rejected with 503 because no connection was free.
    pub(super) fn count_refused(&self) {
        self.0.limiter.count_refused();
    }

    pub(super) fn peer(&self, location: &Location) -> Rc<Peer> {
        let (key, configs) = self.key(location);
        let mut peers = self.0.by_key.borrow_mut();
        let new = || Rc::new(Peer::new(location, configs.as_deref(), &self.0));
        let peer = peers.entry(key).or_insert_with(new);
        peer.last_used.set(Instant::now());
        Rc::clone(peer)
    }

    /// A peer without idle connections, to replace one whose connections are closed.
    pub(super) fn fresh_peer(&self, location: &Location) -> Rc<Peer> {
        let (key, configs) = self.key(location);
        let peer = Rc::new(Peer::new(location, configs.as_deref(), &self.0));
        self.0.by_key.borrow_mut().insert(key, Rc::clone(&peer));
        peer
    }

    fn key(&self, location: &Location) -> (Key, Option<Arc<ClientConfigs>>) {
        let configs = location.tls.is_some().then(|| self.0.backends.current());
        let certificates = configs.as_ref().map(|current| current.generation);
        (Key { location: location.clone(), certificates }, configs)
    }
}

async fn close_idle(peers: Weak<Peers>, limiter: ConnectionLimiter, idle_timeout: Duration) {
    let pause = (idle_timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(10));
    loop {
        let all = tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = limiter.close_idle_requested() => true,
        };
        let Some(peers) = peers.upgrade() else { return };
        peers.by_key.borrow_mut().retain(|_, peer| {
            let is_fresh = !all && peer.last_used.get().elapsed() < idle_timeout;
            Rc::strong_count(peer) > 1 || is_fresh
        });
    }
}
