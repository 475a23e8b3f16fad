//! How instances are reached by TLS, as gorouter does it.
//!
//! A platform gives each instance a certificate with a name of its own. Which
//! name is expected comes with each connection; here is who may have signed
//! it, and the certificate that instances want to see of us.

use super::{ClientSettings, HandshakeError, Keeper, TlsError};
use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What is in force; clones share it.
#[derive(Clone, Debug)]
pub struct Backends {
    settings: Arc<ClientSettings>,
    current: Arc<ArcSwap<Connectors>>,
}

/// Opens secured connections to instances.
#[derive(Clone)]
pub struct Connectors {
    /// Another number, other certificates: what was opened with those before
    /// is not to be used any more.
    pub generation: u64,
    http1: TlsConnector,
    http2: TlsConnector,
}

impl std::fmt::Debug for Connectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connectors").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl Backends {
    /// Reads the certificates.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn open(settings: ClientSettings) -> Result<(Self, Keeper), TlsError> {
        let pems = settings.pems();
        let seen = Keeper::look(&pems);
        let current = Arc::new(ArcSwap::from_pointee(Connectors::read(&settings, 0)?));
        let backends = Self { settings: Arc::new(settings), current };
        let own = backends.clone();
        let keeper = Keeper::new("backends", pems, seen, move || own.reload());
        Ok((backends, keeper))
    }

    /// What is in force now.
    pub fn current(&self) -> Arc<Connectors> {
        self.current.load_full()
    }

    fn reload(&self) -> Result<(), TlsError> {
        let next = Connectors::read(&self.settings, self.current().generation + 1)?;
        self.current.store(Arc::new(next));
        Ok(())
    }
}

impl Connectors {
    fn read(settings: &ClientSettings, generation: u64) -> Result<Self, TlsError> {
        let mut http1 = settings.config()?;
        // A session of one protocol is not to be resumed for the other.
        let mut http2 = settings.config()?;
        http1.alpn_protocols = Vec::new();
        http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (http1, http2) = (Arc::new(http1).into(), Arc::new(http2).into());
        Ok(Self { generation, http1, http2 })
    }

    /// Secures a connection to the instance that is called `name`. With
    /// `http2` that is offered, and [`Self::speaks_http2`] tells what came of it.
    ///
    /// # Errors
    /// When the peer is not who it should be, or does not want us.
    pub async fn connect(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
        http2: bool,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let connector = if http2 { &self.http2 } else { &self.http1 };
        connector.connect(name, stream).await.map_err(|error| HandshakeError::new(&error))
    }

    /// Whether the peer of a new connection took the offer of HTTP/2.
    pub fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
        stream.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}
