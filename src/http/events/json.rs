//! Events as JSON: an object, an array, or an object per line (NDJSON).

use crate::domain::{EventLabelError, EventLabels, EventValue, NewEvent};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;

/// Maximum number of events of a request.
pub const MAX_EVENTS: usize = 10_000;

/// Reasons why JSON is not a list of events.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("{0}")]
    Syntax(serde_json::Error),
    /// It is JSON, but not an event.
    #[error("{0}")]
    Shape(serde_json::Error),
    #[error("line {line}: {error}")]
    Line { line: usize, error: Box<JsonError> },
    #[error("event {index}: {error}")]
    Labels { index: usize, error: EventLabelError },
    #[error("more than {MAX_EVENTS} events: send several requests")]
    TooMany,
    #[error("the request has no events")]
    NoEvents,
}

impl JsonError {
    /// Whether the request is malformed. Otherwise it cannot be processed.
    pub fn is_syntax(&self) -> bool {
        match self {
            Self::Syntax(_) => true,
            Self::Line { error, .. } => error.is_syntax(),
            Self::Shape(_) | Self::Labels { .. } | Self::TooMany | Self::NoEvents => false,
        }
    }
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_data() { Self::Shape(error) } else { Self::Syntax(error) }
    }
}

/// Reads an event or an array of events. `added` are labels for events that do not have them.
pub fn events(body: &[u8], added: &[(String, String)]) -> Result<Vec<NewEvent>, JsonError> {
    new_events(serde_json::from_slice::<Batch>(body)?.0, added)
}

/// Reads one event per line. Empty lines are ignored.
pub fn lines(body: &[u8], added: &[(String, String)]) -> Result<Vec<NewEvent>, JsonError> {
    let mut batch = Vec::new();
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if batch.len() == MAX_EVENTS {
            return Err(JsonError::TooMany);
        }
        let event = serde_json::from_slice::<JsonEvent>(line);
        let at_line = |error: JsonError| JsonError::Line { line: index + 1, error: error.into() };
        batch.push(event.map_err(|error| at_line(error.into()))?);
    }
    new_events(batch, added)
}

