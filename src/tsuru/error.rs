//! Errors of Tsuru's API.

use crate::net::ReadBodyError;
use std::time::Duration;

/// Maximum length of a text of Tsuru in an error, in characters.
const MAX_SHOWN: usize = 300;

/// A call failed. The text is a sentence, and names the setting to change where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TsuruApiError {
    #[error("Tsuru's API cannot be reached: {0}")]
    Unreachable(String),
    #[error("Tsuru's API did not answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// The connection ended before the response was complete.
    #[error("a response of Tsuru's API was truncated: {0}")]
    Disconnected(String),
    /// The response is complete, but its content is not.
    #[error("a response of Tsuru's API was truncated")]
    Truncated,
    #[error("a response of Tsuru's API was longer than {0} bytes")]
    TooLarge(u64),
    /// No JSON, or a 404 that is not about the app. Contains the status of the response.
    #[error("what answers at routes.tsuru.api_url is not Tsuru's API")]
    NotTsuru(u16),
    #[error("Tsuru's API redirects ({0}); routes.tsuru.api_url must be where it leads to")]
    Redirect(u16),
    #[error("Tsuru does not know the token (401); routes.tsuru.token must be a valid one")]
    Token,
    #[error("Tsuru does not allow it (403): {0}")]
    Forbidden(String),
    #[error("Tsuru refuses it ({0}): {1}")]
    Refused(u16, String),
    #[error("Tsuru's API fails ({0}): {1}")]
    ServerError(u16, String),
    #[error("Tsuru has no app {0} any more")]
    Gone(String),
    /// An error in a stream that began with status 200.
    #[error("Tsuru has failed: {0}")]
    InStream(String),
}

impl From<ReadBodyError> for TsuruApiError {
    fn from(error: ReadBodyError) -> Self {
        match error {
            ReadBodyError::TooLarge(limit) => Self::TooLarge(limit),
            ReadBodyError::Truncated(reason) => Self::Disconnected(reason),
        }
    }
}

/// Messages of Tsuru with status 500 about settings, in lower case. A retry does not help
const WRONG_SETTINGS: [&str; 10] = [
    "plan not found",
    "default plan found",
    "no plan found for pool",
    "platform doesn't exist",
    "invalid platform",
    "pool does not exist",
    "no router found for pool",
    "no default router found",
    "please choose one in app creation",
    "choose one to be owner for this app",
];

/// Whether a 500 is about a missing plan, pool, platform or router.
fn is_about_settings(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).trim().to_lowercase();
    let is_about_router = text.starts_with("router \"") && text.ends_with("\" not found");
    is_about_router || WRONG_SETTINGS.iter().any(|message| text.contains(message))
}

impl TsuruApiError {
    /// The error for a response without success.
    pub(super) fn of_status(status: u16, body: &[u8]) -> Self {
        let message = || one_line(&String::from_utf8_lossy(body));
        match status {
            300..=399 => Self::Redirect(status),
            401 => Self::Token,
            403 => Self::Forbidden(message()),
            500 if is_about_settings(body) => Self::Refused(status, message()),
            // Another client changes the app, or there were too many requests.
            408 | 412 | 423 | 429 | 500.. => Self::ServerError(status, message()),
            _ => Self::Refused(status, message()),
        }
    }

    /// Whether a retry may succeed without a change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Timeout(_)
            | Self::Disconnected(_)
            | Self::Truncated
            | Self::TooLarge(_)
            | Self::NotTsuru(_)
            | Self::ServerError(..)
            | Self::Gone(_)
            | Self::InStream(_) => true,
            Self::Redirect(_) | Self::Token | Self::Forbidden(_) | Self::Refused(..) => false,
        }
    }
}

/// A text of Tsuru, shortened to one line.
pub fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    let is_plain = |c: &char| !c.is_control();
    let mut shown: String = line.chars().filter(is_plain).take(MAX_SHOWN).collect();
    if line.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    match shown.is_empty() {
        true => "no message".to_owned(),
        false => shown,
    }
}
