//! HTTP client for Prometheus servers.
//!
//! It uses one connection per request. Idle connections would have to be closed when an instance is
//! removed or moved, and may turn out to be closed when they are reused. A query takes longer than
//! opening a connection, and closing the connection cancels the query.
//!
//! `awc::Client` is not `Send`, so each worker has its own [`PrometheusClient`].

use super::QueryFailure;
use crate::{
    net::{ConnectionLimiter, Http1Stream, MaybeTlsStream, OpenConnection, Permit, plain_http_url},
    tls::{ClientTls, ServerName},
};
use actix_rt::net::TcpStream;
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use futures_util::future::LocalBoxFuture;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::runtime::Handle;

/// Timeout for opening a connection, including lookup and TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);

/// PrometheusClient for Prometheus servers; clones share the connections.
#[derive(Clone)]
pub struct PrometheusClient {
    plain: awc::Client,
    secured: awc::Client,
    limiter: ConnectionLimiter,
}

impl PrometheusClient {
    /// Creates a client that verifies servers with `tls`. `lookup_runtime` runs DNS lookups and
    /// must not serve requests.
    pub fn new(tls: ClientTls, lookup_runtime: Handle, limiter: ConnectionLimiter) -> Self {
        let plain = PrometheusConnector { tls: None, lookup_runtime, limiter: limiter.clone() };
        let secured = PrometheusConnector { tls: Some(tls), ..plain.clone() };
        Self { plain: client(plain), secured: client(secured), limiter }
    }

    /// Waits until a request to the instance `owner` may use a connection.
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

    /// The client for a URL, and the URL for that client: [`PrometheusConnector`] adds TLS.
    pub(super) fn of<'a>(&'a self, url: &'a str) -> (&'a awc::Client, String) {
        match plain_http_url(url) {
            None => (&self.plain, url.to_owned()),
            Some(url) => (&self.secured, url),
        }
    }
}

fn client(connector: PrometheusConnector) -> awc::Client {
    let connector = awc::Connector::new()
        .connector(connector)
        .timeout(CONNECT)
        .handshake_timeout(CONNECT)
        // awc's limit is for all instances together, so a hung instance would block the others.
        .limit(0);
    awc::Client::builder()
        .connector(connector)
        .disable_timeout()
        .disable_redirects()
        .no_default_headers()
        .finish()
}

#[derive(Clone)]
struct PrometheusConnector {
    tls: Option<ClientTls>,
    lookup_runtime: Handle,
    limiter: ConnectionLimiter,
}

impl Service<ConnectInfo<Uri>> for PrometheusConnector {
    type Response = Connection<Uri, Http1Stream<MaybeTlsStream>>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let Self { tls, lookup_runtime, limiter } = self.clone();
        Box::pin(async move {
            let uri = request.request().clone();
            let (stream, open) =
                open(&uri, tls, &lookup_runtime, &limiter).await.map_err(ConnectError::Io)?;
            Ok(Connection::new(uri, Http1Stream::new(stream).counted(open)))
        })
    }
}

async fn open(
    uri: &Uri,
    tls: Option<ClientTls>,
    lookup_runtime: &Handle,
    limiter: &ConnectionLimiter,
) -> io::Result<(MaybeTlsStream, OpenConnection)> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(80);
    // Before the lookup, which needs a file descriptor as well.
    let open = limiter.open().await;
    let addresses = addresses(host.clone(), port, lookup_runtime).await?;
    let stream = TcpStream::connect(addresses.as_slice()).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok((MaybeTlsStream::Plain(stream), open)) };
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let secured = tls.current().connect(stream, name, false).await.map_err(io::Error::other)?;
    Ok((MaybeTlsStream::Tls(Box::new(secured)), open))
}

/// The system's DNS lookup blocks a thread.
async fn addresses(
    host: String,
    port: u16,
    lookup_runtime: &Handle,
) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![(ip, port).into()]);
    }
    let lookup =
        async move { Ok(tokio::net::lookup_host((host, port)).await?.collect::<Vec<_>>()) };
    lookup_runtime.spawn(lookup).await.map_err(io::Error::other)?
}

impl std::fmt::Debug for PrometheusClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrometheusClient").finish_non_exhaustive()
    }
}
