//! Different series stay different when their names are changed.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Format::*, conversion::converted, *};

fn merged_to(output: OutputFormat, bodies: &[(Format, &str)], added: Added<'_>) -> (String, Stats) {
    let reader = Reader::new(output, Limits::default());
    let parse = |&(format, body): &(Format, &str)| {
        reader.parse(body, format, AddedLabels::new(added.iter().copied())).unwrap()
    };
    let merge = Merge::new(output, bodies.iter().map(parse).collect());
    let stats = merge.stats();
    (written(merge, 1 << 16), stats)
}

#[test]
fn metrics_whose_escaped_names_are_equal_stay_two_families() {
    let one = "# HELP \"a.b\" One.\n# TYPE \"a.b\" gauge\n{\"a.b\",\"c.d\"=\"1\"} 5\n";
    let two = "# TYPE a_b counter\na_b{c_d=\"1\"} 7\n";
    let renamed = "# HELP U__a_2e_b One.\n# TYPE U__a_2e_b gauge\nU__a_2e_b{c_d=\"1\"} 5\n";
    let output = OutputFormat::new(Text004);
    // The result does not depend on the order of lines.
    for (body, expected) in [
        ([one, two].concat(), [renamed, two].concat()),
        ([two, one].concat(), [two, renamed].concat()),
    ] {
        assert_eq!(converted(&[(Text100, &body)], output), (expected, Stats::default()));
    }
    // The same in two bodies whose series no added label makes different.
    let both = converted(&[(Text100, one), (Text100, two)], output);
    assert_eq!(both, ([renamed, two].concat(), Stats::default()));
    // If an added label makes them different, names do not depend on other bodies.
    let reader = Reader::new(output, Limits::default());
    let parse = |(i, body): (usize, &str)| {
        let index = i.to_string();
        reader.parse(body, Text100, AddedLabels::new([("index", &*index)])).unwrap()
    };
    let apart = Merge::new(output, [one, two].into_iter().enumerate().map(parse).collect());
    assert_eq!(
        written(apart, 100),
        "# HELP a_b One.\n# TYPE a_b untyped\na_b{c_d=\"1\",index=\"0\"} 5\na_b{c_d=\"1\",index=\"1\"} 7\n"
    );
}

#[test]
fn sample_names_are_compared_too() {
    let body = "# TYPE a_b counter\na_b_total 1\n# TYPE \"a.b_total\" gauge\n{\"a.b_total\"} 2\n\
        # TYPE \"x.y\" histogram\n{\"x.y_bucket\",le=\"+Inf\"} 3\n{\"x.y_count\"} 3\n{\"x.y_sum\"} 3\n\
        # TYPE x_y_count gauge\nx_y_count 4\n# EOF\n";
    let (out, stats) = converted(&[(OpenMetrics100, body)], OutputFormat::new(OpenMetrics001));
    let expected = "# TYPE a_b counter\na_b_total 1\n\
        # TYPE U__a_2e_b__total gauge\nU__a_2e_b__total 2\n\
        # TYPE U__x_2e_y histogram\nU__x_2e_y_bucket{le=\"+Inf\"} 3\nU__x_2e_y_count 3\nU__x_2e_y_sum 3\n\
        # TYPE x_y_count gauge\nx_y_count 4\n# EOF\n";
    assert_eq!((out, stats), (expected.to_owned(), Stats::default()));
}

#[test]
fn a_name_with_the_prefix_of_escaped_names_is_escaped_again() {
    let body = "{\"a.b\"} 1\na_b 2\nU__a_2e_b 3\n";
    let (out, _) = converted(&[(Text100, body)], OutputFormat::new(Text004));
    assert_eq!(out, "U__U____a__2e__b 1\na_b 2\nU__a_2e_b 3\n");
    let values = OutputFormat::new(Text100).with_escaping(Escaping::Values);
    assert_eq!(converted(&[(Text100, body)], values).0, out);
}

