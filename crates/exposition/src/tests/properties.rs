//! Properties of all merges of text, checked with generated input.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{strict::Sample, *};

/// A line of a body before it is written.
#[derive(Clone, Debug)]
enum Line {
    Help(&'static str, &'static str),
    Type(&'static str, &'static str),
    Sample(Sample, Style),
    Other(&'static str),
}

/// Deviations from the canonical form.
#[derive(Clone, Copy, Debug)]
struct Style {
    lead: &'static str,
    before_brace: &'static str,
    in_braces: &'static str,
    trailing_comma: bool,
    /// Whether the labels are in reverse order.
    backwards: bool,
    /// Whether backslashes are not escaped if no escape results.
    raw_backslash: bool,
    end: &'static str,
}

/// A few names, so that they often occur together.
const NAMES: &[&str] =
    &["x", "x_sum", "x_count", "x_bucket", "x_sum_count", "y", "y_count", "y:z", "_count"];
const LABELS: &[&str] =
    &["a", "b", "le", "quantile", "instance", "exported_instance", "exported_exported_instance"];
const VALUES: &[&str] = &["", "1", "0.5", "+Inf", "a\"b", "a\\b", "\\d", "a\nb", "é", "}{,= "];

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(from)
}

prop_compose! {
    fn style()(
        is_careful in prop::bool::weighted(0.7),
        lead in pick(&["", " ", "\t"]),
        before_brace in pick(&["", " "]),
        in_braces in pick(&["", " ", " \t"]),
        trailing_comma: bool, backwards: bool, raw_backslash: bool,
        end in pick(&["", " ", "\r", " \r"]),
    ) -> Style {
        if is_careful {
            Style { lead: "", before_brace: "", in_braces: "", trailing_comma: false, backwards, raw_backslash: false, end: "" }
        } else {
            Style { lead, before_brace, in_braces, trailing_comma, backwards, raw_backslash, end }
        }
    }
}

prop_compose! {
    fn sample()(
        name in pick(NAMES),
        labels in prop::collection::btree_map(pick(LABELS), pick(VALUES), 0..4),
        value in pick(&["0", "1", "-2.5", "NaN", "+Inf", "1e+06"]),
        timestamp in prop::option::weighted(0.2, 0_i64..3),
    ) -> Sample {
        let labels = labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Sample { name: name.into(), labels, value: value.into(), timestamp }
    }
}

fn line() -> impl Strategy<Value = Line> {
    let types = pick(&["counter", "gauge", "histogram", "summary", "untyped", "Histogram"]);
    prop_oneof![
        1 => (pick(NAMES), pick(&["", "Text.", "a\\\\b\\n", "\\d \\"])).prop_map(|(name, text)| Line::Help(name, text)),
        2 => (pick(NAMES), types).prop_map(|(name, metric_type)| Line::Type(name, metric_type)),
        6 => (sample(), style()).prop_map(|(sample, style)| Line::Sample(sample, style)),
        1 => pick(&["", " ", "# comment", "#", "# HELP"]).prop_map(Line::Other),
    ]
}

fn instance() -> impl Strategy<Value = Vec<Line>> {
    prop::collection::vec(line(), 0..16)
}

fn added() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let names =
        prop::sample::subsequence(&["index", "instance", "exported_instance", "a"][..], 0..=4);
    (names, pick(VALUES))
        .prop_map(|(names, value)| names.into_iter().map(|name| (name, value)).collect())
}

fn text(lines: &[Line], ends: bool) -> String {
    let mut text: String = lines
        .iter()
        .map(|line| match line {
            Line::Help(name, help) => format!("# HELP {name} {help}\n"),
            Line::Type(name, metric_type) => format!("# TYPE {name} {metric_type}\n"),
            Line::Sample(sample, style) => sample_text(sample, *style),
            Line::Other(other) => format!("{other}\n"),
        })
        .collect();
    if !ends {
        text.pop();
    }
    text
}

fn sample_text(sample: &Sample, style: Style) -> String {
    let Style { lead, before_brace, in_braces: blank, .. } = style;
    let mut labels: Vec<String> = sample
        .labels
        .iter()
        .map(|(name, value)| {
            let mut value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            if style.raw_backslash {
                value = value.replace("\\\\d", "\\d").replace("\\\\b", "\\b");
            }
            format!("{blank}{name}{blank}={blank}\"{value}\"{blank}")
        })
        .collect();
    if style.backwards {
        labels.reverse();
    }
    let comma = if style.trailing_comma && !labels.is_empty() { "," } else { "" };
    let braces = match labels.join(",") {
        none if none.is_empty() && blank.is_empty() => String::new(),
        labels => format!("{before_brace}{{{labels}{comma}}}"),
    };
    let timestamp = sample.timestamp.map(|timestamp| format!(" {timestamp}")).unwrap_or_default();
    format!("{lead}{}{braces} {}{timestamp}{}\n", sample.name, sample.value, style.end)
}

