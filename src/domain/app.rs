//! An app of the platform, and the key that selects an app in a request.

use super::ids::{AppGuid, OrganizationGuid, SpaceGuid};
use std::sync::Arc;

/// Names of the labels that are added to the samples of an app, in this order. Labels without a
/// value are omitted.
///
/// A binding must not set any of them.
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

/// An app, as described by the tags of its routes.
///
/// Only the app's GUID and name are required. Other ids and names may be missing in the tags of an
/// endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct App {
    pub id: AppGuid,
    pub name: Arc<str>,
    /// Optional: only set if the tags of the endpoint contain it.
    pub space_id: Option<SpaceGuid>,
    /// Empty if unknown.
    pub space_name: Arc<str>,
    /// Optional: only set if the tags of the endpoint contain it.
    pub organization_id: Option<OrganizationGuid>,
    /// Empty if unknown.
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

/// The order in which an ambiguous key is interpreted. A key of three segments is either
/// `org/space/app` or a route with a context path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefer {
    /// `org/space/app` first, then a route (path and `app=`).
    Name,
    /// A route first, then `org/space/app` (`route_url=`).
    Route,
}

/// Selects an app by its GUID, by `org/space/app`, or by a route host with an optional context
/// path. The route table resolves the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppKey {
    text: String,
    /// The interpretation that is tried first.
    pub prefer: Prefer,
}

/// Reasons why a string is not an [`AppKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppKeyError {
    #[error("names no app: give its GUID, org/space/app, or a route like my-app.example.com")]
    Empty,
    /// For example NUL or a line break.
    #[error("contains a control character")]
    Control,
    /// Longer than [`AppKey::MAX_LEN`].
    #[error("is longer than {} bytes", AppKey::MAX_LEN)]
    TooLong,
}

impl From<&AppGuid> for AppKey {
    fn from(id: &AppGuid) -> Self {
        Self { text: id.as_str().to_owned(), prefer: Prefer::Name }
    }
}

impl AppKey {
    /// The longest accepted key, in bytes.
    pub const MAX_LEN: usize = 2048;

    /// Parses `text`. One pair of surrounding double quotes is removed, because promfetcher's
    /// documentation shows the parameter quoted.
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
    fn one_pair_of_quotes_is_removed_from_a_key() {
        let cases =
            [("a/b/c", "a/b/c"), ("\"a/b/c\"", "a/b/c"), ("\"\"x\"\"", "\"x\""), ("\"x", "\"x")];
        for (input, expected) in cases {
            assert_eq!(AppKey::parse(input, Prefer::Name).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn empty_too_long_and_unprintable_keys_are_rejected() {
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
