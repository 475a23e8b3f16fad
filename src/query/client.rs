//! HTTP client for Prometheus servers. It keeps idle connections, separately for each server and
//! upstream.
//!
//! `awc::Client` is not `Send`, so each worker has its own [`PrometheusClient`].

use super::{
    Authorization, BodyContent, BodyKind, QueryFailure, QueryRequest, RequestBody, Server,
    ServerStates, Upstream,
};
use crate::{
    net::{
        self, ConnectionEvents, ConnectionLimiter, Connector, IdlePool, Permit, RequestEvents,
        Resolver, plain_http_url,
    },
    tls::ClientConfig,
};
use awc::{
    ClientRequest, ClientResponse, SendClientRequest,
    body::{BodyStream, SizedStream},
    error::SendRequestError,
    http::header::{self, HeaderName},
};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// Timeout for opening a connection, including lookup and TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// Prometheus closes idle connections after five minutes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Request headers that are forwarded: content negotiation and cache validation.
const REQUEST_HEADERS: [HeaderName; 4] =
    [header::ACCEPT, header::ACCEPT_ENCODING, header::IF_MODIFIED_SINCE, header::IF_NONE_MATCH];

/// Request headers that are forwarded with a body that is not a form: its format, and its sender.
const BODY_HEADERS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::USER_AGENT,
    HeaderName::from_static("x-prometheus-remote-write-version"),
    HeaderName::from_static("x-prometheus-remote-read-version"),
    HeaderName::from_static("retry-attempt"),
];

#[derive(Clone)]
pub struct PrometheusClient {
    peers: Rc<IdlePool<PeerKey, Peer>>,
    /// Certificates for upstreams without their own.
    system_tls: Arc<ClientConfig>,
    resolver: Resolver,
    pub(super) limiter: ConnectionLimiter,
    pub(super) states: ServerStates,
}

#[derive(PartialEq, Eq, Hash)]
struct PeerKey {
    upstream: String,
    url: Arc<str>,
    /// Generation of the certificates of the upstream.
    certificates: u64,
}

/// The connections to one server.
struct Peer {
    client: awc::Client,
    /// URL for the client: [`Connector`] adds TLS.
    url: String,
    events: Rc<ConnectionEvents>,
}

impl PrometheusClient {
    /// Creates a client. `system_tls` verifies servers of upstreams without their own certificates.
    /// `resolver` must run on a runtime that serves no requests.
    ///
    /// Needs a running `LocalSet`, as [`IdlePool`] does.
    pub fn new(
        system_tls: Arc<ClientConfig>,
        resolver: Resolver,
        limiter: ConnectionLimiter,
        states: ServerStates,
    ) -> Self {
        let peers = IdlePool::new(IDLE_TIMEOUT, limiter.clone());
        Self { peers, system_tls, resolver, limiter, states }
    }

    /// Waits until a request to the upstream `owner` may use a connection.
    ///
    /// # Errors
    /// No connection was free in time.
    pub(super) async fn permit(&self, owner: &str) -> Result<Permit, QueryFailure> {
        let permit = tokio::time::timeout(CONNECT, self.limiter.acquire(owner)).await;
        permit.map_err(|_| {
            self.limiter.count_refused();
            QueryFailure::Busy
        })
    }

    /// Sends a request to one server. Sends it again on a new connection if an idle connection was
    /// closed before the first byte of the response.
    pub(super) async fn send(
        &self,
        server: &Server,
        upstream: &Upstream,
        request: &QueryRequest<'_>,
    ) -> Result<ClientResponse, SendRequestError> {
        let (key, tls) = self.key(server, upstream);
        let peer = self.peers.get(key, || self.peer(server, Arc::clone(&tls)));
        let authorization = server.authorization.as_ref().or(upstream.authorization.as_ref());
        let mut events = RequestEvents::default();
        match send_once(&peer, authorization, request, &mut events).await {
            Err(error) if events.closed_while_idle(&error) && request.may_repeat() => {}
            sent => return sent,
        }
        let (key, _) = self.key(server, upstream);
        let peer = self.peers.replace(key, self.peer(server, tls));
        send_once(&peer, authorization, request, &mut RequestEvents::default()).await
    }