#[test]
fn labels_of_one_family_that_become_equal_get_different_names() {
    let body = "x{\"a.b\"=\"1\"} 1\nx{a_b=\"1\"} 2\ny{\"a.b\"=\"1\"} 3\n";
    let (out, stats) = converted(&[(Text100, body)], OutputFormat::new(Text004));
    assert_eq!(out, "x{U__a_2e_b=\"1\"} 1\nx{a_b=\"1\"} 2\ny{a_b=\"1\"} 3\n");
    assert_eq!(stats, Stats { renamed_labels: 1, ..Stats::default() });
    // On one line, and with an added label or the reserved label.
    let body = "x{\"a.b\"=\"1\",a_b=\"2\"} 1\nz{\"a.b\"=\"3\",\"a-b\"=\"4\"} 2\n";
    let (out, _) = converted(&[(Text100, body)], OutputFormat::new(Text004));
    assert_eq!(out, "x{U__a_2e_b=\"1\",a_b=\"2\"} 1\nz{U__a_2e_b=\"3\",a_b=\"4\"} 2\n");
    let body = "x{\"a.b\"=\"1\",\"__name_.\"=\"2\"} 1\n";
    let (out, stats) = merged_to(OutputFormat::new(Text004), &[(Text100, body)], &[("a_b", "0")]);
    assert_eq!(out, "x{U__a_2e_b=\"1\",U______name___2e_=\"2\",a_b=\"0\"} 1\n");
    assert_eq!(stats, Stats { renamed_labels: 2, ..Stats::default() });
}

#[test]
fn a_label_is_exported_under_one_name_in_all_samples_of_a_family() {
    let body = "m{instance=\"a\"} 1\nm{exported_instance=\"a\"} 2\nn{instance=\"a\"} 3\n";
    for output in [OutputFormat::new(Text004), OutputFormat::new(OpenMetrics100)] {
        let (out, stats) = merged_to(output, &[(Text004, body)], &[("instance", "i")]);
        let expected = "m{exported_exported_instance=\"a\",instance=\"i\"} 1\n\
            m{exported_instance=\"a\",instance=\"i\"} 2\nn{exported_instance=\"a\",instance=\"i\"} 3\n";
        assert_eq!(out.trim_end_matches("# EOF\n"), expected);
        assert_eq!(stats, Stats { renamed_labels: 2, ..Stats::default() });
    }
}

#[test]
fn bounds_of_equal_value_make_a_family_unknown() {
    let histogram = "# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"1.0\"} 2\n\
        x_bucket{le=\"+Inf\"} 3\nx_sum 3\nx_count 3\n";
    let summary =
        "# TYPE y summary\ny{quantile=\"0.5\"} 1\ny{quantile=\".5\"} 2\ny_sum 3\ny_count 4\n";
    let body = [histogram, summary].concat();
    let expected = "# TYPE x_bucket unknown\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"1.0\"} 2\n\
        x_bucket{le=\"+Inf\"} 3\n# TYPE x_sum unknown\nx_sum 3\n# TYPE x_count unknown\nx_count 3\n\
        # TYPE y unknown\ny{quantile=\"0.5\"} 1\ny{quantile=\".5\"} 2\n\
        # TYPE y_sum unknown\ny_sum 3\n# TYPE y_count unknown\ny_count 4\n# EOF\n";
    let (out, stats) = converted(&[(Text004, &body)], OutputFormat::new(OpenMetrics100));
    assert_eq!(out, expected);
    assert_eq!(stats, Stats { spec_violations: 2, ..Stats::default() });
    // The text format keeps bounds as they are.
    assert_eq!(converted(&[(Text004, &body)], OutputFormat::new(Text004)).0, body);
    // So does protobuf, where they become labels.
    let protobuf = OutputFormat::new(Protobuf);
    let instance = Reader::new(protobuf, Limits::default())
        .parse(&*body, Text004, AddedLabels::new([]))
        .unwrap();
    assert_eq!(instance.samples(), 9);
    for number in ["1e0", "+1", "01", "1.", "1.00"] {
        let body = histogram.replace("\"1.0\"", &format!("\"{number}\""));
        let (out, _) = converted(&[(Text004, &body)], OutputFormat::new(OpenMetrics001));
        assert!(out.contains(&format!("x_bucket{{le=\"{number}\"}} 2\n")), "{out}");
        assert!(out.contains("x_bucket{le=\"1\"} 1\n"), "{out}");
    }
}

