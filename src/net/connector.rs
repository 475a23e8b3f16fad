//! Opens connections to servers for awc.

use super::{
    connection_limiter::ConnectionLimiter,
    events::ConnectionEvents,
    http1_stream::Http1Stream,
    resolver::Resolver,
    server_stream::{PeerAddr, PeerTls, ServerStream},
};
use crate::tls::{ClientConfig, ServerName};
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::{Uri, uri::Authority};
use futures_util::future::LocalBoxFuture;
use std::{io, rc::Rc, sync::Arc};
use tokio::runtime::Handle;

/// Opens connections to one peer, or to the host of each URI. The caller limits the time.
#[derive(Clone)]
pub struct Connector {
    destination: Destination,
    limiter: Option<ConnectionLimiter>,
    events: Rc<ConnectionEvents>,
}

#[derive(Clone)]
enum Destination {
    Peer(PeerAddr),
    UriHost { resolver: Resolver, tls: Option<Arc<ClientConfig>> },
}

impl Connector {
    /// Connects to `peer`, regardless of the URI.
    pub fn to_peer(peer: PeerAddr, events: Rc<ConnectionEvents>) -> Self {
        Self { destination: Destination::Peer(peer), limiter: None, events }
    }

    /// Connects to the host of the URI, with TLS if `tls` is set.
    pub fn to_uri_host(resolver: Resolver, tls: Option<Arc<ClientConfig>>) -> Self {
        let destination = Destination::UriHost { resolver, tls };
        Self { destination, limiter: None, events: Rc::default() }
    }

    /// Counts the connections, and waits until another one may be opened.
    #[must_use]
    pub fn limited(self, limiter: ConnectionLimiter) -> Self {
        Self { limiter: Some(limiter), ..self }
    }

    /// Counts the events of the connections.
    #[must_use]
    pub fn counted(self, events: Rc<ConnectionEvents>) -> Self {
        Self { events, ..self }
    }

    async fn open(self, uri: &Uri) -> Result<ServerStream, ConnectError> {
        let Self { destination, limiter, events } = self;
        // Before the look-up, which needs a file descriptor as well.
        let open = match &limiter {
            None => None,
            Some(limiter) => Some(limiter.open().await),
        };
        let connected = match destination {
            Destination::Peer(PeerAddr { address, tls }) => {
                ServerStream::connect(address, tls, open, events).await
            }
            Destination::UriHost { resolver, tls } => {
                let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
                let addresses = resolver.addresses(host, uri.port_u16().unwrap_or(80)).await;
                let addresses =
                    addresses.map_err(|error| ConnectError::Resolver(Box::new(error)))?;
                let tls = tls.map(|config| peer_tls(config, host)).transpose();
                let tls = tls.map_err(ConnectError::Io)?;
                ServerStream::connect(&*addresses, tls, open, events).await
            }
        };
        connected.map_err(ConnectError::Io)
    }
}

fn peer_tls(config: Arc<ClientConfig>, host: &str) -> io::Result<PeerTls> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(PeerTls { config, name })
}

impl Service<ConnectInfo<Uri>> for Connector {
    type Response = Connection<Uri, Http1Stream<ServerStream>>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let uri = request.request().clone();
            let stream = connector.open(&uri).await?;
            Ok(Connection::new(uri, Http1Stream::new(stream)))
        })
    }
}

/// A connector to the host of each URI, without TLS or with `tls`; for [`client`](super::client()).
/// The current runtime looks up names.
pub fn connector(tls: Option<Arc<ClientConfig>>) -> awc::Connector<Connector> {
    let resolver = Resolver::new(Handle::current());
    awc::Connector::new().connector(Connector::to_uri_host(resolver, tls))
}

/// Converts an `https://` URL into the `http://` URL for a client with TLS; `None` for other URLs.
///
/// TLS is below awc, which would add its own TLS to an `https://` URL.
pub fn plain_http_url(url: &str) -> Option<String> {
    let scheme = url.get(.."https://".len())?;
    if !scheme.eq_ignore_ascii_case("https://") {
        return None;
    }
    let rest = url.get("https://".len()..)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let has_port = authority.parse::<Authority>().is_ok_and(|it| it.port_u16().is_some());
    let port = if has_port { "" } else { ":443" };
    Some(format!("http://{authority}{port}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_with_tls_are_rewritten() {
        for (url, expected) in [
            ("https://a.example.com/x?y", Some("http://a.example.com:443/x?y")),
            ("https://a.example.com:8443", Some("http://a.example.com:8443")),
            ("HTTPS://a.example.com?x", Some("http://a.example.com:443?x")),
            ("https://[::1]/x", Some("http://[::1]:443/x")),
            ("https://[::1]:1/x", Some("http://[::1]:1/x")),
            ("http://a.example.com/https://x", None),
            ("nonsense", None),
            ("", None),
            ("httpsé://x", None),
        ] {
            assert_eq!(plain_http_url(url).as_deref(), expected, "{url}");
        }
    }
}
