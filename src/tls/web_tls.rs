//! TLS settings in the format of exporter-toolkit, which can be replaced while the program runs.
//!
//! Names are those of Go. `rustls` does not support all of them: what it lacks has no effect, if
//! something else is left.

mod client_certificates;
mod go_names;

pub use go_names::{CipherSuite, ClientAuth, Curve, TlsVersion};

use super::{Alpn, Pem, TlsError, pem::Identity, provider, signature_checks::SignatureChecks};
use arc_swap::ArcSwap;
use client_certificates::{AnyClient, NamedClient};
use rustls::{
    Error, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::CryptoProvider,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// `tls_server_config`
#[derive(Clone, Debug)]
pub struct WebTlsSettings {
    pub cert: Pem,
    pub key: Pem,
    pub client_auth: ClientAuth,
    pub client_ca: Option<Pem>,
    /// A client certificate needs one of these names. Empty: no name is required.
    pub client_allowed_sans: Vec<String>,
    pub min_version: TlsVersion,
    pub max_version: TlsVersion,
    /// Suites of TLS 1.2, in order of preference. Empty: all.
    pub cipher_suites: Vec<CipherSuite>,
    pub prefer_server_cipher_suites: bool,
    /// Groups for the key exchange, in order of preference. Empty: all.
    pub curve_preferences: Vec<Curve>,
}

/// Accepts connections with the current settings.
#[derive(Clone, Debug)]
pub struct CurrentAcceptor(Arc<ArcSwap<ServerConfig>>);

impl CurrentAcceptor {
    pub fn new(config: ServerConfig) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }

    /// The acceptor for the next connection.
    pub fn current(&self) -> TlsAcceptor {
        self.0.load_full().into()
    }
}

/// TLS of listeners with settings that can be replaced. Clones share them.
#[derive(Clone, Debug)]
pub struct WebTls {
    http1: CurrentAcceptor,
    http2: CurrentAcceptor,
}

impl WebTls {
    /// Reads the certificates. `has_http2` is whether HTTP/2 is offered.
    ///
    /// # Errors
    /// A certificate or key cannot be used.
    pub fn open(settings: &WebTlsSettings, has_http2: bool) -> Result<Self, TlsError> {
        let (http1, http2) = settings.configs(has_http2)?;
        Ok(Self { http1: CurrentAcceptor::new(http1), http2: CurrentAcceptor::new(http2) })
    }

    /// Uses other settings for new connections.
    ///
    /// # Errors
    /// A certificate or key cannot be used. Then the previous settings stay.
    pub fn replace(&self, settings: &WebTlsSettings, has_http2: bool) -> Result<(), TlsError> {
        let (http1, http2) = settings.configs(has_http2)?;
        self.http1.0.store(Arc::new(http1));
        self.http2.0.store(Arc::new(http2));
        Ok(())
    }

    pub fn acceptor(&self, alpn: Alpn) -> CurrentAcceptor {
        match alpn {
            Alpn::Http1 => self.http1.clone(),
            Alpn::Http2 => self.http2.clone(),
        }
    }
}

impl WebTlsSettings {
    /// The certificates and keys, whose files may change.
    pub fn pems(&self) -> impl Iterator<Item = &Pem> {
        [&self.cert, &self.key].into_iter().chain(&self.client_ca)
    }

    /// Configurations without and with HTTP/2.
    fn configs(&self, has_http2: bool) -> Result<(ServerConfig, ServerConfig), TlsError> {
        let mut http1 = self.server_config()?;
        let mut http2 = http1.clone();
        http1.alpn_protocols = Alpn::Http1.protocols();
        http2.alpn_protocols = if has_http2 { Alpn::Http2 } else { Alpn::Http1 }.protocols();
        Ok((http1, http2))
    }

    fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(self.provider());
        let failed = |error: Error| TlsError {
            key: "tls_server_config".to_owned(),
            problem: error.to_string(),
        };
        let certified = Identity { cert: &self.cert, key: &self.key }.read(&provider)?;
        let verifier = self.verifier(&provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions())
            .map_err(failed)?;
        let has_verifier = verifier.is_some();
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.ignore_client_order = self.prefer_server_cipher_suites;
        if has_verifier {
            // Session resumption would skip the check of the client certificate.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }

    /// `ring` with the selected suites and groups.
    fn provider(&self) -> CryptoProvider {
        let mut provider = provider().as_ref().clone();
        if !self.cipher_suites.is_empty() {
            let known = std::mem::take(&mut provider.cipher_suites);
            let is_tls13 = |suite: &&SupportedCipherSuite| suite.tls13().is_some();
            provider.cipher_suites = known.iter().filter(is_tls13).copied().collect();
            let tls12 = self.cipher_suites.iter().filter(|it| it.version == TlsVersion::Tls12);
            let selected = tls12.filter_map(|name| {
                known.iter().find(|suite| Some(suite.suite()) == name.supported)
            });
            provider.cipher_suites.extend(selected.copied());
        }
        if !self.curve_preferences.is_empty() {
            let known = std::mem::take(&mut provider.kx_groups);
            let selected = self
                .curve_preferences
                .iter()
                .filter_map(|curve| known.iter().find(|group| Some(group.name()) == curve.0));
            provider.kx_groups = selected.copied().collect();
        }
        provider
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let allowed = self.min_version..=self.max_version;
        let all = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
        // Without a suite for TLS 1.2, only TLS 1.3 works.
        let has_tls12_suite = self.cipher_suites.is_empty()
            || self
                .cipher_suites
                .iter()
                .any(|it| it.version == TlsVersion::Tls12 && it.is_supported());
        let usable = all.into_iter().filter(|(version, _)| {
            allowed.contains(version) && (*version == TlsVersion::Tls13 || has_tls12_suite)
        });
        usable.map(|(_, version)| version).collect()
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let verifier: Arc<dyn ClientCertVerifier> = match (&self.client_ca, self.client_auth) {
            (_, ClientAuth::NoClientCert) => return Ok(None),
            (Some(ca), auth) if auth.verifies() => {
                let mut roots = RootCertStore::empty();
                ca.add_to(&mut roots)?;
                let builder = WebPkiClientVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(provider),
                );
                let builder =
                    if auth.is_required() { builder } else { builder.allow_unauthenticated() };
                builder.build().map_err(|error| ca.error(error.to_string()))?
            }
            (_, auth) => Arc::new(AnyClient {
                is_required: auth.is_required(),
                checks: SignatureChecks(Arc::clone(provider)),
            }),
        };
        Ok(Some(match self.client_allowed_sans.is_empty() {
            true => verifier,
            false => Arc::new(NamedClient { verifier, allowed: self.client_allowed_sans.clone() }),
        }))
    }
}