fn new_events(
    batch: Vec<JsonEvent>,
    added: &[(String, String)],
) -> Result<Vec<NewEvent>, JsonError> {
    if batch.is_empty() {
        return Err(JsonError::NoEvents);
    }
    let event = |(index, event): (usize, JsonEvent)| {
        let own = event.labels.0.into_iter().map(|(name, value)| (name, value.0));
        let labels = EventLabels::new(own.chain(added.iter().cloned()));
        Ok(NewEvent {
            labels: labels.map_err(|error| JsonError::Labels { index, error })?,
            value: event.value.unwrap_or_default(),
            time: event.time,
        })
    };
    batch.into_iter().enumerate().map(event).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonEvent {
    #[serde(default)]
    labels: JsonLabels,
    #[serde(default, deserialize_with = "value")]
    value: Option<EventValue>,
    #[serde(default, deserialize_with = "time")]
    time: Option<i64>,
}

/// In the order of the object, so that the first of equal names is used.
#[derive(Default)]
struct JsonLabels(Vec<(String, Scalar)>);

/// A text, number or boolean, as text.
struct Scalar(String);

/// One event, or several. Reading stops after [`MAX_EVENTS`].
struct Batch(Vec<JsonEvent>);

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BatchVisitor;
        impl<'de> Visitor<'de> for BatchVisitor {
            type Value = Batch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an event, as in {\"labels\": {\"type\": \"deploy\"}}, or an array of events",
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Batch, A::Error> {
                let event = JsonEvent::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Batch(vec![event]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Batch, A::Error> {
                let mut events = Vec::new();
                while let Some(event) = seq.next_element()? {
                    if events.len() == MAX_EVENTS {
                        return Err(de::Error::custom(JsonError::TooMany));
                    }
                    events.push(event);
                }
                Ok(Batch(events))
            }
        }
        deserializer.deserialize_any(BatchVisitor)
    }
}

impl<'de> Deserialize<'de> for JsonLabels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LabelsVisitor;
        impl<'de> Visitor<'de> for LabelsVisitor {
            type Value = JsonLabels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of labels, as in {\"type\": \"deploy\"}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonLabels, A::Error> {
                let mut labels = Vec::new();
                while let Some(label) = map.next_entry()? {
                    labels.push(label);
                }
                Ok(JsonLabels(labels))
            }
        }
        deserializer.deserialize_map(LabelsVisitor)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a label value: a text, number or boolean")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Scalar, E> {
                Ok(Scalar(flag.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(EventValue::new(number).to_string()))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// A number, or a text such as `NaN`, which JSON has no number for.
fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<EventValue>, D::Error> {
    let Scalar(text) = Scalar::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|_| de::Error::custom("value: is not a number"))
}

/// Milliseconds since 1970, or a time of RFC 3339 in UTC.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Scalar(text) = Scalar::deserialize(deserializer)?;
    super::time::parse(&text).map(Some).map_err(|error| de::Error::custom(format!("time: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(events: Vec<NewEvent>) -> Vec<(String, String, Option<i64>)> {
        let shown = |it: NewEvent| (it.labels.to_json(), it.value.to_string(), it.time);
        events.into_iter().map(shown).collect()
    }

    #[test]
    fn an_event_an_array_and_lines_are_read() {
        let first = r#"{"labels":{"type":"deploy","n":3,"ok":true,"f":1.5},"value":2,"time":1700000000000}"#;
        let second = r#"{"value":"NaN","time":"2023-11-14T22:13:20Z"}"#;
        let added = [("type".to_owned(), "x".to_owned()), ("app".to_owned(), "shop".to_owned())];
        let expected = [
            (
                r#"{"app":"shop","f":"1.5","n":"3","ok":"true","type":"deploy"}"#.to_owned(),
                "2".to_owned(),
                Some(1_700_000_000_000),
            ),
            (r#"{"app":"shop","type":"x"}"#.to_owned(), "NaN".to_owned(), Some(1_700_000_000_000)),
        ];
        let array = format!("[{first},{second}]");
        assert_eq!(shown(events(array.as_bytes(), &added).unwrap()), expected);
        let text = format!("{first}\n\n{second}\r\n");
        assert_eq!(shown(lines(text.as_bytes(), &added).unwrap()), expected);
        assert_eq!(shown(events(first.as_bytes(), &added).unwrap()), expected[..1]);
        assert_eq!(shown(events(b"{}", &[]).unwrap())[0].0, "{}");
        assert!(matches!(events(b"[]", &[]), Err(JsonError::NoEvents)));
        assert!(matches!(lines(b"\n", &[]), Err(JsonError::NoEvents)));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let cases = [
            (r#"{"#, true, "EOF"),
            (r#"{"labels": {"a": 1}} x"#, true, "trailing"),
            (r#"{"label": {}}"#, false, "unknown field `label`"),
            (r#"{"labels": {"a": []}}"#, false, "a label value"),
            (r#"{"value": "abc"}"#, false, "value: is not a number"),
            (r#"{"value": null}"#, false, "a label value"),
            (r#"{"time": "yesterday"}"#, false, "time: "),
            (r#"[{}, {"labels": {"bad-name": "x"}}]"#, false, "event 1: label `bad-name`"),
            ("3", false, "or an array of events"),
        ];
        for (body, is_syntax, text) in cases {
            let error = events(body.as_bytes(), &[]).unwrap_err();
            assert!(error.to_string().contains(text), "{body}: {error}");
            assert_eq!(error.is_syntax(), is_syntax, "{body}: {error}");
        }
        let error = lines(b"{}\n{", &[]).unwrap_err();
        assert!(error.to_string().starts_with("line 2: EOF"), "{error}");
        assert!(error.is_syntax());
    }

    #[test]
    fn the_number_of_events_is_limited() {
        let array = format!("[{}]", vec!["{}"; MAX_EVENTS + 1].join(","));
        let error = events(array.as_bytes(), &[]).unwrap_err();
        assert!(error.to_string().contains("more than 10000 events"), "{error}");
        let text = "{}\n".repeat(MAX_EVENTS + 1);
        assert!(matches!(lines(text.as_bytes(), &[]), Err(JsonError::TooMany)));
    }
}
