//! Properties of all conversions, checked with generated input.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use proptest::prelude::*;

use super::{
    bodies::{self, Line},
    strict, strict_openmetrics, *,
};

/// The families of one instance. A failed test is reduced to few of them.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) format: Format,
    blocks: Vec<u64>,
    /// Whether the lines are in random order.
    is_shuffled: bool,
}

impl Source {
    fn lines(&self) -> Vec<Line> {
        let is_openmetrics = self.is_openmetrics();
        let mut lines: Vec<_> =
            self.blocks.iter().flat_map(|&seed| bodies::block(seed, is_openmetrics)).collect();
        if self.is_shuffled {
            bodies::Random::new(self.blocks.len() as u64).shuffle(&mut lines);
        }
        lines
    }

    fn is_openmetrics(&self) -> bool {
        matches!(self.format, Format::OpenMetrics001 | Format::OpenMetrics100)
    }

    pub(super) fn text(&self) -> String {
        bodies::text(&self.lines(), self.is_openmetrics())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:\n{}", self.format, self.text())
    }
}

/// The identity of a sample in any notation.
type Key = (String, BTreeMap<String, String>, Option<u64>);

/// The allowed values of each sample. The first sample of a series is kept, and which one is first
/// depends on the output format.
type Expected = BTreeMap<Key, BTreeSet<String>>;

fn key(name: &str, labels: BTreeMap<String, String>, timestamp_ms: Option<u64>) -> Key {
    let labels = labels.into_iter().map(|(name, value)| {
        let bound =
            matches!(&*name, "le" | "quantile").then(|| value.parse::<f64>().ok()).flatten();
        (name, bound.map_or(value, |bound| bound.to_string()))
    });
    (name.to_owned(), labels.collect(), timestamp_ms)
}

/// The expected samples, computed without the crate's code.
fn expected(sources: &[Source], output: OutputFormat) -> Expected {
    let mut expected = Expected::new();
    let written = |name: &str| match output.escaping() {
        Escaping::AllowUtf8 => name.to_owned(),
        _ => name.replace('.', "_"),
    };
    for (i, source) in sources.iter().enumerate() {
        for line in source.lines() {
            let Line::Sample(sample) = line else { continue };
            let mut labels: BTreeMap<_, _> = sample
                .labels
                .iter()
                .map(|(name, value)| {
                    let name = if name == "index" { "exported_index" } else { name };
                    (written(name), value.clone())
                })
                .collect();
            labels.insert("index".to_owned(), i.to_string());
            let key = key(&written(&sample.name), labels, sample.timestamp_ms);
            expected.entry(key).or_default().insert(sample.value);
        }
    }
    expected
}

/// Samples that can be missing in OpenMetrics, because only some samples of their series have a
/// timestamp.
fn ambiguous(expected: &Expected, output: OutputFormat) -> BTreeSet<Key> {
    let untimed = |key: &Key| (key.0.clone(), key.1.clone(), None);
    let timed = expected.keys().filter(|key| is_openmetrics(output) && key.2.is_some());
    timed.map(untimed).collect()
}

/// The samples of an output.
fn read(text: &str, output: OutputFormat) -> Vec<(Key, String)> {
    let has_quotes = output.escaping() == Escaping::AllowUtf8;
    if is_openmetrics(output) {
        let samples = strict_openmetrics::read(text, has_quotes).into_iter();
        samples
            .map(|sample| {
                let seconds = sample.timestamp.map(|text| text.parse::<f64>().unwrap());
                let timestamp_ms = seconds.map(|seconds| (seconds * 1000.0).round() as u64);
                (key(&sample.name, sample.labels, timestamp_ms), sample.value)
            })
            .collect()
    } else {
        let samples = strict::read(text, has_quotes).into_iter();
        samples
            .map(|sample| {
                let timestamp_ms = sample.timestamp.map(|timestamp| timestamp.try_into().unwrap());
                (key(&sample.name, sample.labels, timestamp_ms), sample.value)
            })
            .collect()
    }
}

