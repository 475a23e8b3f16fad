//! A strict parser of OpenMetrics 1.0.0. It requires all that the specification and the reference
//! parser (`prometheus/client_python`) require.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::grammar::{Cursor, Labels, unescape};

/// A parsed sample.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    pub name: String,
    pub labels: Labels,
    pub value: String,
    pub timestamp: Option<String>,
    /// The text after the `#`.
    pub exemplar: Option<String>,
}

impl Sample {
    fn number(&self) -> f64 {
        self.value.parse().unwrap()
    }

    fn timestamp(&self) -> Option<f64> {
        self.timestamp.as_deref().map(|timestamp| timestamp.parse().unwrap())
    }
}

#[derive(Default)]
struct Family {
    name: String,
    metric_type: Option<String>,
    unit: Option<String>,
    has_help: bool,
    samples: Vec<Sample>,
}

/// Parses an output. Panics with a reason on each deviation.
pub fn read(text: &str, has_quotes: bool) -> Vec<Sample> {
    let text = text.strip_suffix("# EOF\n").expect("`# EOF` is not the last line");
    assert!(text.is_empty() || text.ends_with('\n'), "`# EOF` is not a line");
    let mut reader = Reader::default();
    for line in text.split_terminator('\n') {
        assert!(!line.is_empty(), "a blank line");
        match line.strip_prefix("# ") {
            Some(rest) => reader.metadata(Cursor { rest, has_quotes }),
            None => reader.sample(Cursor { rest: line, has_quotes }),
        }
    }
    reader.end_family();
    reader.samples
}

#[derive(Default)]
struct Reader {
    family: Option<Family>,
    claimed: HashSet<String>,
    samples: Vec<Sample>,
}

impl Reader {
    fn metadata(&mut self, mut cursor: Cursor<'_>) {
        let keyword = cursor.word();
        cursor.expect(" ");
        let name = cursor.name(":");
        cursor.expect(" ");
        if self.family.as_ref().is_none_or(|family| family.name != name) {
            self.end_family();
        }
        let family = self.family.get_or_insert_with(|| Family { name, ..Family::default() });
        assert!(family.samples.is_empty(), "{} has metadata after samples", family.name);
        let text = cursor.rest;
        let is_first = match keyword {
            "TYPE" => family.metric_type.replace(text.to_owned()).is_none(),
            "UNIT" => family.unit.replace(text.to_owned()).is_none(),
            "HELP" => {
                unescape(text, "\\n\"");
                let quotes = text.replace("\\\\", "").replace("\\\"", "");
                assert!(!quotes.contains('"'), "a bare quote: {text}");
                !std::mem::replace(&mut family.has_help, true)
            }
            _ => panic!("a comment: {keyword}"),
        };
        assert!(is_first, "duplicate {keyword} of {}", family.name);
    }

    fn sample(&mut self, mut cursor: Cursor<'_>) {
        let (name, labels) = cursor.series();
        cursor.expect(" ");
        let (rest, exemplar) = match cursor.rest.split_once(" # ") {
            Some((rest, exemplar)) => (rest, Some(exemplar.to_owned())),
            None => (cursor.rest, None),
        };
        let (value, timestamp) = match rest.split(' ').collect::<Vec<_>>()[..] {
            [value] => (value, None),
            [value, timestamp] => (value, Some(timestamp.to_owned())),
            _ => panic!("too many words: {rest}"),
        };
        assert!(value.parse::<f64>().is_ok(), "not a number: {rest}");
        assert_timestamp(timestamp.as_deref());
        if let Some(exemplar) = &exemplar {
            check_exemplar(Cursor { rest: exemplar, has_quotes: cursor.has_quotes });
        }
        if !self.family.as_ref().is_some_and(|family| family.has(&name)) {
            self.end_family();
        }
        let family =
            self.family.get_or_insert_with(|| Family { name: name.clone(), ..Family::default() });
        assert!(family.has(&name), "{name} is none of {}", family.name);
        family.samples.push(Sample { name, labels, value: value.to_owned(), timestamp, exemplar });
    }

    fn end_family(&mut self) {
        let Some(mut family) = self.family.take() else { return };
        let names: BTreeSet<_> =
            suffixes(family.metric_type()).iter().copied().chain([""]).collect();
        for suffix in names {
            let name = format!("{}{suffix}", family.name);
            assert!(!self.claimed.contains(&name), "{name} is claimed twice");
            self.claimed.insert(name);
        }
        family.check();
        self.samples.append(&mut family.samples);
    }
}

/// The suffixes of the sample names of a type.
fn suffixes(metric_type: &str) -> &'static [&'static str] {
    match metric_type {
        "counter" => &["_total", "_created"],
        "summary" => &["", "_count", "_sum", "_created"],
        "histogram" => &["_count", "_sum", "_bucket", "_created"],
        "gaugehistogram" => &["_gcount", "_gsum", "_bucket"],
        "info" => &["_info"],
        "gauge" | "unknown" | "stateset" => &[""],
        _ => panic!("not a type: {metric_type}"),
    }
}

fn check_exemplar(mut cursor: Cursor<'_>) {
    let (_, labels) = cursor.braces(false);
    let length: usize =
        labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
    assert!(length <= 128, "an exemplar of {length} characters");
    cursor.expect(" ");
    let value = cursor.word();
    assert!(value.parse::<f64>().is_ok(), "not a number: {value}");
    if cursor.eat(" ") {
        assert_timestamp(Some(cursor.word()));
    }
    assert_eq!(cursor.rest, "");
}

