//! HTTPS of our own listeners.
//!
//! The server keeps one configuration for its whole life, so what can change
//! is looked up by it at each handshake: our certificate, and who may have
//! signed those of clients.

use super::{Keeper, Pem, TlsError, pem::Identity, provider};
use arc_swap::ArcSwap;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What is set about HTTPS.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Our certificate, with those between it and its CA.
    pub cert: Pem,
    /// Its key.
    pub key: Pem,
    /// Who must have signed the certificates of clients; without it they need
    /// none.
    pub client_ca: Option<Pem>,
}

/// What is in force; clones share it.
#[derive(Clone, Debug)]
pub struct Listener {
    settings: Arc<ListenerSettings>,
    certified: Arc<ArcSwap<CertifiedKey>>,
    clients: Option<Arc<ArcSwap<Clients>>>,
}

/// Judges clients by the CAs of one reading.
#[derive(Debug)]
struct Clients(Arc<dyn ClientCertVerifier>);

impl Listener {
    /// Reads the certificates.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn open(settings: ListenerSettings) -> Result<(Self, Keeper), TlsError> {
        let pems = [settings.cert.clone(), settings.key.clone()];
        let pems: Vec<_> = pems.into_iter().chain(settings.client_ca.clone()).collect();
        let seen = Keeper::look(&pems);
        let certified = Arc::new(ArcSwap::from_pointee(settings.certified()?));
        let clients = settings.clients()?.map(|clients| Arc::new(ArcSwap::from_pointee(clients)));
        let listener = Self { settings: Arc::new(settings), certified, clients };
        let own = listener.clone();
        let keeper = Keeper::new("tls", pems, seen, move || own.reload());
        Ok((listener, keeper))
    }

    fn reload(&self) -> Result<(), TlsError> {
        // Both or none.
        let (certified, clients) = (self.settings.certified()?, self.settings.clients()?);
        self.certified.store(Arc::new(certified));
        if let (Some(current), Some(clients)) = (&self.clients, clients) {
            current.store(Arc::new(clients));
        }
        Ok(())
    }

    /// Secures connections of clients, which may choose HTTP/2; see [`Self::server_config`].
    ///
    /// # Errors
    /// When there is no safe protocol version, which a build without any would be.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let mut config = self.server_config()?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config).into())
    }

    /// TLS 1.2 and 1.3, with whatever certificates are in force when a client
    /// comes.
    ///
    /// # Errors
    /// When there is no safe protocol version, which a build without any would be.
    pub fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError { key: "tls".to_owned(), problem: error.to_string() })?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                builder.with_client_cert_verifier(Arc::new(CurrentClients(Arc::clone(clients))))
            }
        };
        let mut config =
            builder.with_cert_resolver(Arc::new(CurrentCertificate(Arc::clone(&self.certified))));
        if self.clients.is_some() {
            // A resumed session would not look at the client's certificate again.
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

    fn clients(&self) -> Result<Option<Clients>, TlsError> {
        let Some(ca) = &self.client_ca else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        ca.add_to(&mut roots)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| ca.error(error.to_string()))?;
        Ok(Some(Clients(verifier)))
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
struct CurrentClients(Arc<ArcSwap<Clients>>);

impl CurrentClients {
    fn current(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.0.load().0)
    }
}

impl ClientCertVerifier for CurrentClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A hint only; those of one reading cannot be borrowed past the next.
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

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current().supported_verify_schemes()
    }
}
