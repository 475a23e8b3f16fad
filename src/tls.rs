//! TLS certificates: of Scrapebroker, of the instances and servers that it connects to, and of its
//! clients.
//!
//! Certificates can change while the program runs, because platforms renew them without a restart.
//! [`ClientTls`] and [`ListenerTls`] hold the current ones. [`CertificateFiles`] reads the files again,
//! and keeps the previous certificates if the new files are invalid.
//!
//! `ring` is the only crypto provider that is compiled in, and each configuration names it. Only the
//! client of the Kubernetes API uses the process-wide default, which rustls then sets to `ring`.

mod certificate_files;
mod client;
mod client_tls;
mod handshake_error;
mod listener_tls;
mod pem;
mod signature_checks;
mod web_tls;

pub use certificate_files::{CertificateFiles, Fingerprint};
pub use client::{ClientSettings, connect};
pub use client_tls::{ClientConfigs, ClientTls};
pub use handshake_error::{ClientHandshakeError, HandshakeError, alert_of, alert_text};
pub use listener_tls::{Alpn, ListenerSettings, ListenerTls};
pub use pem::{Pem, PemSource};
pub use web_tls::{
    CipherSuite, ClientAuth, CurrentAcceptor, Curve, TlsVersion, WebTls, WebTlsSettings,
};

pub use rustls::{
    AlertDescription, ClientConfig, ServerConfig,
    pki_types::{PrivateKeyDer, ServerName, pem::PemObject},
};
pub use tokio_rustls::{TlsAcceptor, TlsStream};

use rustls::crypto::{CryptoProvider, ring};
use std::sync::Arc;

/// A certificate or key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct TlsError {
    /// Path of the configuration key, as in `tls.cert_file`.
    pub key: String,
    /// A description of the problem. It never contains a private key.
    pub problem: String,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests;
