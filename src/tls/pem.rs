//! Certificates and keys in PEM format, inline or in a file.

use super::TlsError;
use ring::digest::{SHA256, digest};
use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use std::{fs::File, io::Read, path::PathBuf};

/// Maximum file size, to reject files that are not certificates.
const MAX_SIZE: u64 = 4 << 20;

/// A PEM text and the configuration key that sets it.
#[derive(Clone, Debug)]
pub struct Pem {
    /// Path of the configuration key without `_file`, as in `tls.cert`.
    pub key: String,
    pub source: PemSource,
}

/// Source of a PEM text.
#[derive(Clone, Debug)]
pub enum PemSource {
    /// In the configuration.
    Inline(SecretString),
    /// In a file, which may be replaced.
    File(PathBuf),
}

impl Pem {
    pub(super) fn error(&self, problem: impl Into<String>) -> TlsError {
        match &self.source {
            PemSource::Inline(_) => TlsError { key: self.key.clone(), problem: problem.into() },
            PemSource::File(path) => TlsError {
                key: format!("{}_file", self.key),
                problem: format!("{}: {}", path.display(), problem.into()),
            },
        }
    }

    fn read(&self) -> Result<Zeroizing<Vec<u8>>, TlsError> {
        let path = match &self.source {
            PemSource::Inline(text) => return Ok(text.expose_secret().as_bytes().to_vec().into()),
            PemSource::File(path) => path,
        };
        let mut text = Zeroizing::new(Vec::new());
        let file = File::open(path).and_then(|file| match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(std::io::Error::other("it is not a file")),
        });
        file.and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut text))
            .map_err(|error| self.error(format!("cannot read it: {error}")))?;
        match text.len() as u64 > MAX_SIZE {
            true => Err(self.error("it is too large for certificates")),
            false => Ok(text),
        }
    }

    /// Digest of the file's content, to detect changes; `None` for inline texts, which cannot
    /// change.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn fingerprint(&self) -> Option<Result<Vec<u8>, TlsError>> {
        match &self.source {
            PemSource::Inline(_) => None,
            PemSource::File(_) => {
                Some(self.read().map(|text| digest(&SHA256, &text).as_ref().to_vec()))
            }
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read()?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match certificates {
            Ok(none) if none.is_empty() => Err(self.error("there is no certificate in it")),
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(self.error(format!("is not PEM: {error}"))),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|_| {
            self.error("there is no private key in it that can be read without a password")
        })
    }

    /// Adds all certificates to the trusted ones.
    pub(super) fn add_to(&self, roots: &mut RootCertStore) -> Result<(), TlsError> {
        for certificate in self.certificates()? {
            roots
                .add(certificate)
                .map_err(|error| self.error(format!("cannot be used as a CA: {error}")))?;
        }
        Ok(())
    }
}

/// A certificate chain and the key of its first certificate.
#[derive(Clone, Debug)]
pub(super) struct Identity<'a> {
    pub(super) cert: &'a Pem,
    pub(super) key: &'a Pem,
}

impl Identity<'_> {
    pub(super) fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let (chain, key) = (self.cert.certificates()?, self.key.private_key()?);
        CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => self.key.error("does not match the certificate"),
            rustls::Error::InvalidCertificate(error) => {
                self.cert.error(format!("the first certificate in it cannot be used: {error}"))
            }
            error => self.key.error(format!("cannot be used: {error}")),
        })
    }
}
