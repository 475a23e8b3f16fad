//! Certificates and keys as texts, from a setting or a file.

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

/// No bundle of certificates is larger; a disk's image is.
const LARGEST: u64 = 4 << 20;

/// A text in the PEM format, and the setting that names it.
#[derive(Clone, Debug)]
pub struct Pem {
    /// Path of the key without `_file`, as in `tls.cert`.
    pub key: &'static str,
    /// Where the text is.
    pub source: Source,
}

/// Where a text is.
#[derive(Clone, Debug)]
pub enum Source {
    /// In the setting itself.
    Inline(SecretString),
    /// In a file, which may change.
    File(PathBuf),
}

impl Pem {
    pub(super) fn error(&self, problem: impl Into<String>) -> TlsError {
        match &self.source {
            Source::Inline(_) => TlsError { key: self.key.to_owned(), problem: problem.into() },
            Source::File(path) => TlsError {
                key: format!("{}_file", self.key),
                problem: format!("{}: {}", path.display(), problem.into()),
            },
        }
    }

    fn read(&self) -> Result<Zeroizing<Vec<u8>>, TlsError> {
        let path = match &self.source {
            Source::Inline(text) => return Ok(text.expose_secret().as_bytes().to_vec().into()),
            Source::File(path) => path,
        };
        let mut text = Zeroizing::new(Vec::new());
        let file = File::open(path).and_then(|file| match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(std::io::Error::other("it is no file")),
        });
        file.and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text))
            .map_err(|error| self.error(format!("cannot read it: {error}")))?;
        match text.len() as u64 > LARGEST {
            true => Err(self.error("it is too large for certificates")),
            false => Ok(text),
        }
    }

    /// Tells two contents of a file apart; `None` when it cannot change.
    pub(super) fn fingerprint(&self) -> Option<Result<Vec<u8>, TlsError>> {
        match &self.source {
            Source::Inline(_) => None,
            Source::File(_) => {
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

    /// Adds every certificate to those that are trusted.
    pub(super) fn add_to(&self, roots: &mut RootCertStore) -> Result<(), TlsError> {
        for certificate in self.certificates()? {
            roots
                .add(certificate)
                .map_err(|error| self.error(format!("cannot be used as a CA: {error}")))?;
        }
        Ok(())
    }
}

/// A chain of certificates with the key of its first one.
#[derive(Clone, Debug)]
pub(super) struct Identity<'a> {
    pub(super) cert: &'a Pem,
    pub(super) key: &'a Pem,
}

impl Identity<'_> {
    pub(super) fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let (chain, key) = (self.cert.certificates()?, self.key.private_key()?);
        CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                self.key.error("is not the key of the certificate beside it")
            }
            rustls::Error::InvalidCertificate(error) => {
                self.cert.error(format!("the first certificate in it cannot be used: {error}"))
            }
            error => self.key.error(format!("cannot be used: {error}")),
        })
    }
}
