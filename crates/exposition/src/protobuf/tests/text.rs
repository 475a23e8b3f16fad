use super::to_text::ConvertedText;
use super::*;

fn text_of(body: &[u8]) -> (String, Dropped) {
    let ConvertedText { text, dropped, .. } =
        to_text(body, &Limits::default(), usize::MAX).unwrap();
    (String::from_utf8(text).unwrap(), dropped)
}

#[test]
fn golden_bodies_as_text() {
    let none = Dropped::default();
    let cases: [(&[u8], &str, Dropped); 8] = [
        (
            golden::COUNTER,
            r#"# TYPE http_requests counter
# HELP http_requests Requests \"served\"\nby code\\.
http_requests_total{code="200",path="/a\"b\\c\nd"} 1027 1395066363 # {trace_id="abc"} 0.5 1520879607.789
http_requests_created{code="200",path="/a\"b\\c\nd"} 1520430000.123 1395066363
http_requests_total{code="400"} 3
# EOF
"#,
            none,
        ),
        (
            golden::GAUGE,
            "# TYPE temperature_celsius gauge\n# UNIT temperature_celsius celsius\n\
             # HELP temperature_celsius T\ntemperature_celsius -1.5e-07\n\
             temperature_celsius{room=\"é\"} +Inf\n# EOF\n",
            none,
        ),
        (
            golden::UNTYPED,
            "# TYPE \"odd.name\" unknown\n{\"odd.name\",\"a b\"=\"1\"} NaN\n# EOF\n",
            none,
        ),
        (
            golden::SUMMARY,
            "# TYPE rpc_seconds summary\n# UNIT rpc_seconds seconds\n# HELP rpc_seconds S\n\
             rpc_seconds{svc=\"x\",quantile=\"0.5\"} 4773\nrpc_seconds{svc=\"x\",quantile=\"0.99\"} 76656\n\
             rpc_seconds_sum{svc=\"x\"} 17560473.25\nrpc_seconds_count{svc=\"x\"} 2693\n\
             rpc_seconds_created{svc=\"x\"} 5\n# EOF\n",
            none,
        ),
        (
            golden::HISTOGRAM,
            "# TYPE request_bytes histogram\n# HELP request_bytes H\n\
             request_bytes_bucket{h=\"1\",le=\"1.0\"} 1\n\
             request_bytes_bucket{h=\"1\",le=\"1e+06\"} 9 # {t=\"1\"} 7\n\
             request_bytes_bucket{h=\"1\",le=\"+Inf\"} 10\n\
             request_bytes_sum{h=\"1\"} 1000.5\nrequest_bytes_count{h=\"1\"} 10\n\
             request_bytes_created{h=\"1\"} 1.000000005\n# EOF\n",
            none,
        ),
        (
            golden::NATIVE,
            "# TYPE native_seconds histogram\n# HELP native_seconds N\n\
             native_seconds_bucket{n=\"1\",le=\"+Inf\"} 12\nnative_seconds_sum{n=\"1\"} 18.4\n\
             native_seconds_count{n=\"1\"} 12\nnative_seconds_bucket{n=\"2\",le=\"0.5\"} 3\n\
             native_seconds_bucket{n=\"2\",le=\"1.0\"} 7\nnative_seconds_bucket{n=\"2\",le=\"+Inf\"} 12\n\
             native_seconds_sum{n=\"2\"} 18.4\nnative_seconds_count{n=\"2\"} 12\n\
             native_seconds_bucket{n=\"float\",le=\"+Inf\"} 3.5\nnative_seconds_sum{n=\"float\"} 1\n\
             native_seconds_count{n=\"float\"} 3.5\n# EOF\n",
            Dropped { exemplars: 2, created: 0, native_histograms: 3 },
        ),
        (
            golden::GAUGE_HISTOGRAM,
            "# TYPE queue gaugehistogram\n# HELP queue Q\nqueue_bucket{le=\"2.0\"} 3\n\
             queue_bucket{le=\"+Inf\"} 3\nqueue_gsum 4\nqueue_gcount 3\n# EOF\n",
            none,
        ),
        (b"", "# EOF\n", none),
    ];
    for (body, expected, dropped) in cases {
        assert_eq!(text_of(body), (expected.to_owned(), dropped));
    }
    assert_eq!(text_of(golden::HISTOGRAM), text_of(golden::HISTOGRAM_CLOSED));
}

#[test]
fn a_counter_without_total_is_unknown() {
    let lines = "# TYPE x counter\nx 1 # {t=\"1\"} 2\nx_created 3\n";
    let (text, dropped) = text_of(&body(lines));
    assert_eq!(text, "# TYPE x unknown\nx 1\n# EOF\n");
    assert_eq!(dropped, Dropped { exemplars: 1, created: 1, native_histograms: 0 });
    // A counter whose family name belongs to another family is unknown too.
    let lines = "# TYPE x gauge\nx 1\n# TYPE x counter\nx_total 2\n";
    let both = [body("# TYPE x gauge\nx 1\n"), body("# TYPE x counter\nx_total 2\n")].concat();
    let expected = "# TYPE x gauge\nx 1\n# TYPE x_total unknown\nx_total 2\n# EOF\n";
    assert_eq!(text_of(&both).0, expected);
    // The converter uses the second type.
    assert_eq!(from_text(lines.as_bytes()).0.len(), both.len());
}

