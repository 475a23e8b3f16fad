//! Which part of a stored parameter an answer, a page or a log may show.
//!
//! Each set of parameters is a table of [`Parameter`]s, so a new parameter needs a
//! decision. A parameter that is in no table is never shown.

use serde_json::{Map, Value};
use url::Url;

/// What is shown of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclosure {
    /// The whole value.
    Value,
    /// A URL without user name and password.
    WithoutUserinfo,
    /// A path without its query, which may hold a key.
    WithoutQuery,
    /// Nothing: the value is a secret, or may hold one.
    Nothing,
}

/// A parameter: its name, and what is shown of it.
pub type Parameter = (&'static str, Disclosure);

/// The parameters that may be shown again, without their secret parts.
pub fn disclosed(known: &[Parameter], parameters: &Map<String, Value>) -> Map<String, Value> {
    let shown = |(name, value): (&String, &Value)| {
        let (_, disclosure) = known.iter().find(|(known, _)| known == name)?;
        Some((name.clone(), disclosure.of(value)?))
    };
    parameters.iter().filter_map(shown).collect()
}

/// The names of all parameters, for the error that refuses an unknown one.
pub(super) fn names(known: &[Parameter]) -> String {
    known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Whether there is a parameter with this name.
pub(super) fn is_known(known: &[Parameter], name: &str) -> bool {
    known.iter().any(|(known, _)| *known == name)
}

impl Disclosure {
    /// The part of `value` that is shown.
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

/// A URL without user name and password; none if the text is no such URL.
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
    fn only_the_part_that_is_no_secret_is_shown() {
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
    fn a_value_of_another_form_than_expected_is_not_shown() {
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
