//! Rules, exemplars and the end of OpenMetrics.

use super::{Format::*, conversion::converted, *};

/// Merges bodies of one format to OpenMetrics.
fn merged_from(format: Format, bodies: &[&str]) -> (String, Stats) {
    let bodies: Vec<_> = bodies.iter().map(|&body| (format, body)).collect();
    converted(&bodies, OutputFormat::new(OpenMetrics100))
}

fn refused_from(format: Format, output: OutputFormat, body: &str) -> (usize, ErrorKind) {
    let reader = Reader::new(output, Limits::default());
    match reader.parse(body, format, AddedLabels::new([])) {
        Ok(_) => panic!("{body:?} is accepted"),
        Err(error) => (error.line(), error.kind()),
    }
}

/// A family that a strict parser would refuse becomes untyped.
#[test]
fn a_family_that_violates_a_rule_is_unknown() {
    let cases = [
        (Text004, "# TYPE x_total counter\nx_total -1\n", "# TYPE x_total unknown\nx_total -1\n"),
        (Text004, "# TYPE x_total counter\nx_total NaN\n", "# TYPE x_total unknown\nx_total NaN\n"),
        (
            Text004,
            "# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_sum 3\nx_count 2\n",
            "# TYPE x_bucket unknown\nx_bucket{le=\"1.0\"} 1\n# TYPE x_sum unknown\nx_sum 3\n# TYPE x_count unknown\nx_count 2\n",
        ),
        (
            Text004,
            "# HELP x Sizes.\n# TYPE x histogram\nx_bucket{le=\"+Inf\"} 2\nx_count 2\n",
            "# TYPE x_bucket unknown\n# HELP x_bucket Sizes.\nx_bucket{le=\"+Inf\"} 2\n\
             # TYPE x_count unknown\n# HELP x_count Sizes.\nx_count 2\n",
        ),
        (
            Text004,
            "# TYPE x histogram\nx_bucket{le=\"1\"} 3\nx_bucket{le=\"+Inf\"} 2\nx_sum 1\nx_count 2\n",
            "# TYPE x_bucket unknown\nx_bucket{le=\"1.0\"} 3\nx_bucket{le=\"+Inf\"} 2\n\
             # TYPE x_sum unknown\nx_sum 1\n# TYPE x_count unknown\nx_count 2\n",
        ),
        (
            Text004,
            "# TYPE x summary\nx{quantile=\"2\"} 1\nx_sum 1\nx_count 1\n",
            "# TYPE x unknown\nx{quantile=\"2.0\"} 1\n# TYPE x_sum unknown\nx_sum 1\n# TYPE x_count unknown\nx_count 1\n",
        ),
        (OpenMetrics100, "# TYPE x info\nx_info 2\n# EOF\n", "# TYPE x_info unknown\nx_info 2\n"),
        (
            OpenMetrics100,
            "# TYPE x stateset\nx{x=\"a\"} 2\n# EOF\n",
            "# TYPE x unknown\nx{x=\"a\"} 2\n",
        ),
        (
            OpenMetrics100,
            "# TYPE x stateset\nx{a=\"b\"} 1\n# EOF\n",
            "# TYPE x unknown\nx{a=\"b\"} 1\n",
        ),
    ];
    for (format, body, expected) in cases {
        let spec_violations = Stats { spec_violations: 1, ..Stats::default() };
        assert_eq!(
            merged_from(format, &[body]),
            (format!("{expected}# EOF\n"), spec_violations),
            "{body}"
        );
    }
    // The unit must be the last word of the name, and some types have no unit.
    let body = "# TYPE x gauge\n# UNIT x seconds\nx 1\n# EOF\n";
    let stats = Stats { spec_violations: 1, lost_units: 1, ..Stats::default() };
    assert_eq!(
        merged_from(OpenMetrics100, &[body]),
        ("# TYPE x unknown\nx 1\n# EOF\n".to_owned(), stats)
    );
    // A violation by one instance changes the type, but no sample is lost.
    let bodies = [
        "# TYPE x_total counter\nx_total{i=\"0\"} 1\n",
        "# TYPE x_total counter\nx_total{i=\"1\"} -1\n",
    ];
    let (out, _) = merged_from(Text004, &bodies);
    assert_eq!(out, "# TYPE x_total unknown\nx_total{i=\"0\"} 1\nx_total{i=\"1\"} -1\n# EOF\n");
}

