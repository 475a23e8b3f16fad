//! Certificates: ours, those of the instances and servers that we ask, and those
//! of the scrapers that ask us.
//!
//! Everything here can change while the program runs, since platforms renew
//! certificates without restarting who uses them. [`Backends`] and
//! [`Listener`] hold what is in force; a [`Keeper`] reads the files again and
//! exchanges it, and keeps what was there when the new files are broken.
//!
//! Only `ring` does the arithmetic, and no process-wide default is installed:
//! each configuration names its provider.

mod backends;
mod client;
mod keeper;
mod listener;
mod pem;
mod reason;

pub use backends::{Backends, Connectors};
pub use client::{ClientSettings, connect};
pub use keeper::Keeper;
pub use listener::{Listener, ListenerSettings};
pub use pem::{Pem, Source};
pub use reason::{HandshakeError, alert_of, refused};

pub use rustls::{AlertDescription, ClientConfig, ServerConfig, pki_types::ServerName};
pub use tokio_rustls::{TlsAcceptor, client::TlsStream, server::TlsStream as AcceptedTls};

use rustls::crypto::{CryptoProvider, ring};
use std::sync::Arc;

/// Certificates that cannot be used; names the setting that they come from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct TlsError {
    /// Path of the key, as in `tls.cert_file`.
    pub key: String,
    /// What is wrong, for a person. Never quotes a key.
    pub problem: String,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests;
