//! Ids that are assigned by the platform.
//!
//! OSB allows any character in an id. These types require only that an id can be stored and
//! printed: it is not empty, contains no control characters, and has at most 255 bytes.

use std::{fmt, str::FromStr, sync::Arc};

/// Reasons why a string is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// For example two consecutive slashes in a path, or an empty JSON string.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`MAX_LEN`].
    #[error("is longer than {MAX_LEN} bytes")]
    TooLong,
    /// For example NUL, which PostgreSQL cannot store.
    #[error("contains a control character")]
    Control,
}

/// Maximum length of an id, in bytes.
pub(super) const MAX_LEN: usize = 255;

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(IdError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::Control);
    }
    Ok(())
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as the platform wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )+};
}

ids! {
    /// Id of a service instance.
    InstanceId;
    /// Id of a service binding or service key.
    BindingId;
    /// Id of a service offering.
    ServiceId;
    /// Id of a plan.
    PlanId;
    /// Id of an app. On Cloud Foundry it is a GUID.
    AppGuid;
    /// Id of a space.
    SpaceGuid;
    /// Id of an organization.
    OrganizationGuid;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_any_text_that_can_be_stored_and_printed() {
        let long = "x".repeat(MAX_LEN);
        for good in ["a", "4d0c1f4a-8f0e-4a56-8a53-0d6a7b1c2001", "a b/ü?%", &long] {
            assert_eq!(good.parse::<BindingId>().unwrap().as_str(), good);
        }
        let cases = [
            ("", IdError::Empty),
            ("a\0b", IdError::Control),
            ("a\nb", IdError::Control),
            ("a\u{85}b", IdError::Control),
            (&"x".repeat(MAX_LEN + 1), IdError::TooLong),
        ];
        for (input, expected) in cases {
            assert_eq!(input.parse::<BindingId>(), Err(expected), "{input:?}");
        }
    }
}
