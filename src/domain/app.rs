//! An app of the platform, and the three ways to name one.

use super::ids::{AppGuid, OrganizationGuid, SpaceGuid};
use std::sync::Arc;

/// The label names that every sample of an app may get, in their order.
///
/// A binding must not set one of these.
pub const APP_LABELS: [&str; 9] = [
    "organization_id",
    "space_id",
    "app_id",
    "organization_name",
    "space_name",
    "app_name",
    "index",
    "instance_id",
    "instance",
];

/// An app as the route table's tags describe it.
///
/// Ids and names other than the app's own may be missing on some endpoints;
/// they are empty then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct App {
    /// The app's GUID.
    pub id: AppGuid,
    /// The app's name.
    pub name: Arc<str>,
    /// GUID of its space; none when the endpoint's tags do not name it.
    pub space_id: Option<SpaceGuid>,
    /// Name of its space, or empty.
    pub space_name: Arc<str>,
    /// GUID of its organization; none when the endpoint's tags do not name it.
    pub organization_id: Option<OrganizationGuid>,
    /// Name of its organization, or empty.
    pub organization_name: Arc<str>,
}

impl App {
    /// The first six of [`APP_LABELS`] with this app's values.
    pub fn labels(&self) -> [(&'static str, &str); 6] {
        [
            ("organization_id", self.organization_id.as_ref().map_or("", OrganizationGuid::as_str)),
            ("space_id", self.space_id.as_ref().map_or("", SpaceGuid::as_str)),
            ("app_id", self.id.as_str()),
            ("organization_name", &self.organization_name),
            ("space_name", &self.space_name),
            ("app_name", &self.name),
        ]
    }
}

/// Which reading of an ambiguous key comes first: three parts may be
/// `org/space/app` or a route with a context path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefer {
    /// `org/space/app` first, then a route (path and `app=`).
    Name,
    /// A route first, then `org/space/app` (`route_url=`).
    Route,
}

/// How a scraper names an app: its GUID, `org/space/app`, or a route host with
/// an optional context path. Which of these it is, the route table decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppKey {
    text: String,
    /// Which reading is tried first.
    pub prefer: Prefer,
}

/// Why a text is not an [`AppKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppKeyError {
    /// Nothing given.
    #[error("names no app: give its GUID, org/space/app, or a route like my-app.example.com")]
    Empty,
    /// NUL, line breaks and the like.
    #[error("contains a control character")]
    Control,
    /// Longer than [`AppKey::MAX_LEN`].
    #[error("is longer than {} bytes", AppKey::MAX_LEN)]
    TooLong,
}

impl AppKey {
    /// The longest accepted key, in bytes.
    pub const MAX_LEN: usize = 2048;

    /// Checks `text`; one pair of double quotes round it is dropped, since
    /// promfetcher's documentation shows the parameter quoted.
    pub fn parse(text: &str, prefer: Prefer) -> Result<Self, AppKeyError> {
        let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let text = inner.unwrap_or(text);
        if text.is_empty() {
            return Err(AppKeyError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(AppKeyError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(AppKeyError::Control);
        }
        Ok(Self { text: text.to_owned(), prefer })
    }

    /// The key without its quotes.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_loses_one_pair_of_quotes_and_nothing_else() {
        let cases =
            [("a/b/c", "a/b/c"), ("\"a/b/c\"", "a/b/c"), ("\"\"x\"\"", "\"x\""), ("\"x", "\"x")];
        for (input, expected) in cases {
            assert_eq!(AppKey::parse(input, Prefer::Name).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn empty_endless_and_unprintable_keys_are_refused() {
        let long = "x".repeat(AppKey::MAX_LEN + 1);
        let cases = [
            ("", AppKeyError::Empty),
            ("\"\"", AppKeyError::Empty),
            ("a\r\nb", AppKeyError::Control),
            (&long, AppKeyError::TooLong),
        ];
        for (input, expected) in cases {
            assert_eq!(AppKey::parse(input, Prefer::Route), Err(expected), "{input:?}");
        }
    }
}
