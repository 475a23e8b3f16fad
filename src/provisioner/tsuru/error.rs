//! Errors of Tsuru's API.

use crate::provisioner::Failure;
use std::time::Duration;

/// Maximum length of a text of Tsuru in an error, in characters.
const MAX_SHOWN: usize = 300;

/// A sentence for the user. It names the setting to change where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiError {
    #[error("Tsuru's API cannot be reached: {0}")]
    Unreachable(String),
    #[error("Tsuru's API did not answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    #[error("a response of Tsuru's API was truncated")]
    Truncated,
    #[error("a response of Tsuru's API was longer than {0} bytes")]
    TooLarge(usize),
    #[error("what answers at routes.tsuru.api_url is not Tsuru's API")]
    NotTsuru,
    #[error("Tsuru's API redirects ({0}); routes.tsuru.api_url must be where it leads to")]
    Redirect(u16),
    #[error("Tsuru does not know the token (401); routes.tsuru.token must be a valid one")]
    Token,
    #[error(
        "Tsuru does not allow it (403): {0}; the team may need a larger quota, or the token more permissions (app.create, app.read, app.update.env, app.deploy.image, app.delete)"
    )]
    Forbidden(String),
    #[error("Tsuru refuses it ({0}): {1}; see the settings below prometheus.tsuru")]
    Refused(u16, String),
    #[error("Tsuru's API fails ({0}): {1}")]
    ServerError(u16, String),
    #[error("Tsuru has no app {0} any more")]
    Gone(String),
    #[error("Tsuru has failed: {0}")]
    InStream(String),
    #[error(
        "there is an app {0} on Tsuru that does not belong to Scrapebroker; remove it, or change prometheus.tsuru.app_prefix"
    )]
    Foreign(String),
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

impl ApiError {
    /// The error for a response without success.
    pub(super) fn of_status(status: u16, body: &[u8]) -> Self {
        let message = || shown(&String::from_utf8_lossy(body));
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
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Timeout(_)
            | Self::Truncated
            | Self::TooLarge(_)
            | Self::NotTsuru
            | Self::ServerError(..)
            | Self::Gone(_)
            | Self::InStream(_) => true,
            Self::Redirect(_)
            | Self::Token
            | Self::Forbidden(_)
            | Self::Refused(..)
            | Self::Foreign(_) => false,
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self { reason: error.to_string(), retry: error.is_transient() }
    }
}

/// A text of Tsuru, shortened to one line.
pub(super) fn shown(text: &str) -> String {
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
