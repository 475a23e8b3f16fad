//! Certificates that were read from files, and can be read again.

use super::{Pem, PemSource, TlsError};
use std::{fmt, path::PathBuf, sync::Arc};

/// Digest of a file's content, or why it cannot be read.
pub type Fingerprint = Result<Vec<u8>, TlsError>;

/// The files of one section of the configuration, and how they are applied.
#[derive(Clone)]
pub struct CertificateFiles {
    pems: Vec<Pem>,
    first: Vec<Fingerprint>,
    apply: Arc<dyn Fn() -> Result<(), TlsError> + Send + Sync>,
}

impl fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFiles").field("pems", &self.pems).finish_non_exhaustive()
    }
}

impl CertificateFiles {
    /// `first` was taken before the certificates were read, so that no change is missed.
    pub(super) fn new(
        pems: Vec<Pem>,
        first: Vec<Fingerprint>,
        apply: impl Fn() -> Result<(), TlsError> + Send + Sync + 'static,
    ) -> Self {
        Self { pems, first, apply: Arc::new(apply) }
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        let path = |pem: &Pem| match &pem.source {
            PemSource::File(path) => Some(path.clone()),
            PemSource::Inline(_) => None,
        };
        self.pems.iter().filter_map(path).collect()
    }

    /// The content with which the program started.
    pub fn first(&self) -> Vec<Fingerprint> {
        self.first.clone()
    }

    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        fingerprints(&self.pems)
    }

    /// Reads the files and uses them for new connections.
    ///
    /// # Errors
    /// The first certificate or key that cannot be used. Then the previous ones stay.
    pub fn apply(&self) -> Result<(), TlsError> {
        (self.apply)()
    }
}

/// Inline texts have none, because they cannot change.
pub(super) fn fingerprints(pems: &[Pem]) -> Vec<Fingerprint> {
    pems.iter().filter_map(Pem::fingerprint).collect()
}
