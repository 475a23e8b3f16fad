//! Errors of route sources.

use super::{document::DocumentError, drop_log::cause};
use crate::{net::ReadBodyError, tsuru::TsuruApiError};
use std::{path::PathBuf, time::Duration};

/// Why a source failed. The text is shown on the status page and in the log. Its length is limited,
/// and it contains no credentials and no content of a response.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("the URL is not usable: it must be http://host:port/path")]
    Url,
    /// No connection, or it failed before the response began.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No complete response within the timeout.
    #[error("did not respond within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// Status 401 or 403.
    #[error("does not accept the credentials (status {0}); check username and password")]
    Credentials(u16),
    /// Status 401 or 403 of an API that requires a token.
    #[error("does not accept the token (status {0}); check routes.tsuru.token")]
    Token(u16),
    /// Status 3xx. Redirects are not followed, because the credentials would be sent to another
    /// server.
    #[error("responded with a redirect (status {0}), which is not followed; check the URL")]
    Redirect(u16),
    /// Any other status except 200.
    #[error("responded with status {0}")]
    Status(u16),
    /// Status 404 of a router.
    #[error(
        "responded with status 404; check the path of the URL: gorouter shows its routes at /routes"
    )]
    NoTable,
    #[error("responded with more than {0} bytes")]
    TooLarge(u64),
    /// The connection ended before the body was complete.
    #[error("closed the connection before the response was complete: {0}")]
    Truncated(String),
    /// The response is complete but not a route table.
    #[error("the route table {0}")]
    Document(#[from] DocumentError),
    /// The response is complete but does not describe the requested app.
    #[error("the response {0}")]
    App(&'static str),
    /// No host of an app could be resolved.
    #[error("none of its hosts can be resolved: {0}")]
    Hosts(String),
    #[error("cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// The NATS connection failed.
    #[error("{0}")]
    Nats(String),
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
}

impl From<ReadBodyError> for SourceError {
    fn from(error: ReadBodyError) -> Self {
        match error {
            ReadBodyError::TooLarge(limit) => Self::TooLarge(limit),
            ReadBodyError::Truncated(reason) => Self::Truncated(cause(reason)),
        }
    }
}

impl From<TsuruApiError> for SourceError {
    /// Without the texts of Tsuru.
    fn from(error: TsuruApiError) -> Self {
        match error {
            TsuruApiError::Unreachable(reason) => Self::Unreachable(cause(reason)),
            TsuruApiError::Timeout(limit) => Self::Timeout(limit),
            TsuruApiError::Disconnected(reason) => Self::Truncated(cause(reason)),
            TsuruApiError::TooLarge(limit) => Self::TooLarge(limit),
            TsuruApiError::Truncated | TsuruApiError::NotTsuru(200) => {
                Self::App("is not valid JSON")
            }
            TsuruApiError::Token => Self::Token(401),
            TsuruApiError::Forbidden(_) => Self::Token(403),
            TsuruApiError::Redirect(status) => Self::Redirect(status),
            TsuruApiError::NotTsuru(status)
            | TsuruApiError::Refused(status, _)
            | TsuruApiError::ServerError(status, _) => Self::Status(status),
            TsuruApiError::Gone(_) | TsuruApiError::InStream(_) => {
                Self::App("does not describe the app")
            }
        }
    }
}