#[test]
fn text_becomes_the_messages_of_other_implementations() {
    for golden in
        [golden::GAUGE, golden::UNTYPED, golden::GAUGE_HISTOGRAM, golden::HISTOGRAM_CLOSED]
    {
        let (text, _) = text_of(golden);
        assert_eq!(text_of(&from_text(text.as_bytes()).0).0, text);
    }
    let (text, _) = text_of(golden::UNTYPED);
    assert_eq!(from_text(text.as_bytes()).0, golden::UNTYPED);
}

#[test]
fn openmetrics_types_are_converted() {
    let cases = [
        ("# TYPE x counter\nx 1\n", "x", 0),
        ("# TYPE x counter\nx_total 1\n", "x_total", 0),
        ("# TYPE x gauge\nx 1\n", "x", 1),
        ("# TYPE x summary\nx_count 1\nx_sum 1\n", "x", 2),
        ("# TYPE x unknown\nx 1\n", "x", 3),
        ("x 1\n", "x", 3),
        ("# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\n", "x", 4),
        ("# TYPE x gaugehistogram\nx_bucket{le=\"+Inf\"} 1\n", "x", 5),
        ("# TYPE x info\nx_info{a=\"1\"} 1\n", "x_info", 1),
        ("# TYPE x stateset\nx{x=\"a\"} 1\n", "x", 1),
        // Invalid, and still no sample is lost.
        ("# TYPE x histogram\nx 1\n", "x", 3),
        ("# TYPE x gauge\ny 1\n", "y", 3),
        ("# TYPE x counter\nx_created 1\n", "x_created", 1),
    ];
    for (lines, name, number) in cases {
        let body = body(lines);
        let head = [&[0x0a, name.len() as u8][..], name.as_bytes(), &[0x18, number]].concat();
        assert!(body[1..].starts_with(&head), "{lines}: {body:x?}");
    }
}

#[test]
fn counters_of_both_namings_are_two_families() {
    let body = body("# TYPE x counter\n# HELP x h\nx_total 1\nx{a=\"1\"} 2\nx_total{a=\"1\"} 3\n");
    let expected = "# TYPE x_total unknown\n# HELP x_total h\nx_total 1\nx_total{a=\"1\"} 3\n\
        # TYPE x unknown\n# HELP x h\nx{a=\"1\"} 2\n# EOF\n";
    assert_eq!(text_of(&body).0, expected);
}

#[test]
fn samples_of_several_metrics_are_separated() {
    let lines = "# TYPE x histogram\n\
        x_bucket{a=\"1\",le=\"1.0\"} 1\nx_bucket{a=\"1\",le=\"+Inf\"} 1\nx_sum{a=\"1\"} 5\nx_count{a=\"1\"} 1\n\
        x_created{a=\"1\"} 7\n\
        x_bucket{a=\"2\",le=\"1.0\"} 0\nx_bucket{a=\"2\",le=\"+Inf\"} 0\nx_sum{a=\"2\"} 0\nx_count{a=\"2\"} 0\n\
        x_bucket{a=\"2\",le=\"1.0\"} 1 5\nx_bucket{a=\"2\",le=\"+Inf\"} 1 5\nx_sum{a=\"2\"} 1 5\nx_count{a=\"2\"} 1 5\n\
        # TYPE y counter\ny_total 1 1\ny_total 2 2\ny_created 0.5 2\n";
    assert_eq!(shown(&body(lines)), lines);
}

#[test]
fn bounds_can_be_in_any_order() {
    let lines =
        "# TYPE x summary\nx{quantile=\"0.9\"} 1\nx{quantile=\"0.5\"} 2\nx_sum 3\nx_count 4\n";
    assert_eq!(shown(&body(lines)), lines);
}

#[test]
fn a_text_that_becomes_too_long_exceeds_a_limit() {
    let label = "v".repeat(1000);
    let buckets: String =
        (0..1000).map(|i| format!("x_bucket{{l=\"{label}\",le=\"{i}.0\"}} 1\n")).collect();
    let body = body(&format!("# TYPE x histogram\n{buckets}"));
    assert!(body.len() < 50_000);
    let error = to_text(&*body, &unlimited(), 100_000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TextTooLong);
    assert!(to_text(body, &unlimited(), 2_000_000).is_ok());
    // The body is short in protobuf and would be long in text.
    let label = "v".repeat(100_000);
    let buckets: String =
        (0..2000).map(|i| format!("x_bucket{{l=\"{label}\",le=\"{i}.0\"}} 1\n")).collect();
    let body = super::body(&format!("# TYPE x histogram\n{buckets}"));
    assert!(body.len() < 150_000);
    assert_eq!(refused(&body, &Limits::default()).kind(), ErrorKind::TextTooLong);
}

#[test]
fn units_that_text_does_not_allow_are_left_out() {
    let cases = [("x_s", "s", true), ("x", "s", false), ("s", "s", false), ("a.b_s", "s", true)];
    for (name, unit, is_kept) in cases {
        assert_eq!(
            super::super::openmetrics_text::can_be_unit(unit.as_bytes(), name.as_bytes()),
            is_kept
        );
    }
    assert!(!super::super::openmetrics_text::can_be_unit(b"a b", b"x_a b"));
}
