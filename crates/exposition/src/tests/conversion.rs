//! Conversions between formats, one case for each difference.

use super::{Format::*, *};

const NONE: Stats = Stats {
    type_conflicts: 0,
    spec_violations: 0,
    renamed_labels: 0,
    duplicates: 0,
    lost_timestamps: 0,
    synthesized: 0,
    lost_exemplars: 0,
    lost_units: 0,
    lost_native_histograms: 0,
    lost_created: 0,
};

/// Merges bodies in these formats. The result must not depend on the chunk length, and must be the
/// same when merged again.
pub(super) fn converted(bodies: &[(Format, &str)], output: OutputFormat) -> (String, Stats) {
    let merge = || {
        let reader = Reader::new(output, Limits::default());
        let parse = |&(format, body): &(Format, &str)| {
            let instance = reader.parse(body, format, AddedLabels::new([]));
            instance.unwrap_or_else(|error| panic!("{body:?} is refused: {error}"))
        };
        Merge::new(output, bodies.iter().map(parse).collect())
    };
    let out = written(merge(), 1 << 16);
    for chunk in [0, 1, 7, 50] {
        assert_eq!(written(merge(), chunk), out, "chunks of {chunk}");
    }
    let again =
        Reader::new(output, Limits::default()).parse(&*out, output.format(), AddedLabels::new([]));
    let again = Merge::new(output, vec![again.unwrap()]);
    assert_eq!((again.stats(), written(again, 100)), (NONE, out.clone()));
    (out, merge().stats())
}

/// Asserts the output and the statistics for each body.
fn assert_converted(from: Format, to: Format, cases: &[(&str, &str, Stats)]) {
    for (body, expected, stats) in cases {
        let (out, found) = converted(&[(from, body)], OutputFormat::new(to));
        assert_eq!((&*out, found), (*expected, *stats), "{body}");
    }
}