fn assert_timestamp(timestamp: Option<&str>) {
    let is_valid = timestamp.is_none_or(|text| text.parse::<f64>().is_ok_and(f64::is_finite));
    assert!(is_valid, "not a timestamp: {timestamp:?}");
}

/// Parses a bound, which must be canonical.
fn bound(label: Option<&String>) -> f64 {
    let text = label.expect("a bucket or quantile without a bound");
    let bound: f64 = text.parse().unwrap();
    let is_canonical = match bound {
        f64::INFINITY => text == "+Inf",
        f64::NEG_INFINITY => text == "-Inf",
        _ if bound.abs() < 1e6 && bound.fract() == 0.0 => *text == format!("{bound:.1}"),
        _ => bound.is_finite() && text.contains(['.', 'e']),
    };
    assert!(is_canonical, "not canonical: {text}");
    bound
}

impl Family {
    fn metric_type(&self) -> &str {
        self.metric_type.as_deref().unwrap_or("unknown")
    }

    fn has(&self, sample: &str) -> bool {
        let is_so = |suffix: &&str| *suffix == sample.strip_prefix(&*self.name).unwrap_or("?");
        suffixes(self.metric_type()).iter().any(is_so)
    }

    fn suffix<'a>(&self, sample: &'a Sample) -> &'a str {
        &sample.name[self.name.len()..]
    }

    /// The labels of the metric of a sample.
    fn metric(&self, sample: &Sample) -> Labels {
        let mut labels = sample.labels.clone();
        match (self.metric_type(), self.suffix(sample)) {
            ("summary", "") => assert!(labels.remove("quantile").is_some(), "{sample:?}"),
            ("stateset", _) => assert!(labels.remove(&self.name).is_some(), "{sample:?}"),
            ("histogram" | "gaugehistogram", "_bucket") => {
                assert!(labels.remove("le").is_some(), "{sample:?}");
            }
            _ => {}
        }
        labels
    }

    fn check(&self) {
        if let Some(unit) = &self.unit {
            assert!(self.name.ends_with(&format!("_{unit}")), "{} in {unit}", self.name);
            assert!(!matches!(self.metric_type(), "info" | "stateset"), "{} in {unit}", self.name);
        }
        self.samples.iter().for_each(|sample| self.check_value(sample));
        let mut seen = BTreeSet::new();
        let metrics = self.samples.chunk_by(|one, next| self.metric(one) == self.metric(next));
        for samples in metrics {
            let metric = self.metric(&samples[0]);
            assert!(seen.insert(metric.clone()), "{metric:?} of {} comes back", self.name);
            let mut series = BTreeMap::new();
            for sample in samples {
                let key = (&sample.name, &sample.labels, sample.timestamp().map(f64::to_bits));
                assert!(series.insert(key, ()).is_none(), "a duplicate: {sample:?}");
            }
            for pair in samples.windows(2) {
                let [one, next] = pair else { continue };
                let is_same = one.timestamp.is_some() == next.timestamp.is_some();
                assert!(is_same && one.timestamp() <= next.timestamp(), "{one:?} before {next:?}");
            }
            if self.metric_type().ends_with("histogram") {
                for point in samples.chunk_by(|one, next| one.timestamp() == next.timestamp()) {
                    self.check_histogram(point);
                }
            }
        }
    }

    fn check_value(&self, sample: &Sample) {
        let (metric_type, suffix, value) =
            (self.metric_type(), self.suffix(sample), sample.number());
        let is_valid = match (metric_type, suffix) {
            ("stateset", _) => value == 0.0 || value == 1.0,
            ("info", _) => value == 1.0,
            ("summary", "") => {
                let quantile = bound(sample.labels.get("quantile"));
                (0.0..=1.0).contains(&quantile) && (value >= 0.0 || value.is_nan())
            }
            (_, "_total" | "_sum") => value >= 0.0,
            (_, "_count" | "_gcount" | "_bucket") => value >= 0.0 && value.fract() == 0.0,
            (_, "_gsum") => !value.is_nan(),
            _ => true,
        };
        assert!(is_valid, "{metric_type}: {sample:?}");
        let takes_exemplars = matches!(
            (metric_type, suffix),
            ("counter", "_total") | ("histogram" | "gaugehistogram", "_bucket")
        );
        assert!(takes_exemplars || sample.exemplar.is_none(), "an exemplar at {sample:?}");
    }

    fn check_histogram(&self, point: &[Sample]) {
        let of =
            |suffix: &'static str| point.iter().filter(move |sample| self.suffix(sample) == suffix);
        let number = |suffixes: [&'static str; 2]| {
            suffixes.into_iter().flat_map(of).next().map(|sample| sample.number())
        };
        let (sum, count) = (number(["_sum", "_gsum"]), number(["_count", "_gcount"]));
        let buckets: Vec<_> =
            of("_bucket").map(|sample| (bound(sample.labels.get("le")), sample.number())).collect();
        let name = &self.name;
        for pair in buckets.windows(2) {
            let is_next = pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
            assert!(is_next, "buckets of {name} are out of order: {pair:?}");
        }
        let last = buckets.last().unwrap_or_else(|| panic!("{name} has no buckets"));
        assert_eq!(last.0, f64::INFINITY, "{name} has no bucket for all");
        assert!(count.is_none_or(|count| count == last.1), "{name} counts in two ways");
        assert_eq!(sum.is_some(), count.is_some(), "{name} has only one of sum and count");
        let has_negative = buckets[0].0 < 0.0;
        assert!(
            !has_negative || of("_sum").next().is_none(),
            "{name} has a sum of negative values"
        );
        assert!(has_negative || sum.is_none_or(|sum| sum >= 0.0), "{name} has a negative sum");
    }
}
