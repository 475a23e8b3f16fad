//! TLS of Scrapebroker's own listeners.
//!
//! The server uses one configuration until it stops, so the certificate and the client CAs are
//! looked up at each handshake.

use super::{
    CertificateFiles, CurrentAcceptor, Pem, TlsError, certificate_files::fingerprints,
    pem::Identity, provider, signature_checks::forward_signature_checks,
};
use arc_swap::ArcSwap;
use rustls::{
    DistinguishedName, Error, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use std::sync::Arc;

/// TLS settings of a listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Certificate chain.
    pub cert: Pem,
    /// Private key of the first certificate.
    pub key: Pem,
    /// CAs of client certificates. If unset, clients need no certificate.
    pub client_ca: Option<Pem>,
}

/// The protocols that a listener offers during the TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2 and HTTP/1.1.
    Http2,
    /// HTTP/1.1 only.
    Http1,
}

impl Alpn {
    pub(super) fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http2 => &[b"h2", b"http/1.1"],
            Self::Http1 => &[b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// TLS of a listener with certificates that can be reloaded; clones share them.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    settings: Arc<ListenerSettings>,
    certified: Arc<ArcSwap<CertifiedKey>>,
    verifier: Option<Arc<ArcSwap<CaVerifier>>>,
}

/// Verifies client certificates with one version of the CAs.
#[derive(Debug)]
struct CaVerifier(Arc<dyn ClientCertVerifier>);

impl ListenerTls {
    /// Reads the certificates.
    ///
    /// # Errors
    /// The first certificate or key that cannot be used.
    pub fn open(settings: ListenerSettings) -> Result<(Self, CertificateFiles), TlsError> {
        let pems = [settings.cert.clone(), settings.key.clone()];
        let pems: Vec<_> = pems.into_iter().chain(settings.client_ca.clone()).collect();
        let first = fingerprints(&pems);
        let certified = Arc::new(ArcSwap::from_pointee(settings.certified()?));
        let verifier =
            settings.verifier()?.map(|verifier| Arc::new(ArcSwap::from_pointee(verifier)));
        let listener = Self { settings: Arc::new(settings), certified, verifier };
        let own = listener.clone();
        Ok((listener, CertificateFiles::new(pems, first, move || own.reload())))
    }

    fn reload(&self) -> Result<(), TlsError> {
        // Both are read before either is replaced, so that they stay consistent.
        let (certified, verifier) = (self.settings.certified()?, self.settings.verifier()?);
        self.certified.store(Arc::new(certified));
        if let (Some(current), Some(verifier)) = (&self.verifier, verifier) {
            current.store(Arc::new(verifier));
        }
        Ok(())
    }

    /// An acceptor that offers the protocols of `alpn`; see [`Self::server_config`].
    ///
    /// # Errors
    /// The build supports no safe protocol version.
    pub fn acceptor(&self, alpn: Alpn) -> Result<CurrentAcceptor, TlsError> {
        let mut config = self.server_config()?;
        config.alpn_protocols = alpn.protocols();
        Ok(CurrentAcceptor::new(config))
    }

    /// Configuration for TLS 1.2 and 1.3 that uses the current certificates at each handshake.
    ///
    /// # Errors
    /// The build supports no safe protocol version.
    pub fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError { key: "tls".to_owned(), problem: error.to_string() })?;
        let builder = match &self.verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => {
                builder.with_client_cert_verifier(Arc::new(CurrentVerifier(Arc::clone(verifier))))
            }
        };
        let mut config =
            builder.with_cert_resolver(Arc::new(CurrentCertificate(Arc::clone(&self.certified))));
        if self.verifier.is_some() {
            // Session resumption would skip the check of the client certificate.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }
}

impl ListenerSettings {
    fn certified(&self) -> Result<CertifiedKey, TlsError> {
        Identity { cert: &self.cert, key: &self.key }.read(&provider())
    }

    fn verifier(&self) -> Result<Option<CaVerifier>, TlsError> {
        let Some(ca) = &self.client_ca else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        ca.add_to(&mut roots)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| ca.error(error.to_string()))?;
        Ok(Some(CaVerifier(verifier)))
    }
}

#[derive(Debug)]
struct CurrentCertificate(Arc<ArcSwap<CertifiedKey>>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[derive(Debug)]
struct CurrentVerifier(Arc<ArcSwap<CaVerifier>>);

impl CurrentVerifier {
    fn current(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.0.load().0)
    }
}

impl ClientCertVerifier for CurrentVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Only a hint, and names of reloadable CAs cannot be borrowed.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.current().verify_client_cert(end_entity, intermediates, now)
    }

    forward_signature_checks!(self => self.current());
}
