//! Why a source did not answer.

use super::document::DocumentError;
use std::{path::PathBuf, time::Duration};

/// What went wrong at one try. `Display` stands on the status page and in the
/// log: bounded, without credentials and without anything from a body.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// The URL cannot be asked at all.
    #[error("the URL is not usable: it must be http://host:port/path")]
    Url,
    /// No connection, or one that broke before the answer began.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Nothing, or not all of it, within the time for one poll.
    #[error("did not answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// 401 or 403.
    #[error("does not accept the credentials (status {0}); check username and password")]
    Credentials(u16),
    /// 401 or 403, of an API that asks for a token.
    #[error("does not accept the token (status {0}); check routes.tsuru.token")]
    Token(u16),
    /// 3xx; following it would send the credentials to whoever it names.
    #[error("answered with a redirect (status {0}), which is not followed; check the URL")]
    Redirect(u16),
    /// Anything else that is not 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// 404, of a router.
    #[error(
        "answered with status 404; check the path of the URL: gorouter shows its routes at /routes"
    )]
    NoTable,
    /// More than a route table can be.
    #[error("answered with more than {0} bytes")]
    TooLarge(u64),
    /// The connection ended before the body did.
    #[error("stopped in the middle of the answer: {0}")]
    Cut(String),
    /// The answer is whole, but no route table.
    #[error("the route table {0}")]
    Document(#[from] DocumentError),
    /// The answer is whole, but does not describe the app that was asked for.
    #[error("the answer {0}")]
    App(&'static str),
    /// None of an app's hosts can be looked up.
    #[error("none of its hosts is found: {0}")]
    Hosts(String),
    /// The route file cannot be read.
    #[error("cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// Nobody on the bus can be heard.
    #[error("{0}")]
    Bus(String),
    /// The path is a directory or a device.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
}

/// Longest text that is taken over from a library, in characters.
const MAX_CAUSE: usize = 200;

/// The text of a cause, short enough for a log line.
pub(super) fn cause(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CAUSE).collect()
}
