//! Checks of the signatures in a handshake, which prove that the peer has the key of its certificate.

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::CertificateDer,
};
use std::sync::Arc;

/// The checks of a crypto provider, for verifiers that accept certificates without CAs.
#[derive(Clone, Debug)]
pub(super) struct SignatureChecks(pub(super) Arc<CryptoProvider>);

impl SignatureChecks {
    pub(super) fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    pub(super) fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    pub(super) fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Implements the methods of a verifier of servers or clients that check signatures. They call the
/// methods of `$checks`, which is another verifier or [`SignatureChecks`].
macro_rules! forward_signature_checks {
    ($self:ident => $checks:expr) => {
        fn verify_tls12_signature(
            &$self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            $checks.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &$self,
            message: &[u8],
            cert: &rustls::pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            $checks.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&$self) -> Vec<rustls::SignatureScheme> {
            $checks.supported_verify_schemes()
        }
    };
}

pub(super) use forward_signature_checks;
