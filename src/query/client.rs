//! The HTTP client towards Prometheus servers.
//!
//! One connection a request. Kept ones would have to be closed when an instance
//! is removed or moved, could be dead when they are used again, and cannot be
//! told from new ones; a query takes longer than a connection. And when it is
//! closed, Prometheus stops working on the query.
//!
//! `awc::Client` is not `Send`: each worker has a [`Client`] of its own.

use super::Failure;
use crate::{
    net::{Answers, MaybeTlsStream, OpenConnection, Outgoing, Permit, unsecured},
    tls::{Backends, ServerName},
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

/// How long a connection may take to come about, look-up and handshake included.
const CONNECT: Duration = Duration::from_secs(5);

/// Asks Prometheus servers; clones share everything.
#[derive(Clone)]
pub struct Client {
    plain: awc::Client,
    secured: awc::Client,
    outgoing: Outgoing,
}

impl Client {
    /// A client that verifies servers by `tls`, and looks their names up on the
    /// threads of `elsewhere`, a runtime that serves no requests.
    pub fn new(tls: Backends, elsewhere: Handle, outgoing: Outgoing) -> Self {
        let plain = Dial { tls: None, elsewhere, outgoing: outgoing.clone() };
        let secured = Dial { tls: Some(tls), ..plain.clone() };
        Self { plain: client(plain), secured: client(secured), outgoing }
    }

    /// Waits until a request to the instance `owner` may use a connection.
    ///
    /// # Errors
    /// None was free in time.
    pub(super) async fn permit(&self, owner: &str) -> Result<Permit, Failure> {
        let permit = tokio::time::timeout(CONNECT, self.outgoing.acquire(owner)).await;
        permit.map_err(|_| {
            self.outgoing.refuse();
            Failure::Busy
        })
    }

    /// The client for a URL, and the URL for that client: TLS is [`Dial`]'s work.
    pub(super) fn of<'a>(&'a self, url: &'a str) -> (&'a awc::Client, String) {
        match unsecured(url) {
            None => (&self.plain, url.to_owned()),
            Some(url) => (&self.secured, url),
        }
    }
}

fn client(dial: Dial) -> awc::Client {
    let connector = awc::Connector::new()
        .connector(dial)
        .timeout(CONNECT)
        .handshake_timeout(CONNECT)
        // Of all instances together: a hung one must not stop the others.
        .limit(0);
    awc::Client::builder()
        .connector(connector)
        // The caller's deadline is the only one.
        .disable_timeout()
        .disable_redirects()
        .no_default_headers()
        .finish()
}

/// Opens connections.
#[derive(Clone)]
struct Dial {
    tls: Option<Backends>,
    elsewhere: Handle,
    outgoing: Outgoing,
}

impl Service<ConnectInfo<Uri>> for Dial {
    type Response = Connection<Uri, Answers<MaybeTlsStream>>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let Self { tls, elsewhere, outgoing } = self.clone();
        Box::pin(async move {
            let uri = request.request().clone();
            let (stream, open) =
                open(&uri, tls, &elsewhere, &outgoing).await.map_err(ConnectError::Io)?;
            Ok(Connection::new(uri, Answers::new(stream).counted(open)))
        })
    }
}

async fn open(
    uri: &Uri,
    tls: Option<Backends>,
    elsewhere: &Handle,
    outgoing: &Outgoing,
) -> io::Result<(MaybeTlsStream, OpenConnection)> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(80);
    // Before the look-up, which needs a descriptor as well.
    let open = outgoing.open().await;
    let addresses = addresses(host.clone(), port, elsewhere).await?;
    let stream = TcpStream::connect(addresses.as_slice()).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok((MaybeTlsStream::Plain(stream), open)) };
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let secured = tls.current().connect(stream, name, false).await.map_err(io::Error::other)?;
    Ok((MaybeTlsStream::Tls(Box::new(secured)), open))
}

/// The system's look-up blocks a thread.
async fn addresses(host: String, port: u16, elsewhere: &Handle) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![(ip, port).into()]);
    }
    let look_up =
        async move { Ok(tokio::net::lookup_host((host, port)).await?.collect::<Vec<_>>()) };
    elsewhere.spawn(look_up).await.map_err(io::Error::other)?
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
