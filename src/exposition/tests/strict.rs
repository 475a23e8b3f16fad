//! A reader of text format 0.0.4 that is as strict as any: Go's `expfmt`, which
//! `promtool check metrics` uses, and single spaces besides. Written for the
//! tests alone, from the format's description, and shares nothing with the parser.

use std::collections::{BTreeMap, HashMap};

/// A sample as its reader understands it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: String,
    pub(super) timestamp: Option<i64>,
}

#[derive(Default)]
struct Family {
    metric_type: Option<String>,
    has_help: bool,
    has_samples: bool,
}

/// Reads an output; what is not strict is a panic that says why.
pub(super) fn read(text: &str) -> Vec<Sample> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line must end");
    let mut families: HashMap<String, Family> = HashMap::new();
    let mut current = String::new();
    let mut samples = Vec::new();
    for line in text.split_terminator('\n') {
        let comment = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        let name = match comment {
            Some(rest) => rest.split(' ').next().unwrap().to_owned(),
            None => {
                samples.push(sample(line));
                samples.last().unwrap().name.clone()
            }
        };
        assert_name(&name, ":");
        let owner = owner(&families, &name);
        assert!(owner == current || !families.contains_key(&owner), "{owner} comes back: {line}");
        current.clone_from(&owner);
        let family = families.entry(owner).or_default();
        let Some(comment) = comment else {
            family.has_samples = true;
            check_bound(family.metric_type.as_deref(), samples.last().unwrap());
            continue;
        };
        let (_, text) = comment.split_once(' ').unwrap();
        assert!(!family.has_samples, "after samples: {line}");
        assert!(family.metric_type.is_none(), "after or besides a TYPE: {line}");
        if line.starts_with("# HELP") {
            assert!(!family.has_help, "second HELP: {line}");
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

/// As `expfmt` finds the family of a name.
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
    assert!(!is_bare, "a bucket without its bound: {sample:?}");
}

fn assert_name(name: &str, more: &str) {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || more.contains(c);
    let starts_well = name.starts_with(|c: char| !c.is_ascii_digit());
    assert!(starts_well && name.chars().all(is_fine), "not a name: {name:?}");
}

fn sample(line: &str) -> Sample {
    let name_end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (label, after) =
                inner.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert_name(label, "");
            let end = closing_quote(after).unwrap_or_else(|| panic!("not closed: {line}"));
            let value = unescape(&after[..end], "\\n\"");
            assert!(labels.insert(label.to_owned(), value).is_none(), "twice {label}: {line}");
            inner = &after[end + 1..];
            match inner.strip_prefix(',') {
                Some(next) => inner = next,
                None => break,
            }
        }
        rest = inner.strip_prefix('}').unwrap_or_else(|| panic!("no brace: {line}"));
    }
    let parts: Vec<&str> =
        rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}")).split(' ').collect();
    let (value, timestamp) = match parts[..] {
        [value] => (value, None),
        [value, timestamp] => (value, Some(timestamp.parse().unwrap())),
        _ => panic!("too much: {line}"),
    };
    assert!(value.parse::<f64>().is_ok(), "no number: {line}");
    Sample { name: name.to_owned(), labels, value: value.to_owned(), timestamp }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}

fn unescape(text: &str, known: &str) -> String {
    let mut unescaped = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            unescaped.push(c);
            continue;
        }
        let escaped = chars.next().unwrap_or_else(|| panic!("ends in a backslash: {text}"));
        assert!(known.contains(escaped), "unknown escape: {text}");
        unescaped.push(if escaped == 'n' { '\n' } else { escaped });
    }
    unescaped
}
