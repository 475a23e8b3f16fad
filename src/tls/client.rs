//! Client certificate and trusted CAs for connections to servers.

use super::{
    HandshakeError, Pem, TlsError,
    pem::Identity,
    provider,
    signature_checks::{SignatureChecks, forward_signature_checks},
};
use rustls::{
    ClientConfig, Error, RootCertStore,
    client::danger::{ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::SingleCertAndKey,
};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// TLS settings for servers of one kind.
#[derive(Clone, Debug, Default)]
pub struct ClientSettings {
    /// CAs that are trusted in addition to the system's.
    pub ca: Option<Pem>,
    /// Client certificate and its key.
    pub identity: Option<(Pem, Pem)>,
    /// Accepts any server certificate.
    pub skip_verify: bool,
}

impl ClientSettings {
    /// Reads the certificates.
    ///
    /// # Errors
    /// The first certificate or key that cannot be used.
    pub fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError { key: "tls".to_owned(), problem: error.to_string() })?;
        let builder = if self.skip_verify {
            let any = AnyServer(SignatureChecks(Arc::clone(&provider)));
            builder.dangerous().with_custom_certificate_verifier(Arc::new(any))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        Ok(match &self.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let certified = Identity { cert, key }.read(&provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
        })
    }

    /// All files and texts that are read.
    pub(super) fn pems(&self) -> Vec<Pem> {
        let identity = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        self.ca.iter().chain(identity).cloned().collect()
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::debug!(%error, "system ca certificate not readable");
        }
        roots.add_parsable_certificates(system.certs);
        if let Some(ca) = &self.ca {
            ca.add_to(&mut roots)?;
        }
        Ok(roots)
    }
}

/// Performs the TLS handshake with the server `name`.
///
/// # Errors
/// The peer's certificate is invalid, or the peer rejects the connection.
pub async fn connect(
    config: Arc<ClientConfig>,
    stream: TcpStream,
    name: ServerName<'static>,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    let secured = TlsConnector::from(config).connect(name, stream).await;
    secured.map_err(|error| HandshakeError::new(&error))
}

/// Accepts any certificate, for `backends.skip_verify`. The peer must still prove that it has the
/// key.
#[derive(Debug)]
struct AnyServer(SignatureChecks);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    forward_signature_checks!(self => self.0);
}
