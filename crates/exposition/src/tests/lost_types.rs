//! Families without their type, and samples that a body has twice.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{conversion_properties::*, *};

const OPENMETRICS: Format = Format::OpenMetrics100;

fn merge(bodies: &[&str], output: Format) -> Merge {
    let output = OutputFormat::new(output).with_escaping(Escaping::AllowUtf8);
    let reader = Reader::new(output, Limits::default());
    let body = |(i, body): (usize, &&str)| {
        let is_openmetrics = body.ends_with("# EOF\n");
        let format = if is_openmetrics { OPENMETRICS } else { TEXT_FORMAT };
        reader.parse(*body, format, AddedLabels::new([("nth", &*i.to_string())])).unwrap()
    };
    Merge::new(output, bodies.iter().enumerate().map(body).collect())
}

/// `body:line family type: reason`.
fn lost(bodies: &[&str], output: Format) -> Vec<String> {
    let lost = merge(bodies, output).lost_types(100);
    let line = |LostType { family, metric_type, reason, location }: &LostType| {
        let line = location.line.unwrap();
        format!("{}:{line} {family} {metric_type}: {reason}", location.instance)
    };
    lost.iter().map(line).collect()
}

#[test]
fn the_violating_line_of_each_body_is_found() {
    let decreasing = "# TYPE h histogram\nh_bucket{le=\"1.0\"} 2\nh_bucket{le=\"2.0\"} 1\n\
        h_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n";
    let fine = "# HELP h A histogram.\nh_bucket{le=\"1.0\"} 2\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n";
    let reason = "histogram: the bucket counts less than the one before it";
    assert_eq!(
        lost(&[decreasing, fine, decreasing], OPENMETRICS),
        [format!("0:3 h {reason}"), format!("2:3 h {reason}")]
    );
    // The text format has no rules in a merge.
    assert_eq!(lost(&[decreasing], TEXT_FORMAT), [""; 0]);
    assert_eq!(merge(&[decreasing, decreasing], OPENMETRICS).lost_types(1).len(), 1);

    let cases: &[(&str, &str)] = &[
        // Samples that are not contiguous are sorted first.
        (
            "# TYPE h histogram\nh_bucket{a=\"1\",le=\"+Inf\"} 1\nh_count{a=\"2\"} 1\n\
             h_sum{a=\"1\"} 1\nh_count{a=\"1\"} 2\nh_sum{a=\"2\"} 1\nh_bucket{a=\"2\",le=\"+Inf\"} 1\n",
            "0:2 h histogram: the count differs from the bucket `+Inf`",
        ),
        (
            "x 1\n# TYPE c_total counter\nc_total 1\nc_total{a=\"1\"} NaN\n",
            "0:4 c_total counter: the value is negative or NaN",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 1\n\
             h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
            "0:3 h histogram: `le` is not a number above that of the bucket before it",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"2\"} 1\nh_bucket{le=\"1\"} 1\n\
             h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
            "0:3 h histogram: `le` is not a number above that of the bucket before it",
        ),
        (
            "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns{quantile=\"0.50\"} 1\ns_sum 1\ns_count 1\n",
            "0:3 s summary: two bounds are the same number",
        ),
        (
            "# TYPE s summary\ns_sum 1 5\ns_count 1\n",
            "0:3 s summary: some samples of the metric have a timestamp and others have none",
        ),
        (
            "# TYPE x gauge\n# UNIT x seconds\nx 1\n# EOF\n",
            "0:2 x gauge: the name does not end in the unit, or the type has no unit",
        ),
        (
            "# TYPE s stateset\ns{a=\"b\"} 1\n# EOF\n",
            "0:2 s stateset: the sample has no label with the name of the family",
        ),
        (
            "# TYPE x info\nx_info 2\n# EOF\n",
            "0:2 x info: the value is not 1, or the sample has a timestamp",
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(lost(&[body], OPENMETRICS), [*expected], "{body}");
    }
}

#[test]
fn contradictions_are_found_in_each_body_that_declares_the_type() {
    let bodies = ["x 1\n", "# TYPE x gauge\nx 1\n", "y 1\n# TYPE x counter\nx 1\n"];
    let expected = [
        "1:1 x gauge: another type is declared too",
        "2:2 x counter: another type is declared too",
    ];
    for output in [TEXT_FORMAT, Format::Text100] {
        assert_eq!(lost(&bodies, output), expected);
    }
    let names = "# TYPE x gauge\nx 1\n# TYPE x_total counter\nx_total 1\n";
    let expected = "0:3 x_total counter: another family has the name of one of its samples";
    assert_eq!(lost(&[names], OPENMETRICS), [expected]);
    assert_eq!(lost(&[names], TEXT_FORMAT), [""; 0]);
}

#[test]
fn types_that_the_output_does_not_have_are_found() {
    let counter = "# TYPE x counter\nx 1\n";
    let expected = "0:1 x counter: the samples are not named with `_total`";
    assert_eq!(lost(&[counter], OPENMETRICS), [expected]);
    assert_eq!(lost(&[counter], TEXT_FORMAT), [""; 0]);
    // A type without samples is not lost.
    assert_eq!(lost(&["# TYPE x counter\n"], OPENMETRICS), [""; 0]);
    let info = "# TYPE x info\nx_info 1\n# TYPE y counter\ny_total 1\ny_created 1\n# EOF\n";
    let expected = "0:1 x_info info: the format does not have the type";
    assert_eq!(lost(&[info], TEXT_FORMAT), [expected]);
    assert_eq!(lost(&[info], OPENMETRICS), [""; 0]);
}

#[test]
fn converted_bodies_have_no_line_numbers() {
    let protobuf = OutputFormat::new(Format::Protobuf);
    let body = "# TYPE x gauge\nx 1\n";
    let reader = Reader::new(protobuf, Limits::default());
    let message = reader.parse(body, TEXT_FORMAT, AddedLabels::new([])).unwrap();
    let mut merge = Merge::new(protobuf, vec![message]);
    assert_eq!(merge.lost_types(1), []);
    let mut bytes = Vec::new();
    while merge.next_chunk(&mut bytes, 100) {}
    let output = OutputFormat::new(TEXT_FORMAT);
    let reader = Reader::new(output, Limits::default());
    let one = reader.parse(bytes, Format::Protobuf, AddedLabels::new([("nth", "0")])).unwrap();
    let other = "# TYPE x counter\nx 1\n";
    let two = reader.parse(other, TEXT_FORMAT, AddedLabels::new([("nth", "1")])).unwrap();
    let lost = Merge::new(output, vec![one, two]).lost_types(10);
    let lines: Vec<_> = lost.iter().map(|one| one.location.line).collect();
    assert_eq!(lines, [None, Some(1)]);
}

#[test]
fn samples_that_a_body_has_twice_are_found() {
    let body = "x{a=\"1\",b=\"2\"} 1\ny 1 5\ny 2 6\n# a comment\nx{b=\"2\",a=\"1\"} 2\ny 3 6\n";
    for output in [TEXT_FORMAT, OPENMETRICS] {
        let merge = merge(&["z 1\n", body], output);
        let found = merge.duplicates_within_bodies(10);
        let lines: Vec<_> = found.iter().map(|one| (one.kept.line, one.dropped.line)).collect();
        assert_eq!(lines, [(Some(1), Some(5)), (Some(3), Some(6))]);
        assert!(found.iter().all(|one| (one.kept.instance, one.dropped.instance) == (1, 1)));
        assert_eq!(found[0].series, "x{b=\"2\",a=\"1\",nth=\"1\"}");
        assert_eq!(merge.stats().duplicates, 2);
        assert_eq!(merge.duplicates_within_bodies(1).len(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_counted_family_is_found(sources in sources(), output in output()) {
        let merge = Merge::new(output, bodies_for(&sources, output));
        let stats = merge.stats();
        let lost = merge.lost_types(usize::MAX);
        let families = |is_counted: fn(LostTypeReason) -> bool| {
            let counted = lost.iter().filter(|one| is_counted(one.reason));
            counted.map(|one| &one.family).collect::<BTreeSet<_>>().len()
        };
        let violations = families(|reason| matches!(reason, LostTypeReason::Rule(_)));
        prop_assert_eq!(violations, stats.spec_violations, "{:?}", lost);
        let conflicts = families(|reason| matches!(reason, LostTypeReason::Conflict(_)));
        // Samples of a counter can go to two families that are in conflict.
        prop_assert!(conflicts <= stats.type_conflicts, "{:?}", lost);
        prop_assert_eq!(conflicts == 0, stats.type_conflicts == 0, "{:?}", lost);
    }

    #[test]
    fn bodies_can_be_indexed_for_another_output(
        sources in sources(), before in output(), output in output(),
    ) {
        let expected = Merge::new(output, bodies_for(&sources, output));
        let reindexed = bodies_for(&sources, before).into_iter().map(|body| body.reindexed(output));
        let reindexed = Merge::new(output, reindexed.collect::<Result<_, _>>().unwrap());
        prop_assert_eq!(reindexed.stats(), expected.stats());
        prop_assert_eq!(written(reindexed, 1 << 16), written(expected, 1 << 16));
    }
}

fn bodies_for(sources: &[Source], output: OutputFormat) -> Vec<IndexedBody> {
    let reader = Reader::new(output, Limits::default());
    let parse = |(i, source): (usize, &Source)| {
        let labels = AddedLabels::new([("index", &*i.to_string())]);
        reader.parse(source.text(), source.format, labels).unwrap()
    };
    sources.iter().enumerate().map(parse).collect()
}
