//! Why the program does not start.

use crate::{broker::OpenError, store::StoreError};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting, a secret or the catalog is invalid. A restart does not help.
    #[error(transparent)]
    Configuration(anyhow::Error),
    /// A database, a port or a remote service is unavailable. A later start may succeed.
    #[error(transparent)]
    Unavailable(anyhow::Error),
}

pub(crate) fn store_failure(error: StoreError) -> StartError {
    if matches!(error, StoreError::Url(_) | StoreError::KeyChanged) {
        return StartError::Configuration(error.into());
    }
    StartError::Unavailable(anyhow::Error::from(error).context("database_url"))
}

pub(crate) fn broker_failure(error: OpenError) -> StartError {
    match error {
        OpenError::Store(error) => store_failure(error),
        OpenError::TokenKey(error) => StartError::Configuration(error.into()),
    }
}
