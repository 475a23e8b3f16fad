//! Connections to servers that are known by URL.

use super::{Http1Stream, MaybeTlsStream};
use crate::tls::{self, ClientConfig, ServerName};
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, ConnectorService};
use awc::http::{Uri, uri::Authority};
use futures_util::future::LocalBoxFuture;
use std::{io, sync::Arc};

/// Looks up names and connects, with TLS if `tls` is set.
#[derive(Clone)]
pub struct Connector {
    tcp: ConnectorService,
    tls: Option<Arc<ClientConfig>>,
}

/// A connector without TLS, or with `tls`; for [`client`](super::client).
pub fn connector(tls: Option<Arc<ClientConfig>>) -> awc::Connector<Connector> {
    awc::Connector::new().connector(Connector { tcp: ConnectorService::default(), tls })
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

impl Service<ConnectInfo<Uri>> for Connector {
    type Response = Connection<Uri, Http1Stream<MaybeTlsStream>>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let Self { tcp, tls } = self.clone();
        Box::pin(async move {
            let connection: Connection<Uri, _> = tcp.call(request).await?;
            let (stream, uri) = connection.into_parts();
            stream.set_nodelay(true).map_err(ConnectError::Io)?;
            let stream = match tls {
                None => MaybeTlsStream::Plain(stream),
                Some(tls) => {
                    let name = server_name(&uri).map_err(ConnectError::Io)?;
                    let secured = tls::connect(tls, stream, name).await;
                    let secured = secured.map_err(io::Error::other).map_err(ConnectError::Io)?;
                    MaybeTlsStream::Tls(Box::new(secured))
                }
            };
            Ok(Connection::new(uri, Http1Stream::new(stream)))
        })
    }
}

fn server_name(uri: &Uri) -> io::Result<ServerName<'static>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    ServerName::try_from(host).map_err(io::Error::other)
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
