//! Errors of subcommands, and their exit codes.

use crate::app::StartError;

/// `EX_USAGE` of `sysexits.h`: invalid settings or arguments. A restart does not help.
pub(super) const USAGE: u8 = 64;
/// `EX_UNAVAILABLE` of `sysexits.h`: a database, a port or a remote service is unavailable. A
/// restart may help.
const UNAVAILABLE: u8 = 69;

pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) error: anyhow::Error,
}

impl Failure {
    pub(super) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { code: USAGE, error: error.into() }
    }

    pub(super) fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self { code: UNAVAILABLE, error: error.into() }
    }

    pub(super) fn other(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 1, error: error.into() }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Configuration(error) => Self::usage(error),
            StartError::Unavailable(error) => Self::unavailable(error),
        }
    }
}
