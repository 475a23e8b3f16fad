//! How instances are reached by TLS, as gorouter does it.
//!
//! A platform gives each instance a certificate with a name of its own. Which
//! name is expected comes with each connection; here is who may have signed
//! it, and the certificate that instances want to see of us.

use super::{HandshakeError, Keeper, Pem, TlsError, pem::Identity, provider};
use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::SingleCertAndKey,
};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What is set about TLS to instances.
#[derive(Clone, Debug, Default)]
pub struct BackendsSettings {
    /// CAs that are trusted beside the system's.
    pub ca: Option<Pem>,
    /// Our certificate, and its key.
    pub identity: Option<(Pem, Pem)>,
    /// Any certificate will do.
    pub skip_verify: bool,
}

/// What is in force; clones share it.
#[derive(Clone, Debug)]
pub struct Backends {
    settings: Arc<BackendsSettings>,
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
    pub fn open(settings: BackendsSettings) -> Result<(Self, Keeper), TlsError> {
        let pems = settings.ca.iter().cloned();
        let identity = settings.identity.iter().flat_map(|(cert, key)| [cert.clone(), key.clone()]);
        let pems: Vec<_> = pems.chain(identity).collect();
        let seen = Keeper::look(&pems);
        let current = Arc::new(ArcSwap::from_pointee(settings.connectors(0)?));
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
        let next = self.settings.connectors(self.current().generation + 1)?;
        self.current.store(Arc::new(next));
        Ok(())
    }
}

impl BackendsSettings {
    fn connectors(&self, generation: u64) -> Result<Connectors, TlsError> {
        let mut http1 = self.config()?;
        // A session of one protocol is not to be resumed for the other.
        let mut http2 = self.config()?;
        http1.alpn_protocols = Vec::new();
        http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (http1, http2) = (Arc::new(http1).into(), Arc::new(http2).into());
        Ok(Connectors { generation, http1, http2 })
    }

    fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError { key: "backends".to_owned(), problem: error.to_string() })?;
        let builder = if self.skip_verify {
            let any = AnyCertificate(Arc::clone(&provider));
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

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::debug!("some CAs of the system cannot be read: {error}");
        }
        roots.add_parsable_certificates(system.certs);
        if let Some(ca) = &self.ca {
            ca.add_to(&mut roots)?;
        }
        Ok(roots)
    }
}

impl Connectors {
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

/// Takes any certificate, as `backends.skip_verify` asks; whoever presents it
/// must still have its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
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

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