#[test]
fn timestamps_that_differ_below_a_millisecond_are_counted_separately() {
    let body = "x 1 1.0001\nx 2 1.0002\nx 3 1.0001\n# EOF\n";
    let lost = Stats { duplicates: 1, lost_timestamps: 1, ..Stats::default() };
    for format in [Text004, Text100, Protobuf] {
        let output = OutputFormat::new(format);
        let instance = Reader::new(output, Limits::default())
            .parse(body, OpenMetrics100, AddedLabels::new([]))
            .unwrap();
        assert_eq!(instance.samples(), 1);
        assert_eq!(Merge::new(output, vec![instance]).stats(), lost, "{format}");
    }
}

#[test]
fn sums_and_counts_that_only_protobuf_has_are_counted() {
    let text = "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 3\n# TYPE y summary\ny{quantile=\"0.5\"} 1\n\
        y_sum 1\n# TYPE z summary\nz_sum 1\nz_count 1\n";
    let stats = merged_stats(OutputFormat::new(Protobuf), text);
    assert_eq!(stats, Stats { synthesized: 3, ..Stats::default() });
    let stats = merged_stats(OutputFormat::new(OpenMetrics100), text);
    assert_eq!(stats, Stats::default());
}

fn merged_stats(output: OutputFormat, body: &str) -> Stats {
    let reader = Reader::new(output, Limits::default());
    let instance = reader.parse(body, Text004, AddedLabels::new([])).unwrap();
    Merge::new(output, vec![instance]).stats()
}

/// A sample with a unique value.
#[derive(Clone, Debug)]
struct Unique {
    name: &'static str,
    labels: BTreeMap<&'static str, &'static str>,
    /// In microseconds.
    timestamp: Option<u32>,
    value: usize,
}

const NAMES: &[&str] = &[
    "a.b",
    "a_b",
    "a-b",
    "a.b_total",
    "a_b_total",
    "U__a_2e_b",
    "a.b_bucket",
    "a_b_bucket",
    "a.b_sum",
    "a_dot_b",
];
const LABELS: &[&str] =
    &["l.m", "l_m", "l-m", "U__l_2e_m", "le", "quantile", "i", "exported_i", "exported_exported_i"];
const VALUES: &[&str] = &["1", "1.0", "1e0", "+1", "01", "x", "+Inf"];

prop_compose! {
    fn unique()(
        name in prop::sample::select(NAMES),
        labels in prop::collection::btree_map(
            prop::sample::select(LABELS), prop::sample::select(VALUES), 0..3,
        ),
        timestamp in prop::sample::select(&[1_000_000_u32, 1_000_100, 1_000_200, 2_000_000][..]),
    ) -> Unique {
        Unique { name, labels, timestamp: Some(timestamp), value: 0 }
    }
}

/// The types of the families and the samples of one body. All samples have a timestamp, or none
/// has.
type Body = (Vec<(&'static str, &'static str)>, Vec<Unique>);