#[test]
fn openmetrics_becomes_text() {
    let lost_exemplars = |lost_exemplars| Stats { lost_exemplars, ..NONE };
    let lost_units = Stats { lost_units: 1, ..NONE };
    let cases = [
        ("# EOF\n", "", NONE),
        ("# TYPE x counter\nx_total 1.0\n# EOF\n", "# TYPE x_total counter\nx_total 1.0\n", NONE),
        // The `_created` samples of a counter and a histogram become gauges before the next family.
        (
            "# HELP x Things.\n# TYPE x counter\nx_total{a=\"1\"} 1\nx_created{a=\"1\"} 5.5\nx_total{a=\"2\"} 2\n\
             x_created{a=\"2\"} 6\n# TYPE y gauge\ny 1\n# EOF\n",
            "# HELP x_total Things.\n# TYPE x_total counter\nx_total{a=\"1\"} 1\nx_total{a=\"2\"} 2\n\
             # HELP x_created Things.\n# TYPE x_created gauge\nx_created{a=\"1\"} 5.5\nx_created{a=\"2\"} 6\n\
             # TYPE y gauge\ny 1\n",
            NONE,
        ),
        (
            "# TYPE x histogram\nx_bucket{le=\"1.0\"} 1\nx_bucket{le=\"+Inf\"} 2\nx_count 2\nx_sum 3\nx_created 5\n\
             # TYPE y gauge\ny 1\n# EOF\n",
            "# TYPE x histogram\nx_bucket{le=\"1.0\"} 1\nx_bucket{le=\"+Inf\"} 2\nx_count 2\nx_sum 3\n\
             # TYPE x_created gauge\nx_created 5\n# TYPE y gauge\ny 1\n",
            NONE,
        ),
        (
            "# TYPE x summary\nx{quantile=\"0.5\"} 1\nx_count 2\nx_sum 3\nx_created 5\n# EOF\n",
            "# TYPE x summary\nx{quantile=\"0.5\"} 1\nx_count 2\nx_sum 3\n# TYPE x_created gauge\nx_created 5\n",
            NONE,
        ),
        (
            "# TYPE x info\nx_info{v=\"1\"} 1\n# EOF\n",
            "# TYPE x_info gauge\nx_info{v=\"1\"} 1\n",
            NONE,
        ),
        (
            "# TYPE x stateset\nx{x=\"on\"} 1\nx{x=\"off\"} 0\n# EOF\n",
            "# TYPE x gauge\nx{x=\"on\"} 1\nx{x=\"off\"} 0\n",
            NONE,
        ),
        ("# TYPE x unknown\nx 1\n# EOF\n", "# TYPE x untyped\nx 1\n", NONE),
        // Buckets and counts of a gauge histogram can decrease, which no type of the text format
        // allows.
        (
            "# TYPE x gaugehistogram\nx_bucket{le=\"+Inf\"} 2\nx_gcount 2\nx_gsum -3\n# EOF\n",
            "# TYPE x_bucket untyped\nx_bucket{le=\"+Inf\"} 2\n# TYPE x_gsum untyped\nx_gsum -3\n\
             # TYPE x_gcount untyped\nx_gcount 2\n",
            NONE,
        ),
        // Seconds become milliseconds, and further digits are cut off.
        (
            "x 1 1520879607.789\ny 1 1.5e9\nz 1 0.0019\n# EOF\n",
            "x 1 1520879607789\ny 1 1500000000000\nz 1 1\n",
            NONE,
        ),
        ("x 1 1.0001\nx 2 1.0002\n# EOF\n", "x 1 1000\n", Stats { lost_timestamps: 1, ..NONE }),
        (
            "# TYPE x counter\nx_total 1 # {a=\"b\"} 0.5\n# TYPE y gauge\ny 1 5 # {} 1 2\n# EOF\n",
            "# TYPE x_total counter\nx_total 1\n# TYPE y gauge\ny 1 5000\n",
            lost_exemplars(2),
        ),
        (
            "# TYPE x_seconds gauge\n# UNIT x_seconds seconds\nx_seconds 1\n# EOF\n",
            "# TYPE x_seconds gauge\nx_seconds 1\n",
            lost_units,
        ),
        ("# HELP x \\\"a\\\\b\\n\nx 1\n# EOF\n", "# HELP x \"a\\\\b\\n\nx 1\n", NONE),
        // The name is that of another family's samples.
        (
            "# TYPE x gauge\nx 1\n# TYPE x_total unknown\nx_total 2\n# EOF\n",
            "# TYPE x gauge\nx 1\n# TYPE x_total untyped\nx_total 2\n",
            NONE,
        ),
    ];
    assert_converted(OpenMetrics100, Text004, &cases);
    assert_converted(OpenMetrics001, Text100, &cases);
}