    fn key(&self, server: &Server, upstream: &Upstream) -> (PeerKey, Arc<ClientConfig>) {
        let own = upstream.tls.as_ref().map(|tls| tls.current());
        let key = PeerKey {
            upstream: upstream.external_url.clone(),
            url: Arc::clone(&server.url),
            certificates: own.as_ref().map_or(0, |own| own.generation),
        };
        (key, own.map_or_else(|| Arc::clone(&self.system_tls), |own| Arc::clone(&own.http1)))
    }

    fn peer(&self, server: &Server, tls: Arc<ClientConfig>) -> Peer {
        let https = plain_http_url(&server.url);
        let tls = https.is_some().then_some(tls);
        let connector = Connector::to_uri_host(self.resolver.clone(), tls);
        let events = Rc::new(ConnectionEvents::default());
        let connector = connector.limited(self.limiter.clone()).counted(Rc::clone(&events));
        let connector = awc::Connector::new()
            .connector(connector)
            .timeout(CONNECT)
            .handshake_timeout(CONNECT)
            .conn_keep_alive(IDLE_TIMEOUT)
            // Names are looked up again after this long.
            .conn_lifetime(Duration::from_secs(600))
            // awc's limit would let slow queries block the others. `limiter` limits all of them.
            .limit(0);
        let client = awc::Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .finish();
        Peer { client, url: https.unwrap_or_else(|| server.url.to_string()), events }
    }
}

async fn send_once(
    peer: &Peer,
    authorization: Option<&Authorization>,
    request: &QueryRequest<'_>,
    events: &mut RequestEvents,
) -> Result<ClientResponse, SendRequestError> {
    let url = format!("{}{}", peer.url, request.target);
    let http_request = match &request.body {
        None => peer.client.get(url),
        Some(_) => peer.client.post(url),
    };
    let mut http_request = http_request
        .no_decompress()
        .insert_header((header::USER_AGENT, concat!("scrapebroker/", env!("CARGO_PKG_VERSION"))));
    if let Some(authorization) = authorization {
        http_request = http_request.insert_header((header::AUTHORIZATION, authorization.header()));
    }
    // A body that is edited must not be compressed.
    let is_edited = request.files.is_some() || request.is_uncompressed;
    let is_sent = |name: &HeaderName| !is_edited || *name != header::ACCEPT_ENCODING;
    for name in REQUEST_HEADERS.into_iter().filter(is_sent) {
        for value in request.headers.get_all(&name) {
            http_request = http_request.append_header((name.clone(), value.clone()));
        }
    }
    if let Some(chain) = &request.forwarded_for {
        http_request = http_request.insert_header(("x-forwarded-for", chain.clone()));
    }
    let sending = match &request.body {
        None => net::send(http_request),
        Some(body) => send_body(http_request, request, body),
    };
    let mut sending = pin!(sending);
    poll_fn(|cx| events.poll(&peer.events, || sending.as_mut().poll(cx))).await
}

fn send_body(
    mut http_request: ClientRequest,
    request: &QueryRequest<'_>,
    body: &RequestBody,
) -> SendClientRequest {
    if body.kind == BodyKind::Form {
        http_request = http_request.content_type("application/x-www-form-urlencoded");
    } else {
        for name in BODY_HEADERS {
            if let Some(value) = request.headers.get(&name) {
                http_request = http_request.insert_header((name, value.clone()));
            }
        }
    }
    match &body.content {
        BodyContent::Kept(bytes) => http_request.send_body(bytes.clone()),
        BodyContent::Streamed(body) => match body.length() {
            Some(length) => http_request.send_body(SizedStream::new(length, body.chunks())),
            None => http_request.send_body(BodyStream::new(body.chunks())),
        },
    }
}

impl std::fmt::Debug for PrometheusClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrometheusClient").finish_non_exhaustive()
    }
}