fn body(is_timed: bool) -> impl Strategy<Value = Body> {
    let metric_type =
        prop::sample::select(&["counter", "gauge", "histogram", "summary", "untyped"][..]);
    let types = prop::collection::vec((prop::sample::select(NAMES), metric_type), 0..4);
    let samples = prop::collection::vec(unique(), 0..8).prop_map(move |mut samples| {
        for sample in &mut samples {
            sample.timestamp = sample.timestamp.filter(|_| is_timed);
        }
        samples
    });
    (types, samples)
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn text((types, samples): &Body, source: Format) -> String {
    let mut text = String::new();
    for (i, (name, metric_type)) in types.iter().enumerate() {
        if types.iter().take(i).all(|(earlier, _)| earlier != name) {
            text += &format!("# TYPE {} {metric_type}\n", quoted(name));
        }
    }
    for sample in samples {
        let labels: String = (sample.labels.iter())
            .map(|(name, value)| format!(",{}=\"{value}\"", quoted(name)))
            .collect();
        text += &format!("{{{}{labels}}} {}", quoted(sample.name), sample.value);
        match (sample.timestamp, source) {
            (None, _) => {}
            (Some(micros), OpenMetrics100) => text += &format!(" {:.4}", f64::from(micros) / 1e6),
            (Some(micros), _) => text += &format!(" {}", micros / 1000),
        }
        text.push('\n');
    }
    if source == OpenMetrics100 {
        text += "# EOF\n";
    }
    text
}

/// The values of the samples in `out`.
fn values(out: &str, output: OutputFormat) -> Vec<usize> {
    let has_quotes = output.escaping() == Escaping::AllowUtf8;
    let values: Vec<String> = match output.format() {
        Text004 | Text100 => {
            strict::read(out, has_quotes).into_iter().map(|sample| sample.value).collect()
        }
        _ => strict_openmetrics::read(out, has_quotes).into_iter().map(|one| one.value).collect(),
    };
    let mut values: Vec<_> =
        values.iter().map(|value| value.parse::<f64>().unwrap() as usize).collect();
    values.sort_unstable();
    values
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_is_the_union_of_its_bodies(
        mut bodies in any::<bool>().prop_flat_map(|timed| prop::collection::vec(body(timed), 1..3)),
        source in prop::sample::select(&[Text100, OpenMetrics100][..]),
        output in conversion_properties::any_escaping(),
        is_labelled: bool,
    ) {
        for (i, sample) in bodies.iter_mut().flat_map(|(_, samples)| samples).enumerate() {
            sample.value = 1000 + i;
        }
        let is_millis = !matches!(
            (source, output.format()),
            (OpenMetrics100, OpenMetrics001 | OpenMetrics100),
        );
        let (mut seen, mut owners) = (BTreeSet::new(), BTreeMap::new());
        let expected: Vec<_> = (bodies.iter().enumerate())
            .flat_map(|(i, (_, samples))| samples.iter().map(move |sample| (i, sample)))
            .filter(|(i, sample)| {
                let time = sample.timestamp.map(|time| if is_millis { time / 1000 } else { time });
                let series = (is_labelled.then_some(*i), sample.name, sample.labels.clone());
                // The first body with a series keeps its samples.
                *owners.entry(series.clone()).or_insert(*i) == *i && seen.insert((series, time))
            })
            .map(|(_, sample)| sample.value)
            .collect();
        let reader = Reader::new(output, Limits::default());
        let instances = bodies.iter().enumerate().map(|(i, body)| {
            let index = i.to_string();
            let added = is_labelled.then_some(("i", &*index));
            reader.parse(text(body, source), source, AddedLabels::new(added)).unwrap()
        });
        let merge = Merge::new(output, instances.collect());
        let out = written(merge, 1 << 16);
        let mut found = values(&out, output);
        // The type of a family in one body can change how the names and bounds of that body are
        // written: `dots` doubles an underscore in a name and not in a suffix, and bounds of a
        // summary are canonical. Without added labels both bodies then have the series, and none is
        // lost.
        let may_differ = output.escaping() == Escaping::Dots
            || (bodies.iter().flat_map(|(types, _)| types))
                .any(|(_, metric_type)| ["histogram", "summary"].contains(metric_type));
        if !is_labelled && may_differ {
            found.retain(|value| expected.contains(value));
        }
        prop_assert_eq!(found, expected, "{}", out);
    }
}