#[test]
fn text_becomes_openmetrics() {
    let cases = [
        ("", "# EOF\n", NONE),
        ("# TYPE x_total counter\nx_total 1\n", "# TYPE x counter\nx_total 1\n# EOF\n", NONE),
        ("# TYPE x counter\nx 1\n", "# TYPE x unknown\nx 1\n# EOF\n", NONE),
        ("# TYPE x untyped\nx 1\n", "# TYPE x unknown\nx 1\n# EOF\n", NONE),
        ("x 1\n", "x 1\n# EOF\n", NONE),
        (
            "x 1 1520879607789\ny 1 1500\nz 1 0\n",
            "x 1 1520879607.789\ny 1 1.5\nz 1 0\n# EOF\n",
            NONE,
        ),
        (
            "# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"2e6\"} 1\nx_bucket{le=\"inf\"} 2\nx_sum 3\nx_count 2\n",
            "# TYPE x histogram\nx_bucket{le=\"1.0\"} 1\nx_bucket{le=\"2e+06\"} 1\nx_bucket{le=\"+Inf\"} 2\nx_sum 3\nx_count 2\n# EOF\n",
            NONE,
        ),
        (
            "# TYPE x summary\nx{quantile=\".5\"} 1\nx{quantile=\"1\"} NaN\nx_sum 3\nx_count 2\n",
            "# TYPE x summary\nx{quantile=\"0.5\"} 1\nx{quantile=\"1.0\"} NaN\nx_sum 3\nx_count 2\n# EOF\n",
            NONE,
        ),
        // In other types these labels have no meaning.
        ("# TYPE x gauge\nx{le=\"1\"} 1\n", "# TYPE x gauge\nx{le=\"1\"} 1\n# EOF\n", NONE),
        // Families that were split for the text format are joined again.
        (
            "# TYPE x_total counter\nx_total{a=\"1\"} 1\nx_total{a=\"2\"} 2\n\
             # TYPE x_created gauge\nx_created{a=\"1\"} 5\nx_created{a=\"2\"} 6\n",
            "# TYPE x counter\nx_total{a=\"1\"} 1\nx_created{a=\"1\"} 5\nx_total{a=\"2\"} 2\nx_created{a=\"2\"} 6\n# EOF\n",
            NONE,
        ),
        (
            "# TYPE x summary\nx_sum 3\nx_count 2\n# TYPE x_created gauge\nx_created 5\n",
            "# TYPE x summary\nx_sum 3\nx_count 2\nx_created 5\n# EOF\n",
            NONE,
        ),
        (
            "# TYPE x_created gauge\nx_created 5\n# TYPE x histogram\nx_bucket{le=\"+Inf\"} 2\nx_sum 3\nx_count 2\n",
            "# TYPE x histogram\nx_created 5\nx_bucket{le=\"+Inf\"} 2\nx_sum 3\nx_count 2\n# EOF\n",
            NONE,
        ),
        ("# HELP x \"a\\\\b\\n\nx 1\n", "# HELP x \\\"a\\\\b\\n\nx 1\n# EOF\n", NONE),
        (
            "# HELP x Text.\n# TYPE x gauge\nx 1\n",
            "# TYPE x gauge\n# HELP x Text.\nx 1\n# EOF\n",
            NONE,
        ),
        // `UNIT` and `EOF` are comments in the text format.
        ("# UNIT x_s s\nx_s 1\n# EOF\nx_s{a=\"\"} 2\n", "x_s 1\nx_s{a=\"\"} 2\n# EOF\n", NONE),
    ];
    assert_converted(Text004, OpenMetrics100, &cases);
    assert_converted(Text100, OpenMetrics001, &cases);
}

#[test]
fn samples_are_sorted_as_openmetrics_requires() {
    let cases = [
        // Interleaved metrics of one family.
        (
            "# TYPE x summary\nx_sum{a=\"1\"} 1\nx_sum{a=\"2\"} 2\nx_count{a=\"1\"} 3\nx_count{a=\"2\"} 4\n",
            "# TYPE x summary\nx_sum{a=\"1\"} 1\nx_count{a=\"1\"} 3\nx_sum{a=\"2\"} 2\nx_count{a=\"2\"} 4\n# EOF\n",
            NONE,
        ),
        (
            "# TYPE x histogram\nx_count 2\nx_bucket{le=\"+Inf\"} 2\ny 1\nx_bucket{le=\"1\"} 1\nx_sum 3\n",
            "# TYPE x histogram\nx_bucket{le=\"1.0\"} 1\nx_bucket{le=\"+Inf\"} 2\nx_count 2\nx_sum 3\ny 1\n# EOF\n",
            NONE,
        ),
        // Several timestamps.
        (
            "# TYPE x gauge\nx{a=\"1\"} 1 3000\nx{a=\"2\"} 2 1000\nx{a=\"1\"} 3 1000\nx{a=\"1\"} 4 2500\n",
            "# TYPE x gauge\nx{a=\"1\"} 3 1\nx{a=\"1\"} 4 2.5\nx{a=\"1\"} 1 3\nx{a=\"2\"} 2 1\n# EOF\n",
            NONE,
        ),
        // All samples of a series have timestamps, or none has.
        (
            "# TYPE x gauge\nx 1\nx 2 1000\ny 3\n",
            "# TYPE x gauge\nx 2 1\ny 3\n# EOF\n",
            Stats { duplicates: 1, ..NONE },
        ),
    ];
    assert_converted(Text004, OpenMetrics100, &cases);
}