#[test]
fn a_counter_loses_its_type_if_its_name_is_taken() {
    let expected = "# TYPE x gauge\nx 1\n# TYPE x_total unknown\nx_total 2\n# EOF\n";
    let conflict = Stats { type_conflicts: 1, ..Stats::default() };
    let (gauge, counter) = ("# TYPE x gauge\nx 1\n", "# TYPE x_total counter\nx_total 2\n");
    assert_eq!(
        merged_from(Text004, &[&[gauge, counter].concat()]),
        (expected.to_owned(), conflict)
    );
    assert_eq!(merged_from(Text004, &[gauge, counter]), (expected.to_owned(), conflict));
    let (out, stats) = merged_from(Text004, &[counter, gauge]);
    assert_eq!(out, "# TYPE x_total unknown\nx_total 2\n# TYPE x gauge\nx 1\n# EOF\n");
    assert_eq!(stats, conflict);
    // A sample without a type claims the name too.
    let (out, _) = merged_from(Text004, &["x 1\n", counter]);
    assert_eq!(out, "x 1\n# TYPE x_total unknown\nx_total 2\n# EOF\n");
    let (out, _) = merged_from(Text004, &["# TYPE x_info gauge\nx_info 1\n"]);
    assert_eq!(out, "# TYPE x_info gauge\nx_info 1\n# EOF\n");
}

#[test]
fn types_that_differ_make_a_family_unknown() {
    let om = "# TYPE x counter\nx_total 1\nx_created 5\n# EOF\n";
    let text = "# TYPE x_total gauge\nx_total{i=\"1\"} 2\n";
    let (out, stats) =
        converted(&[(OpenMetrics100, om), (Text004, text)], OutputFormat::new(OpenMetrics100));
    let expected = "# TYPE x_total unknown\nx_total 1\nx_total{i=\"1\"} 2\n# TYPE x_created unknown\nx_created 5\n# EOF\n";
    assert_eq!((&*out, stats), (expected, Stats { type_conflicts: 1, ..Stats::default() }));
}

