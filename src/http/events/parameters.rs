//! Events in queries and forms: `type=deploy&app=shop&value=1`.

use crate::domain::{EventLabelError, EventLabels, EventValue, NewEvent};
use percent_encoding::percent_decode;

/// Name of the parameter that is the value of the event, if it comes once and is a number.
const VALUE: &str = "value";

/// Reasons why a query or form cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    #[error("a `%` is not followed by two hexadecimal digits; write `%25` for a percent sign")]
    Escape,
    #[error("a parameter is not UTF-8")]
    Encoding,
}

/// Names and values of a query or form, in their order.
pub fn pairs(text: &[u8]) -> Result<Vec<(String, String)>, ParameterError> {
    let parts = text.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let mut halves = part.splitn(2, |byte| *byte == b'=');
            let name = halves.next().unwrap_or_default();
            Ok((decode(name)?, decode(halves.next().unwrap_or_default())?))
        })
        .collect()
}

fn decode(text: &[u8]) -> Result<String, ParameterError> {
    let mut escapes = text.split(|byte| *byte == b'%').skip(1);
    let is_escape =
        |rest: &[u8]| matches!(rest, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    if !escapes.all(is_escape) {
        return Err(ParameterError::Escape);
    }
    let text: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded = percent_decode(&text).decode_utf8();
    Ok(decoded.map_err(|_| ParameterError::Encoding)?.into_owned())
}

/// The event of a request. `pairs` are those of the body, and then those of the query.
pub fn event(pairs: Vec<(String, String)>) -> Result<NewEvent, EventLabelError> {
    let mut values = pairs.iter().filter(|(name, _)| name == VALUE);
    let value = match (values.next(), values.next()) {
        (Some((_, text)), None) => text.parse::<EventValue>().ok(),
        _ => None,
    };
    let labels = pairs.into_iter().filter(|(name, _)| value.is_none() || name != VALUE);
    Ok(NewEvent { labels: EventLabels::new(labels)?, value: value.unwrap_or_default(), time: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Vec<(String, String)>, String) {
        let event = event(pairs(text.as_bytes()).unwrap()).unwrap();
        let labels = event.labels.iter();
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        (labels, event.value.to_string())
    }

    #[test]
    fn parameters_are_labels_and_one_number_is_the_value() {
        let cases = [
            ("", &[][..], "1"),
            ("type=deploy&app=shop", &[("app", "shop"), ("type", "deploy")], "1"),
            ("type=a&value=2.5", &[("type", "a")], "2.5"),
            ("value=abc", &[("value", "abc")], "1"),
            ("value=1&value=2", &[("value", "1")], "1"),
            ("value=", &[], "1"),
            ("my+app=x+y&my%20app=z", &[("my_app", "x y")], "1"),
            ("a=1&a=2&&", &[("a", "1")], "1"),
            ("a=x%3Dy&b=%C3%A9", &[("a", "x=y"), ("b", "é")], "1"),
            ("flag", &[], "1"),
        ];
        for (text, labels, value) in cases {
            let labels: Vec<_> = labels.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
            assert_eq!(parsed(text), (labels, value.to_owned()), "{text}");
        }
    }

    #[test]
    fn malformed_parameters_are_errors() {
        for text in ["a=%", "a=%4", "a=%zz", "%=1", "a=1&b=%%20"] {
            assert_eq!(pairs(text.as_bytes()), Err(ParameterError::Escape), "{text}");
        }
        for text in [&b"a=%FF"[..], b"\xff=1"] {
            assert_eq!(pairs(text), Err(ParameterError::Encoding), "{text:?}");
        }
        assert!(event(pairs(b"bad-name=1").unwrap()).is_err());
        assert!(event(pairs(b"=1").unwrap()).is_err());
    }
}
