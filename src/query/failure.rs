//! Why there is no answer.

use std::time::Duration;

/// Reads as a sentence for the user; holds no secret and no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is nobody to ask now.
    #[error("no server of this Prometheus can be reached now: {0}")]
    Away(String),
    /// None of our connections was free in time.
    #[error(
        "other requests use all connections that backends.max_connections allows; try again in a few seconds"
    )]
    Busy,
    /// It did not answer in time.
    #[error("this Prometheus gave no answer within {} s; ask for less, or for a shorter time", .0.as_secs())]
    Late(Duration),
    /// The connection ended before an answer.
    #[error("this Prometheus ended the connection before it answered: it may be restarting")]
    Broken,
    /// It does not know our password.
    #[error("this Prometheus refuses our own password; the operator has to look after it")]
    Refused,
    /// It names another place, or its answer has no end.
    #[error("the answer of this Prometheus cannot be passed on: {0}")]
    Unfit(&'static str),
}