#[test]
fn exemplars_are_kept_if_the_type_allows_them() {
    let long = "é".repeat(127);
    let carried = [
        "# TYPE x counter\nx_total 1 # {trace_id=\"a\\\"b\"} 0.5 1.5\n# EOF\n".to_owned(),
        "# TYPE x counter\nx_total 1 5.25 # {} 1\n# EOF\n".to_owned(),
        "# TYPE x histogram\nx_bucket{le=\"1.0\"} 1 # {a=\"b\",c=\"d\"} 1\nx_bucket{le=\"+Inf\"} 2\n# EOF\n".to_owned(),
        "# TYPE x gaugehistogram\nx_bucket{le=\"+Inf\"} 2 # {a=\"b\"} 1\n# EOF\n".to_owned(),
        format!("# TYPE x counter\nx_total 1 # {{a=\"{long}\"}} 1\n# EOF\n"),
    ];
    for body in carried {
        assert_eq!(merged_from(OpenMetrics100, &[&body]), (body, Stats::default()));
    }
    let exemplar = " # {a=\"b\"} 1";
    let lost = [
        format!("# TYPE x counter\nx_total 1 # {{a=\"{long}é\"}} 1\n# EOF\n"),
        "# TYPE x counter\nx_total 1\nx_created 1 # {a=\"b\"} 1\n# EOF\n".to_owned(),
        "# TYPE x gauge\nx 1 # {a=\"b\"} 1\n# EOF\n".to_owned(),
        "x_total 1 # {a=\"b\"} 1\n# EOF\n".to_owned(),
        "# TYPE x info\nx_info 1 # {a=\"b\"} 1\n# EOF\n".to_owned(),
        "# TYPE x summary\nx_sum 1 # {a=\"b\"} 1\nx_count 1\n# EOF\n".to_owned(),
        "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 2\nx_count 2 # {a=\"b\"} 1\nx_sum 1\n# EOF\n"
            .to_owned(),
    ];
    for body in lost {
        let expected = body.replace(exemplar, "").replace(&format!(" # {{a=\"{long}é\"}} 1"), "");
        let stats = Stats { lost_exemplars: 1, ..Stats::default() };
        assert_eq!(merged_from(OpenMetrics100, &[&body]), (expected, stats), "{body}");
    }
    // Exemplars are written in the canonical form.
    let (out, _) = merged_from(
        OpenMetrics100,
        &["# TYPE x counter\nx_total 1  #{ a = \"b\", }0.5  1 \n# EOF\n"],
    );
    assert_eq!(out, "# TYPE x counter\nx_total 1 # {a=\"b\"} 0.5 1\n# EOF\n");
    // Samples of an instance without the type belong to the counter too.
    let bodies = [
        "# TYPE x counter\nx_total{i=\"0\"} 1\n# EOF\n",
        "x_total{i=\"1\"} 1 # {a=\"b\"} 1\n# EOF\n",
    ];
    let (out, _) = merged_from(OpenMetrics100, &bodies);
    assert_eq!(
        out,
        "# TYPE x counter\nx_total{i=\"0\"} 1\nx_total{i=\"1\"} 1 # {a=\"b\"} 1\n# EOF\n"
    );
}

#[test]
fn a_body_and_a_merge_have_one_eof() {
    for output in [OutputFormat::new(OpenMetrics100), OutputFormat::new(Text004)] {
        for format in [OpenMetrics001, OpenMetrics100] {
            let refused = |body| refused_from(format, output, body);
            assert_eq!(refused(""), (1, ErrorKind::MissingEof));
            assert_eq!(refused("x 1\ny 1\n"), (2, ErrorKind::MissingEof));
            assert_eq!(refused("x 1\n# EO"), (2, ErrorKind::MissingEof));
            assert_eq!(refused("x 1\n# EOF\ny 1\n"), (3, ErrorKind::AfterEof));
            assert_eq!(refused("x 1\n# EOF\n# EOF\n"), (3, ErrorKind::AfterEof));
            assert_eq!(refused("# EOF\n\n# HELP x Text.\n"), (3, ErrorKind::AfterEof));
            for body in ["x 1\n# EOF", "x 1\r\n# EOF\r\n", "x 1\n\n# a comment\n# EOF\n\n \n"] {
                let (out, _) =
                    converted(&[(format, body), (format, "# EOF\n")], OutputFormat::new(format));
                assert_eq!(out, "x 1\n# EOF\n");
            }
        }
    }
}

#[test]
fn metadata_is_written_once_and_in_one_order() {
    let bodies = [
        "# HELP x_s One.\n# UNIT x_s s\n# TYPE x_s gauge\nx_s{i=\"0\"} 1\n# EOF\n",
        "# TYPE x_s gauge\n# HELP x_s Two.\n# HELP x_s Three.\n# UNIT x_s s\nx_s{i=\"1\"} 1\n# TYPE x_s gauge\n# EOF\n",
    ];
    let expected =
        "# TYPE x_s gauge\n# UNIT x_s s\n# HELP x_s One.\nx_s{i=\"0\"} 1\nx_s{i=\"1\"} 1\n# EOF\n";
    assert_eq!(merged_from(OpenMetrics100, &bodies), (expected.to_owned(), Stats::default()));
}
