//! A strict parser of text format 0.0.4, and of 1.0.0 if names can be quoted.
//!
//! It requires what Go's `expfmt` requires, which `promtool check metrics` uses, and also single
//! spaces. It is written from the description of the format and shares no code with the crate's
//! parser.

use std::collections::{BTreeMap, HashMap};

use super::grammar::{Cursor, unescape};

/// A parsed sample.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: String,
    pub timestamp: Option<i64>,
}

#[derive(Default)]
struct Family {
    metric_type: Option<String>,
    has_help: bool,
    has_samples: bool,
}

/// Parses an output. Panics with a reason on each deviation.
pub fn read(text: &str, has_quotes: bool) -> Vec<Sample> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no line break");
    let mut families: HashMap<String, Family> = HashMap::new();
    let mut current = String::new();
    let mut samples = Vec::new();
    for line in text.split_terminator('\n') {
        let mut cursor = Cursor { rest: line, has_quotes };
        let is_comment = cursor.eat("# HELP ") || cursor.eat("# TYPE ");
        let name = if is_comment {
            cursor.name(":")
        } else {
            samples.push(sample(&mut cursor));
            samples.last().unwrap().name.clone()
        };
        let owner = owner(&families, &name);
        assert!(
            owner == current || !families.contains_key(&owner),
            "{owner} is not contiguous: {line}"
        );
        current.clone_from(&owner);
        let family = families.entry(owner).or_default();
        if !is_comment {
            family.has_samples = true;
            check_bound(family.metric_type.as_deref(), samples.last().unwrap());
            continue;
        }
        cursor.expect(" ");
        let text = cursor.rest;
        assert!(!family.has_samples, "metadata after samples: {line}");
        assert!(family.metric_type.is_none(), "metadata after TYPE, or two TYPE lines: {line}");
        if line.starts_with("# HELP") {
            assert!(!family.has_help, "a second HELP: {line}");
            family.has_help = true;
            unescape(text, "\\n");
        } else {
            assert!(
                ["counter", "gauge", "histogram", "summary", "untyped"].contains(&text),
                "{line}"
            );
            family.metric_type = Some(text.to_owned());
        }
    }
    samples
}

/// The family of a name by the rules of `expfmt`.
fn owner(families: &HashMap<String, Family>, name: &str) -> String {
    let is = |base: &str, metric_type| {
        families.get(base).is_some_and(|family| family.metric_type.as_deref() == Some(metric_type))
    };
    if !families.contains_key(name) {
        for suffix in ["_bucket", "_sum", "_count"] {
            if let Some(base) = name.strip_suffix(suffix)
                && (is(base, "histogram") || is(base, "summary") && suffix != "_bucket")
            {
                return base.to_owned();
            }
        }
    }
    name.to_owned()
}

fn check_bound(metric_type: Option<&str>, sample: &Sample) {
    let bound = match metric_type {
        Some("histogram") => sample.labels.get("le"),
        Some("summary") => sample.labels.get("quantile"),
        _ => None,
    };
    assert!(bound.is_none_or(|bound| bound.parse::<f64>().is_ok()), "{sample:?}");
    let is_bare = match metric_type {
        Some("histogram") => sample.name.ends_with("_bucket") && !sample.labels.contains_key("le"),
        _ => false,
    };
    assert!(!is_bare, "a bucket without a bound: {sample:?}");
}

fn sample(cursor: &mut Cursor<'_>) -> Sample {
    let (name, labels) = cursor.series();
    cursor.expect(" ");
    let line = cursor.rest;
    let (value, timestamp) = match line.split(' ').collect::<Vec<_>>()[..] {
        [value] => (value, None),
        [value, timestamp] => (value, Some(timestamp.parse().unwrap())),
        _ => panic!("too many words: {line}"),
    };
    assert!(value.parse::<f64>().is_ok(), "not a number: {line}");
    Sample { name, labels, value: value.to_owned(), timestamp }
}
