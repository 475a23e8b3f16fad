//! The part of a stored parameter that responses, pages and logs may show.
//!
//! Each set of parameters has a table of [`Parameter`]s, so that a new parameter requires a
//! decision. Parameters that are in no table are never shown.

use serde_json::{Map, Value};
use url::Url;

/// The part of a parameter that may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclosure {
    /// The complete value.
    Value,
    /// A URL without its user name and password.
    WithoutUserinfo,
    /// A path without its query, which may contain an API key.
    WithoutQuery,
    /// Nothing, because the value is a secret or may contain one.
    Nothing,
}

/// The name of a parameter, and the part that may be shown.
pub type Parameter = (&'static str, Disclosure);

/// Filters `parameters`, and removes their secret parts.
pub fn disclosed(known: &[Parameter], parameters: &Map<String, Value>) -> Map<String, Value> {
    let shown = |(name, value): (&String, &Value)| {
        let (_, disclosure) = known.iter().find(|(known, _)| known == name)?;
        Some((name.clone(), disclosure.of(value)?))
    };
    parameters.iter().filter_map(shown).collect()
}

/// All names as a list for an error message.
pub(super) fn names(known: &[Parameter]) -> String {
    known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

pub(super) fn is_known(known: &[Parameter], name: &str) -> bool {
    known.iter().any(|(known, _)| *known == name)
}

impl Disclosure {
    /// The part of `value` that may be shown.
    fn of(self, value: &Value) -> Option<Value> {
        match self {
            Self::Value => Some(value.clone()),
            Self::Nothing => None,
            Self::WithoutUserinfo => value.as_str().and_then(without_userinfo).map(Value::from),
            Self::WithoutQuery => {
                let path = value.as_str()?.split('?').next()?;
                Some(path.into())
            }
        }
    }
}

/// A URL without its user name and password. Returns `None` if `text` is not an HTTP URL.
fn without_userinfo(text: &str) -> Option<String> {
    let mut url: Url = text.trim().parse().ok()?;
    url.set_password(None).ok()?;
    url.set_username("").ok()?;
    url.set_query(None);
    url.set_fragment(None);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KNOWN: [Parameter; 4] = [
        ("plain", Disclosure::Value),
        ("url", Disclosure::WithoutUserinfo),
        ("path", Disclosure::WithoutQuery),
        ("secret", Disclosure::Nothing),
    ];

    fn shown(parameters: &Value) -> Value {
        Value::Object(disclosed(&KNOWN, parameters.as_object().unwrap()))
    }

    #[test]
    fn secret_parts_are_not_shown() {
        let parameters = json!({
            "plain": {"a": [1]}, "url": "https://canary:canary@a.example.com:9093/x/?canary#canary",
            "path": "/metrics?key=canary", "secret": "canary", "unknown": "canary",
        });
        let expected = json!({
            "plain": {"a": [1]}, "url": "https://a.example.com:9093/x/", "path": "/metrics",
        });
        assert_eq!(shown(&parameters), expected);
    }

    #[test]
    fn values_of_unexpected_types_are_not_shown() {
        for value in [json!({"a": "canary"}), json!(["canary"]), json!(5), json!(null)] {
            assert_eq!(shown(&json!({"url": value, "path": value})), json!({}), "{value}");
        }
        for text in ["canary", "//canary@x", "mailto:canary@x", ""] {
            assert_eq!(shown(&json!({"url": text})), json!({}), "{text}");
        }
        let only_user = json!({"url": "http://canary@x/"});
        assert_eq!(shown(&only_user), json!({"url": "http://x/"}));
    }
}
