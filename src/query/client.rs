//! HTTP client for Prometheus servers.
//!
//! It uses one connection per request. Idle connections would have to be closed when an instance is
//! removed or moved, and may turn out to be closed when they are reused. A query takes longer than
//! opening a connection, and closing the connection cancels the query.
//!
//! `awc::Client` is not `Send`, so each worker has its own [`PrometheusClient`].

use super::{QueryFailure, ServerStates};
use crate::{
    net::{ConnectionLimiter, Connector, Permit, Resolver, plain_http_url},
    tls::ClientConfig,
};
use std::{sync::Arc, time::Duration};

/// Timeout for opening a connection, including lookup and TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct PrometheusClient {
    plain: awc::Client,
    secured: awc::Client,
    pub(super) limiter: ConnectionLimiter,
    pub(super) states: ServerStates,
}

impl PrometheusClient {
    /// Creates a client that verifies servers with `tls`. `resolver` must run on a runtime that
    /// serves no requests.
    pub fn new(
        tls: Arc<ClientConfig>,
        resolver: Resolver,
        limiter: ConnectionLimiter,
        states: ServerStates,
    ) -> Self {
        let client =
            |tls| client(Connector::to_uri_host(resolver.clone(), tls).limited(limiter.clone()));
        Self { plain: client(None), secured: client(Some(tls)), limiter, states }
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

    /// The client for a URL, and the URL for that client: [`Connector`] adds TLS.
    pub(super) fn of<'a>(&'a self, url: &'a str) -> (&'a awc::Client, String) {
        match plain_http_url(url) {
            None => (&self.plain, url.to_owned()),
            Some(url) => (&self.secured, url),
        }
    }
}

fn client(connector: Connector) -> awc::Client {
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

impl std::fmt::Debug for PrometheusClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrometheusClient").finish_non_exhaustive()
    }
}