fn is_openmetrics(output: OutputFormat) -> bool {
    matches!(output.format(), Format::OpenMetrics001 | Format::OpenMetrics100)
}

fn instances(sources: &[Source], output: OutputFormat) -> Vec<IndexedBody> {
    let reader = Reader::new(output, Limits::default());
    let parse = |(i, source): (usize, &Source)| {
        let index = i.to_string();
        let labels = AddedLabels::new([("index", &*index)]);
        let text = source.text();
        reader
            .parse(&*text, source.format, labels)
            .unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    sources.iter().enumerate().map(parse).collect()
}

fn converted(sources: &[Source], output: OutputFormat) -> String {
    written(Merge::new(output, instances(sources, output)), 1 << 16)
}

fn again(text: &str, output: OutputFormat) -> Merge {
    let reader = Reader::new(output, Limits::default());
    let instance = reader.parse(text, output.format(), AddedLabels::new([])).unwrap();
    Merge::new(output, vec![instance])
}

pub(super) fn source() -> impl Strategy<Value = Source> {
    let formats =
        &[Format::Text004, Format::Text100, Format::OpenMetrics001, Format::OpenMetrics100];
    let blocks = prop::collection::vec(any::<u64>(), 0..5);
    (prop::sample::select(&formats[..]), blocks, prop::bool::weighted(0.1))
        .prop_map(|(format, blocks, is_shuffled)| Source { format, blocks, is_shuffled })
}

pub(super) fn sources() -> impl Strategy<Value = Vec<Source>> {
    prop::collection::vec(source(), 1..4)
}

/// All text formats, with unescaped names or an escaping that the test can reverse.
pub(super) fn output() -> impl Strategy<Value = OutputFormat> {
    let outputs = [
        OutputFormat::new(Format::Text004),
        OutputFormat::new(Format::Text100),
        OutputFormat::new(Format::Text100).with_escaping(Escaping::AllowUtf8),
        OutputFormat::new(Format::OpenMetrics001),
        OutputFormat::new(Format::OpenMetrics100),
        OutputFormat::new(Format::OpenMetrics100).with_escaping(Escaping::AllowUtf8),
    ];
    prop::sample::select(outputs.to_vec())
}

pub(super) fn any_escaping() -> impl Strategy<Value = OutputFormat> {
    let escapings = [Escaping::Underscores, Escaping::Dots, Escaping::Values];
    prop_oneof![
        output(),
        (output(), prop::sample::select(escapings.to_vec()))
            .prop_map(|(output, escaping)| output.with_escaping(escaping)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_sample_of_every_format_is_in_the_valid_output(
        sources in sources(), output in output(), chunk in 0_usize..300,
    ) {
        let out = converted(&sources, output);
        let expected = expected(&sources, output);
        let samples = read(&out, output);
        for (key, value) in &samples {
            let values = expected.get(key);
            let is_right = values.is_some_and(|values| values.contains(value));
            prop_assert!(is_right, "{:?} {} in {}", key, value, out);
        }
        let found: BTreeSet<_> = samples.iter().map(|(key, _)| key).collect();
        let ambiguous = ambiguous(&expected, output);
        for key in expected.keys().filter(|key| !ambiguous.contains(key)) {
            prop_assert!(found.contains(key), "{:?} is lost in {}", key, out);
        }
        let chunks = written(Merge::new(output, instances(&sources, output)), chunk);
        prop_assert_eq!(chunks, out, "the chunk length changes the output");
    }

    #[test]
    fn merging_an_output_again_does_not_change_it(sources in sources(), output in any_escaping()) {
        let out = converted(&sources, output);
        let merge = again(&out, output);
        prop_assert_eq!(merge.stats(), Stats::default(), "{}", out);
        prop_assert_eq!(written(merge, 1 << 16), out);
    }

    #[test]
    fn the_order_of_instances_changes_no_sample(sources in sources(), output in any_escaping()) {
        // The label `index` makes the series different, so each instance must keep its own.
        let merge = |is_reversed: bool| {
            let mut instances = instances(&sources, output);
            if is_reversed {
                instances.reverse();
            }
            let mut samples = read(&written(Merge::new(output, instances), 1 << 16), output);
            samples.sort();
            samples
        };
        prop_assert_eq!(merge(false), merge(true));
    }

    #[test]
    fn a_merge_has_the_samples_of_its_instances(sources in sources(), output in any_escaping()) {
        let mut separate = Vec::new();
        for instance in instances(&sources, output) {
            separate.extend(read(&written(Merge::new(output, vec![instance]), 1 << 16), output));
        }
        let mut together = read(&converted(&sources, output), output);
        // A family that violates a rule in one instance can have different bounds in a merge.
        let of = |samples: &mut Vec<(Key, String)>| {
            samples.sort();
            samples.dedup_by(|one, other| one.0 == other.0);
            samples.iter().map(|sample| sample.0.clone()).collect::<Vec<_>>()
        };
        prop_assert_eq!(of(&mut separate), of(&mut together));
    }

    #[test]
    fn samples_survive_conversion_to_another_format_and_back(source in source()) {
        let openmetrics = OutputFormat::new(Format::OpenMetrics100).with_escaping(Escaping::AllowUtf8);
        let text = OutputFormat::new(Format::Text100).with_escaping(Escaping::AllowUtf8);
        for (there, back) in [(openmetrics, text), (text, openmetrics)] {
            let out = converted(std::slice::from_ref(&source), there);
            let instance = Reader::new(back, Limits::default())
                .parse(&*out, there.format(), AddedLabels::new([]))
                .unwrap();
            let returned = written(Merge::new(back, vec![instance]), 1 << 16);
            let sorted = |mut samples: Vec<(Key, String)>| {
                samples.sort();
                samples
            };
            let (out, returned) = (sorted(read(&out, there)), sorted(read(&returned, back)));
            if is_openmetrics(there) {
                prop_assert_eq!(out, returned);
            } else {
                // Of a series with and without timestamps, the samples without were dropped.
                prop_assert!(returned.iter().all(|sample| out.contains(sample)));
            }
        }
    }

    #[test]
    fn a_damaged_body_is_refused_or_gives_valid_output(
        source in source(), output in any_escaping(),
        cut: prop::sample::Index, at: prop::sample::Index, byte: u8, is_cut: bool,
    ) {
        let mut body = source.text().into_bytes();
        if is_cut {
            body.truncate(cut.index(body.len() + 1));
        }
        if !body.is_empty() {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let reader = Reader::new(output, Limits::default());
        if let Ok(instance) = reader.parse(body, source.format, AddedLabels::new([("index", "0")])) {
            let out = written(Merge::new(output, vec![instance]), 100);
            read_anything(&out, output);
            prop_assert_eq!(written(again(&out, output), 1 << 16), out);
        }
    }

    #[test]
    fn any_accepted_text_gives_valid_output(
        body in "([#{}=,\"\\\\ \t\r\n]|x|_sum|_total|_info|_created|# HELP |# TYPE |# UNIT |x counter\n|info|histogram|[a-b]|le|index|[0-9.]|NaN|1\n|é|\0| # \\{){0,40}(# EOF\n)?",
        source in source(), output in any_escaping(),
    ) {
        let reader = Reader::new(output, Limits::default());
        if let Ok(instance) = reader.parse(body, source.format, AddedLabels::new([("index", "0")])) {
            let out = written(Merge::new(output, vec![instance]), 100);
            read_anything(&out, output);
        }
    }
}

/// Checks only that the output can be parsed. A timestamp can exceed the range of [`read`].
fn read_anything(text: &str, output: OutputFormat) {
    let has_quotes = output.escaping() == Escaping::AllowUtf8;
    if is_openmetrics(output) {
        strict_openmetrics::read(text, has_quotes);
    } else {
        strict::read(text, has_quotes);
    }
}
