//! Events: the words that a post is made of.
//!
//! Every value of these types can be exposed in every format. A post that cannot be exposed is
//! refused as a whole, so a scrape never fails because of a stored event.

use super::APP_LABELS;
use std::{collections::BTreeMap, fmt, str::FromStr};

/// The id of a queue of events. A queue has its own events, scrapers and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(i64);

impl QueueId {
    /// The queue that belongs to no binding. `POST /event` writes to it.
    pub const INSTALLATION: Self = Self(0);

    pub fn new(id: i64) -> Self {
        Self(id)
    }

    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A posted event.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub labels: EventLabels,
    pub value: EventValue,
    /// Time of the event in milliseconds since 1970. None: the time of the post.
    pub time: Option<i64>,
}

/// The labels of an event, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventLabels(BTreeMap<String, String>);

/// Reasons why labels cannot be exposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventLabelError {
    #[error("label `{0}`: use letters, digits and _, and begin with a letter or _")]
    Name(String),
    #[error("label `{0}` is reserved: use another name")]
    Reserved(String),
    #[error("{0} labels: at most {max} are allowed", max = EventLabels::MAX_LABELS)]
    TooMany(usize),
    #[error("label `{0}…`: the name is longer than {max} bytes", max = EventLabels::MAX_NAME)]
    LongName(String),
    #[error("label `{0}`: the value is longer than {max} bytes", max = EventLabels::MAX_VALUE)]
    LongValue(String),
    #[error("label `{0}`: the value contains a control character")]
    Control(String),
}

impl EventLabels {
    /// Maximum number of labels of a post.
    pub const MAX_LABELS: usize = 20;
    /// Maximum length of a name, in bytes.
    pub const MAX_NAME: usize = 64;
    /// Maximum length of a value, in bytes.
    pub const MAX_VALUE: usize = 256;

    /// Validates labels. Spaces in names become `_`. The first of several labels with one name is
    /// used. A label without a value is left out: for Prometheus it does not exist.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, EventLabelError>
    where
        N: AsRef<str>,
        V: Into<String>,
    {
        let mut labels = BTreeMap::new();
        for (name, value) in pairs {
            let name = label_name(name.as_ref())?;
            let value = value.into();
            if labels.contains_key(&name) {
                continue;
            }
            check_value(&name, &value)?;
            labels.insert(name, value);
            if labels.len() > Self::MAX_LABELS {
                return Err(EventLabelError::TooMany(labels.len()));
            }
        }
        labels.retain(|_, value| !value.is_empty());
        Ok(Self(labels))
    }

    /// Adds the labels of the app that posted the event. A posted label with one of the names of
    /// [`APP_LABELS`], or with the name of a target label, gets the prefix `exported_`. Prometheus
    /// does the same if a target has such a label.
    #[must_use]
    pub fn of_app<'a>(self, app: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let is_taken =
            |name: &str| APP_LABELS.contains(&name) || matches!(name, "instance" | "job");
        let (renamed, mut labels): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.0.into_iter().partition(|(name, _)| is_taken(name));
        for (name, value) in renamed {
            let mut name = format!("exported_{name}");
            while labels.contains_key(&name) {
                name.insert_str(0, "exported_");
            }
            labels.insert(name, value);
        }
        labels.extend(app.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        Self(labels)
    }

    /// A JSON object. Equal labels give equal text.
    pub fn to_json(&self) -> String {
        serde_json::Value::from_iter(self.iter()).to_string()
    }

    /// Reads what [`EventLabels::to_json`] wrote.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn label_name(text: &str) -> Result<String, EventLabelError> {
    if text.len() > EventLabels::MAX_NAME {
        let shown = text.chars().take(EventLabels::MAX_NAME / 4).collect();
        return Err(EventLabelError::LongName(shown));
    }
    let name = text.replace(' ', "_");
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_valid = name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit());
    if !is_valid {
        return Err(EventLabelError::Name(text.escape_debug().to_string()));
    }
    // `le` and `quantile` belong to histograms and summaries.
    if name.starts_with("__") || matches!(&*name, "le" | "quantile") {
        return Err(EventLabelError::Reserved(name));
    }
    Ok(name)
}

fn check_value(name: &str, value: &str) -> Result<(), EventLabelError> {
    if value.len() > EventLabels::MAX_VALUE {
        return Err(EventLabelError::LongValue(name.to_owned()));
    }
    if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(EventLabelError::Control(name.to_owned()));
    }
    Ok(())
}

/// The value of an event.
#[derive(Clone, Copy, Debug)]
pub struct EventValue(f64);

/// Not a decimal number, `NaN` or `Inf`, or too large for a floating point number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a number")]
pub struct NotANumber;

