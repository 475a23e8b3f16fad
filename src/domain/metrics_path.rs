//! The path of an app's metrics.

use std::{fmt, str::FromStr};

/// An absolute path, optionally with a query.
///
/// The type guarantees that the path cannot name another host, split a request line or add a
/// header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MetricsPath(String);

/// Reasons why a string is not a [`MetricsPath`]. Error messages continue a sentence that starts
/// with `metric_path` or `endpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricsPathError {
    /// `//host/path` or `scheme://host/path`.
    #[error("must be a path like /metrics, without scheme and host")]
    NamesHost,
    /// A character that is not allowed in a request line.
    #[error(
        "contains a character that is not allowed in a path; write it percent-encoded, for example %20 for a blank"
    )]
    ForbiddenCharacter,
    /// The segment `..`, also percent-encoded.
    #[error("must not contain the segment `..`")]
    ParentSegment,
    /// Longer than [`MetricsPath::MAX_LEN`].
    #[error("is longer than {} bytes", MetricsPath::MAX_LEN)]
    TooLong,
}

impl MetricsPath {
    /// Maximum length, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// The default path.
    pub const DEFAULT: &'static str = "/metrics";

    /// The path and query. It begins with exactly one `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn without_query(&self) -> &str {
        self.0.split_once('?').map_or(self.0.as_str(), |(path, _)| path)
    }
}

impl Default for MetricsPath {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl FromStr for MetricsPath {
    type Err = MetricsPathError;

    /// Adds a missing leading slash, as promfetcher does.
    fn from_str(text: &str) -> Result<Self, MetricsPathError> {
        if text.len() > Self::MAX_LEN {
            return Err(MetricsPathError::TooLong);
        }
        if text.bytes().any(|b| !b.is_ascii_graphic() || b"#\\\"<>^`{|}".contains(&b)) {
            return Err(MetricsPathError::ForbiddenCharacter);
        }
        let path = text.split('?').next().unwrap_or_default();
        if path.starts_with("//") || path.contains("://") {
            return Err(MetricsPathError::NamesHost);
        }
        let is_parent = |segment: &str| segment.to_ascii_lowercase().replace("%2e", ".") == "..";
        if path.split('/').any(is_parent) {
            return Err(MetricsPathError::ParentSegment);
        }
        let slash = if text.starts_with('/') { "" } else { "/" };
        Ok(Self(format!("{slash}{text}")))
    }
}

impl fmt::Display for MetricsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_paths_with_or_without_a_leading_slash_and_with_a_query() {
        let cases = [
            ("/metrics", "/metrics"),
            ("actuator/prometheus", "/actuator/prometheus"),
            ("/probe?module=http&target=http://x/", "/probe?module=http&target=http://x/"),
            ("", "/"),
            ("?format=prometheus", "/?format=prometheus"),
            ("/a%20b/..c/%2F", "/a%20b/..c/%2F"),
        ];
        for (input, expected) in cases {
            assert_eq!(input.parse::<MetricsPath>().unwrap().as_str(), expected, "{input:?}");
        }
    }

    #[test]
    fn rejects_paths_to_other_hosts_or_parents() {
        let cases = [
            ("//evil.example/x", MetricsPathError::NamesHost),
            ("http://evil.example/", MetricsPathError::NamesHost),
            ("/a b", MetricsPathError::ForbiddenCharacter),
            ("/a\r\nHost: evil", MetricsPathError::ForbiddenCharacter),
            ("/a\0", MetricsPathError::ForbiddenCharacter),
            ("/ü", MetricsPathError::ForbiddenCharacter),
            ("\\\\evil", MetricsPathError::ForbiddenCharacter),
            ("/a#b", MetricsPathError::ForbiddenCharacter),
            ("/../admin", MetricsPathError::ParentSegment),
            ("/a/%2E%2e/admin", MetricsPathError::ParentSegment),
        ];
        for (input, expected) in cases {
            assert_eq!(input.parse::<MetricsPath>(), Err(expected), "{input:?}");
        }
        let long = "x".repeat(MetricsPath::MAX_LEN + 1);
        assert_eq!(long.parse::<MetricsPath>(), Err(MetricsPathError::TooLong));
    }
}
