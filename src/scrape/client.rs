//! HTTP client for instances, with one [`Peer`] per address and certificate name.
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
    domain::ExporterHost,
    net::{
        ConnectionEvents, ConnectionLimiter, Connector, IdlePool, PeerAddr, PeerTls, Permit,
        Resolver,
    },
    tls::{ClientConfig, ClientConfigs, ClientTls, ServerName},
};
use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};
use tokio::time::Instant as Deadline;

#[derive(Clone)]
pub struct ScrapeClient(Rc<Peers>);

struct Peers {
    by_key: Rc<IdlePool<PeerKey, Peer>>,
    backends: ClientTls,
    resolver: Resolver,
    limiter: ConnectionLimiter,
}

/// Pool key of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PeerKey {
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
}

impl Location {
    /// The certificate of an instance must contain the name in its route; by default its address.
    pub(super) fn of_instance(endpoint: &Endpoint) -> Result<Self, ScrapeFailure> {
        let Endpoint { address, http2, .. } = *endpoint;
        let name = endpoint.server_cert_domain_san.as_deref().filter(|name| !name.is_empty());
        let tls = match (endpoint.tls, name) {
            (false, _) => None,
            (true, None) => Some(ServerName::from(address.ip())),
            (true, Some(name)) => Some(server_name(name)?),
        };
        Ok(Self { address, tls, http2 })
    }

    /// One of the addresses of an exporter, whose certificate must contain the name of the host.
    pub(super) fn of_exporter(
        host: &ExporterHost,
        address: SocketAddr,
    ) -> Result<Self, ScrapeFailure> {
        let tls = host.tls().then(|| server_name(host.name())).transpose()?;
        Ok(Self { address, tls, http2: false })
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, ScrapeFailure> {
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
        let idle_timeout = peers.by_key.idle_timeout();
        let http2 = location
            .http2
            .then(|| Http2::new(address(|all| &all.http2), limiter.clone(), idle_timeout));
        let connector = Connector::to_peer(address(|all| &all.http1), Rc::clone(&events));
        let connector = awc::Connector::new()
            .connector(connector.limited(limiter.clone()))
            // The caller's deadline is the only one.
            .timeout(Duration::from_secs(3600))
            .handshake_timeout(Duration::from_secs(3600))
            .conn_keep_alive(idle_timeout)
            .conn_lifetime(Duration::from_secs(3600));
        let http1 = awc::Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .finish();
        Self { http1, events, http2 }
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
    /// `resolver` must run on a runtime that serves no requests.
    ///
    /// Needs a running `LocalSet`, as [`IdlePool`] does.
    pub fn new(
        idle_timeout: Duration,
        backends: ClientTls,
        resolver: Resolver,
        limiter: ConnectionLimiter,
    ) -> Self {
        let by_key = IdlePool::new(idle_timeout, limiter.clone());
        Self(Rc::new(Peers { by_key, backends, resolver, limiter }))
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

    pub(super) async fn addresses(
        &self,
        host: &ExporterHost,
    ) -> Result<Arc<[SocketAddr]>, ScrapeFailure> {
        let found = self.0.resolver.addresses(host.name(), host.port()).await;
        found.map_err(|error| {
            ScrapeFailure::new(FailureReason::Connect, format!("host not found: {error}"))
        })
    }

    pub(super) fn peer(&self, location: &Location) -> Rc<Peer> {
        let (key, configs) = self.key(location);
        self.0.by_key.get(key, || Peer::new(location, configs.as_deref(), &self.0))
    }

    /// A peer without idle connections, to replace one whose connections are closed.
    pub(super) fn fresh_peer(&self, location: &Location) -> Rc<Peer> {
        let (key, configs) = self.key(location);
        self.0.by_key.replace(key, Peer::new(location, configs.as_deref(), &self.0))
    }

    fn key(&self, location: &Location) -> (PeerKey, Option<Arc<ClientConfigs>>) {
        let configs = location.tls.is_some().then(|| self.0.backends.current());
        let certificates = configs.as_ref().map(|current| current.generation);
        (PeerKey { location: location.clone(), certificates }, configs)
    }
}