/// The expected samples of an instance in any order. Its `peers` have the same added labels and
/// include the instance.
fn expected(lines: &[Line], peers: &[&[Line]], added: &[(&str, &str)]) -> Vec<Sample> {
    let mut seen = BTreeSet::new();
    let mut samples = Vec::new();
    for line in lines {
        let Line::Sample(sample, _) = line else { continue };
        let names = label_names(stem(&sample.name), peers);
        let mut sample = Sample { labels: renamed(sample, &names, added), ..sample.clone() };
        sample
            .labels
            .extend(added.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        if seen.insert((sample.name.clone(), sample.labels.clone(), sample.timestamp)) {
            samples.push(sample);
        }
    }
    samples
}

/// The common part of the sample names of a family.
fn stem(name: &str) -> &str {
    let suffixes = ["_sum", "_count", "_bucket"].iter();
    let mut stems = suffixes.filter_map(|suffix| name.strip_suffix(suffix));
    stems.find(|stem| !stem.is_empty()).map_or(name, stem)
}

/// The label names of a family.
fn label_names<'a>(family: &str, instances: &[&'a [Line]]) -> BTreeSet<&'a str> {
    let lines = instances.iter().copied().flatten();
    let samples = lines.filter_map(|line| match line {
        Line::Sample(sample, _) => Some(sample),
        _ => None,
    });
    let of_family = samples.filter(|sample| stem(&sample.name) == family);
    of_family.flat_map(|sample| sample.labels.keys().map(String::as_str)).collect()
}

fn renamed(
    sample: &Sample,
    original: &BTreeSet<&str>,
    added: &[(&str, &str)],
) -> BTreeMap<String, String> {
    let is_added = |name: &str| added.iter().any(|(added, _)| *added == name);
    let mut clashing: Vec<_> = original.iter().filter(|name| is_added(name)).collect();
    clashing.sort_by_key(|name| name.len());
    let mut names = BTreeMap::<&str, String>::new();
    for name in clashing {
        let mut free = format!("exported_{name}");
        while is_added(&free)
            || original.contains(&*free)
            || names.values().any(|name| *name == free)
        {
            free.insert_str(0, "exported_");
        }
        names.insert(name, free);
    }
    let name = |original: &String| names.get(&**original).unwrap_or(original).clone();
    sample.labels.iter().map(|(original, value)| (name(original), value.clone())).collect()
}

fn sorted(mut samples: Vec<Sample>) -> Vec<Sample> {
    samples.sort();
    samples
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_sample_is_once_in_the_valid_output(
        inputs in prop::collection::vec((instance(), added(), any::<bool>()), 0..4),
        chunk in 0_usize..200,
    ) {
        let parse = || inputs.iter().map(|(lines, added, ends)| parsed(&text(lines, *ends), added)).collect();
        let out = written(merge_of(parse()), 1 << 16);
        let mut owners = BTreeMap::new();
        let samples: Vec<_> = inputs.iter().enumerate().flat_map(|(i, (lines, added, _))| {
            let peers = inputs.iter().filter(|(_, of_peer, _)| of_peer == added);
            let peers: Vec<_> = peers.map(|(lines, _, _)| &lines[..]).collect();
            expected(lines, &peers, added).into_iter().map(move |sample| (i, sample))
        }).collect();
        prop_assert_eq!(parse().iter().map(IndexedBody::samples).sum::<usize>(), samples.len());
        // The first instance with a series keeps its samples.
        let samples: Vec<_> = samples.into_iter().filter(|(i, sample)| {
            let series = (sample.name.clone(), sample.labels.clone());
            *owners.entry(series).or_insert(*i) == *i
        }).map(|(_, sample)| sample).collect();
        prop_assert_eq!(sorted(strict::read(&out, false)), sorted(samples), "{}", out);
        prop_assert_eq!(written(merge_of(parse()), chunk), out, "the chunk length changes the output");
    }

    #[test]
    fn merging_an_output_again_does_not_change_it(
        inputs in prop::collection::vec((instance(), added()), 1..4),
    ) {
        // A label makes the series of instances different. Otherwise duplicates would be removed.
        let instances = inputs.iter().enumerate().map(|(i, (lines, added))| {
            let index = i.to_string();
            let added: Vec<_> = added.iter().copied().chain([("index", &*index), ("nth", &*index)]).collect();
            parsed(&text(lines, true), &added)
        });
        let out = written(merge_of(instances.collect()), 1 << 16);
        let merge = merge_of(vec![parsed(&out, &[])]);
        prop_assert_eq!(merge.stats(), Stats::default());
        prop_assert_eq!(written(merge, 1 << 16), out);
    }

    #[test]
    fn samples_of_a_metric_keep_their_order(lines in instance()) {
        let out = strict::read(&merged(&[&text(&lines, true)]), false);
        for name in NAMES {
            let of_name = |samples: &[Sample]| -> Vec<_> {
                samples.iter().filter(|sample| sample.name == *name).cloned().collect()
            };
            prop_assert_eq!(of_name(&out), of_name(&expected(&lines, &[&lines], &[])));
        }
    }

    #[test]
    fn any_accepted_body_gives_valid_output(
        body in "([#{}=,\"\\\\ \t\r\n]|x|_sum|HELP|TYPE|summary|[a-b]|le|[0-9.]|NaN|é|\0){0,40}",
    ) {
        if let Ok(instance) = parse(body, AddedLabels::new([("a", "1")]), &Limits::default()) {
            let samples = instance.samples();
            prop_assert_eq!(strict::read(&written(merge_of(vec![instance]), 100), false).len(), samples);
        }
    }

    #[test]
    fn any_bytes_are_accepted_or_refused_without_panic(body: Vec<u8>) {
        if let Ok(instance) = parse(body, AddedLabels::new([]), &Limits::default()) {
            strict::read(&written(merge_of(vec![instance]), 100), false);
        }
    }

    #[test]
    fn a_truncated_body_is_refused_or_gives_valid_output(lines in instance(), cut: prop::sample::Index) {
        let text = text(&lines, true);
        let cut = cut.index(text.len() + 1);
        if let Ok(instance) = parse(&text.as_bytes()[..cut], AddedLabels::new([]), &Limits::default()) {
            strict::read(&written(merge_of(vec![instance]), 100), false);
        }
    }
}
