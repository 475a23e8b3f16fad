//! TLS to instances, as gorouter uses it.
//!
//! A platform gives each instance a certificate with its own name. The caller passes the expected
//! name for each connection; this module has the trusted CAs and the client certificate.

use super::{ClientSettings, HandshakeError, Reloader, TlsError};
use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// TLS to backends with certificates that can be reloaded; clones share them.
#[derive(Clone, Debug)]
pub struct ClientTls {
    settings: Arc<ClientSettings>,
    current: Arc<ArcSwap<TlsConnectors>>,
}

/// Opens TLS connections with one version of the certificates.
#[derive(Clone)]
pub struct TlsConnectors {
    /// Version of the certificates. Connections with an older version must not be reused.
    pub generation: u64,
    http1: TlsConnector,
    http2: TlsConnector,
}

impl std::fmt::Debug for TlsConnectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConnectors")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads the certificates.
    ///
    /// # Errors
    /// The first certificate or key that cannot be used.
    pub fn open(settings: ClientSettings) -> Result<(Self, Reloader), TlsError> {
        let pems = settings.pems();
        let seen = Reloader::fingerprints(&pems);
        let current = Arc::new(ArcSwap::from_pointee(TlsConnectors::read(&settings, 0)?));
        let backends = Self { settings: Arc::new(settings), current };
        let own = backends.clone();
        let reloader = Reloader::new("backends", pems, seen, move || own.reload());
        Ok((backends, reloader))
    }

    /// The current certificates.
    pub fn current(&self) -> Arc<TlsConnectors> {
        self.current.load_full()
    }

    fn reload(&self) -> Result<(), TlsError> {
        let next = TlsConnectors::read(&self.settings, self.current().generation + 1)?;
        self.current.store(Arc::new(next));
        Ok(())
    }
}

impl TlsConnectors {
    fn read(settings: &ClientSettings, generation: u64) -> Result<Self, TlsError> {
        let mut http1 = settings.config()?;
        // Separate configurations, because a session of one protocol must not be resumed for the
        // other.
        let mut http2 = settings.config()?;
        http1.alpn_protocols = Vec::new();
        http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (http1, http2) = (Arc::new(http1).into(), Arc::new(http2).into());
        Ok(Self { generation, http1, http2 })
    }

    /// Performs the TLS handshake with the peer `name`. With `http2` it offers HTTP/2, and
    /// [`Self::negotiated_http2`] returns whether the peer accepted.
    ///
    /// # Errors
    /// The peer's certificate is invalid, or the peer rejects the connection.
    pub async fn connect(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
        http2: bool,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let connector = if http2 { &self.http2 } else { &self.http1 };
        connector.connect(name, stream).await.map_err(|error| HandshakeError::new(&error))
    }

    /// Whether the peer accepted HTTP/2.
    pub fn negotiated_http2(stream: &TlsStream<TcpStream>) -> bool {
        stream.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}
