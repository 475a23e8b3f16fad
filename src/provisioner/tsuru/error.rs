//! Why a call of Tsuru's API did not do what it should.

use crate::provisioner::Failure;
use std::time::Duration;

/// Longest text of Tsuru's that is shown, in characters.
const SHOWN: usize = 300;

/// Reads as a sentence about Tsuru, and says what to change where somebody can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiError {
    #[error("Tsuru's API cannot be reached: {0}")]
    Unreachable(String),
    #[error("Tsuru's API did not answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    #[error("an answer of Tsuru's API was cut")]
    Cut,
    #[error("an answer of Tsuru's API was longer than {0} bytes")]
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
    Broken(u16, String),
    #[error("Tsuru has no app {0} any more")]
    Gone(String),
    #[error("Tsuru has failed: {0}")]
    InStream(String),
    #[error(
        "there is an app {0} on Tsuru which is not ours; remove it, or change prometheus.tsuru.app_prefix"
    )]
    Foreign(String),
}

/// What Tsuru says with status 500 of settings that no later try changes, in lower case
/// (tsuru/tsuru, types/app/error.go, provision/pool/pool.go, router/router.go, app/app.go).
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

/// Whether a 500 is about a plan, pool, platform or router that there is not.
fn is_about_settings(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).trim().to_lowercase();
    let is_about_router = text.starts_with("router \"") && text.ends_with("\" not found");
    is_about_router || WRONG_SETTINGS.iter().any(|said| text.contains(said))
}

impl ApiError {
    /// Of an answer that is no success, with what it says.
    pub(super) fn of_status(status: u16, body: &[u8]) -> Self {
        let words = || shown(&String::from_utf8_lossy(body));
        match status {
            300..=399 => Self::Redirect(status),
            401 => Self::Token,
            403 => Self::Forbidden(words()),
            500 if is_about_settings(body) => Self::Refused(status, words()),
            // Somebody else is at it, or there were too many of us.
            408 | 412 | 423 | 429 | 500.. => Self::Broken(status, words()),
            _ => Self::Refused(status, words()),
        }
    }

    /// Whether the same call may do it later, without anybody's help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Timeout(_)
            | Self::Cut
            | Self::TooLarge(_)
            | Self::NotTsuru
            | Self::Broken(..)
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
        Self { reason: error.to_string(), retry: error.may_pass() }
    }
}

/// What Tsuru says, fit for one line of an error.
pub(super) fn shown(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    let is_plain = |c: &char| !c.is_control();
    let mut shown: String = line.chars().filter(is_plain).take(SHOWN).collect();
    if line.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    match shown.is_empty() {
        true => "without a word".to_owned(),
        false => shown,
    }
}