impl EventValue {
    pub fn new(value: f64) -> Self {
        Self(value)
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

/// An event without a value has the value 1.
impl Default for EventValue {
    fn default() -> Self {
        Self(1.0)
    }
}

/// `NaN` equals itself: it is stored and exposed as one text.
impl PartialEq for EventValue {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || (self.0.is_nan() && other.0.is_nan())
    }
}

impl FromStr for EventValue {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let value: f64 = text.parse().map_err(|_| NotANumber)?;
        // `1e309` is parsed as infinity.
        let is_overflow = value.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit());
        if is_overflow { Err(NotANumber) } else { Ok(Self(value)) }
    }
}

/// The shortest text that is parsed as the same number.
impl fmt::Display for EventValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() {
            return f.write_str("NaN");
        }
        if self.0.is_infinite() {
            return f.write_str(if self.0 > 0.0 { "+Inf" } else { "-Inf" });
        }
        // `Display` of a large number writes hundreds of digits, `Debug` an exponent.
        let text = format!("{:?}", self.0);
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_decimal_numbers_and_keep_their_precision() {
        let cases = [
            ("1", "1"),
            ("1.0", "1"),
            ("+.5", "0.5"),
            ("1e-9", "1e-9"),
            ("1e300", "1e300"),
            ("0.1", "0.1"),
            ("123456789012345678", "1.2345678901234568e17"),
            ("-0", "-0"),
            ("nan", "NaN"),
            ("-NaN", "NaN"),
            ("Inf", "+Inf"),
            ("-infinity", "-Inf"),
        ];
        for (input, expected) in cases {
            assert_eq!(input.parse::<EventValue>().unwrap().to_string(), expected, "{input}");
        }
        for input in ["", " 1", "0x10", "1_0", "1e309", "-1e309", "abc", "1,5", "१"] {
            assert_eq!(input.parse::<EventValue>(), Err(NotANumber), "{input}");
        }
    }

    #[test]
    fn labels_are_normalized() {
        let labels = EventLabels::new([
            ("type", "deploy"),
            ("my app", "x"),
            ("my_app", "second"),
            ("empty", ""),
            ("text", "a \"b\" \\ c\nd\té"),
        ]);
        let labels = labels.unwrap();
        let pairs: Vec<_> = labels.iter().collect();
        let text = ("text", "a \"b\" \\ c\nd\té");
        assert_eq!(pairs, [("my_app", "x"), text, ("type", "deploy")]);
    }

    #[test]
    fn labels_that_cannot_be_exposed_are_refused() {
        use EventLabelError::*;
        let new = |name: &str, value: &str| EventLabels::new([(name, value)]).unwrap_err();
        for name in ["bad-name", "1a", "é", "", "a.b", "a\n"] {
            assert_eq!(new(name, "x"), Name(name.escape_debug().to_string()));
        }
        for name in ["__name__", "__x", "  x", "le", "quantile"] {
            assert_eq!(new(name, "x"), Reserved(name.replace(' ', "_")));
        }
        assert_eq!(new("a", "x\0"), Control("a".to_owned()));
        assert_eq!(new("a", "x\r"), Control("a".to_owned()));
        assert_eq!(new("a", &"x".repeat(257)), LongValue("a".to_owned()));
        assert!(matches!(new(&"x".repeat(65), "x"), LongName(_)));
        let many = (0..21).map(|index| (format!("l{index}"), "x"));
        assert_eq!(EventLabels::new(many), Err(TooMany(21)));
        let repeated = (0..100).map(|_| ("same", "x"));
        assert!(EventLabels::new(repeated).is_ok());
    }

    #[test]
    fn labels_of_the_app_are_kept_and_posted_ones_are_renamed() {
        let posted = [
            ("app_name", "other"),
            ("exported_app_name", "third"),
            ("job", "cron"),
            ("type", "deploy"),
        ];
        let labels = EventLabels::new(posted).unwrap().of_app([("app_name", "shop")]);
        let expected = [
            ("app_name", "shop"),
            ("exported_app_name", "third"),
            ("exported_exported_app_name", "other"),
            ("exported_job", "cron"),
            ("type", "deploy"),
        ];
        assert_eq!(labels.iter().collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn labels_survive_storage(
            pairs in proptest::collection::vec(("[a-z][a-z0-9_]{0,8}", "[^\\p{Cc}]{0,40}"), 0..8)
        ) {
            if let Ok(labels) = EventLabels::new(pairs) {
                prop_assert_eq!(EventLabels::from_json(&labels.to_json()), Some(labels));
            }
        }

        #[test]
        fn values_survive_storage(value: f64) {
            let value = EventValue::new(value);
            prop_assert_eq!(value.to_string().parse::<EventValue>(), Ok(value));
        }
    }
}
