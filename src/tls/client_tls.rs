//! TLS to instances, as gorouter uses it.
//!
//! A platform gives each instance a certificate with its own name. The caller passes the expected
//! name for each connection; this module has the trusted CAs and the client certificate.

use super::{CertificateFiles, ClientSettings, TlsError, certificate_files::fingerprints};
use arc_swap::ArcSwap;
use rustls::ClientConfig;
use std::sync::Arc;

/// TLS to backends with certificates that can be reloaded; clones share them.
#[derive(Clone, Debug)]
pub struct ClientTls {
    settings: Arc<ClientSettings>,
    current: Arc<ArcSwap<ClientConfigs>>,
}

/// Configurations with one version of the certificates.
pub struct ClientConfigs {
    /// Version of the certificates. Connections with an older version must not be reused.
    pub generation: u64,
    pub http1: Arc<ClientConfig>,
    /// Offers HTTP/2 and HTTP/1.1.
    pub http2: Arc<ClientConfig>,
}

impl std::fmt::Debug for ClientConfigs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfigs")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads the certificates.
    ///
    /// # Errors
    /// The first certificate or key that cannot be used.
    pub fn open(settings: ClientSettings) -> Result<(Self, CertificateFiles), TlsError> {
        let pems = settings.pems();
        let first = fingerprints(&pems);
        let current = Arc::new(ArcSwap::from_pointee(ClientConfigs::read(&settings, 0)?));
        let backends = Self { settings: Arc::new(settings), current };
        let own = backends.clone();
        Ok((backends, CertificateFiles::new(pems, first, move || own.reload())))
    }

    /// The current certificates.
    pub fn current(&self) -> Arc<ClientConfigs> {
        self.current.load_full()
    }

    fn reload(&self) -> Result<(), TlsError> {
        let next = ClientConfigs::read(&self.settings, self.current().generation + 1)?;
        self.current.store(Arc::new(next));
        Ok(())
    }
}

impl ClientConfigs {
    fn read(settings: &ClientSettings, generation: u64) -> Result<Self, TlsError> {
        let mut http1 = settings.config()?;
        // Separate configurations, because a session of one protocol must not be resumed for the
        // other.
        let mut http2 = settings.config()?;
        http1.alpn_protocols = Vec::new();
        http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { generation, http1: Arc::new(http1), http2: Arc::new(http2) })
    }
}
