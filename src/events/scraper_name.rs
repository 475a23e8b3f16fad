//! Names of scrapers.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

/// The name of a scraper within its queue. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScraperName(Arc<str>);

/// Reasons why a text is not the name of a scraper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScraperNameError {
    #[error("must not be empty")]
    Empty,
    #[error("is longer than {} bytes", ScraperName::MAX_LEN)]
    TooLong,
    #[error("contains a control character")]
    Control,
}

impl ScraperName {
    /// Maximum length of a name that a scraper chooses, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The name of a scraper that is known by its address only.
    pub fn of_address(address: IpAddr) -> Self {
        Self(address.to_canonical().to_string().into())
    }

    /// The name of a scraper that authenticated itself as `principal`. Two principals never have
    /// the same scraper: only the part before the first `@` is the principal.
    #[must_use]
    pub fn of_principal(self, principal: &str) -> Self {
        Self(format!("{}@{self}", principal.replace('@', "%40")).into())
    }

    /// A name that the database has.
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ScraperName {
    type Err = ScraperNameError;

    fn from_str(text: &str) -> Result<Self, ScraperNameError> {
        if text.is_empty() {
            return Err(ScraperNameError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(ScraperNameError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(ScraperNameError::Control);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ScraperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_can_be_printed() {
        assert_eq!("prom-0".parse::<ScraperName>().unwrap().as_str(), "prom-0");
        let long = "x".repeat(ScraperName::MAX_LEN + 1);
        let cases = [
            ("", ScraperNameError::Empty),
            (&*long, ScraperNameError::TooLong),
            ("a\nb", ScraperNameError::Control),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<ScraperName>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn an_address_has_one_name() {
        let mapped = ScraperName::of_address("::ffff:10.0.0.7".parse().unwrap());
        assert_eq!(mapped.as_str(), "10.0.0.7");
    }

    #[test]
    fn principals_do_not_share_scrapers() {
        let name =
            |principal, name: &str| name.parse::<ScraperName>().unwrap().of_principal(principal);
        assert_ne!(name("operator:a@b", "c"), name("operator:a", "b@c"));
    }
}
