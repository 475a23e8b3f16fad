//! Accepted and refused input.

use super::*;

#[test]
fn lenient_input_gives_canonical_output() {
    let cases = [
        ("x 1", "x 1\n"),
        ("x 1\r\ny 2\r\n", "x 1\ny 2\n"),
        ("\n \n\t\r\nx 1\n\n\n", "x 1\n"),
        ("# a comment\n#\n#x\n# EOF\nx 1\n# end", "x 1\n"),
        ("\u{feff}# TYPE x gauge\nx 1\n", "# TYPE x gauge\nx 1\n"),
        ("  # TYPE\tx  GAUGE \r\n\tx\t1\t5 \r\n", "# TYPE x gauge\nx 1 5\n"),
        ("# HELP x a\\d \\\\ \\n \\\" \\\r\nx 1\n", "# HELP x a\\\\d \\\\ \\n \\\\\" \\\\\nx 1\n"),
        ("# HELP x   text \nx 1\n", "# HELP x text \nx 1\n"),
        ("# HELP x a\rb\nx 1\n", "# HELP x a\rb\nx 1\n"),
        ("# HELP x one\n# HELP x two\nx 1\n# HELP x three\n", "# HELP x one\nx 1\n"),
        ("# TYPE x gauge\n# TYPE x counter\nx 1\n", "# TYPE x gauge\nx 1\n"),
        ("x 1\n# TYPE x counter\n# HELP x late\n", "# HELP x late\n# TYPE x counter\nx 1\n"),
        ("# TYPE x gauge\n", "# TYPE x gauge\n"),
        ("x{} 1\nx{a=\"b\",} 2\nx {a=\"c\"}3", "x 1\nx{a=\"b\"} 2\nx{a=\"c\"} 3\n"),
        ("x{a=\"C:\\data\"} 1\n", "x{a=\"C:\\\\data\"} 1\n"),
        ("x{a=\"\0\"} 1\n", "x{a=\"\0\"} 1\n"),
        ("x NaN\ny -Inf\nz 1e+06 0\n", "x NaN\ny -Inf\nz 1e+06 0\n"),
    ];
    for (body, expected) in cases {
        assert_eq!(merged(&[body]), expected, "{body:?}");
    }
}

#[test]
fn invalid_bodies_are_refused_at_the_first_invalid_line() {
    let cases: [(&[u8], usize, ErrorKind); 20] = [
        (
            b"<!DOCTYPE html><html><body>Whitelabel Error Page</body></html>\n",
            1,
            ErrorKind::MetricName,
        ),
        (b"{\"status\":\"UP\"}", 1, ErrorKind::LabelName),
        (b"[]", 1, ErrorKind::MetricName),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", 1, ErrorKind::Encoding),
        (b"\x00\x01\x02", 1, ErrorKind::MetricName),
        (b"OK", 1, ErrorKind::Value),
        (b"404 page not found\n", 1, ErrorKind::MetricName),
        (b"Not found 404\n", 1, ErrorKind::Value),
        (b"# TYPE a_ok gauge\na_ok 1\nthis is { not ] a metric\n", 3, ErrorKind::Value),
        (b"x 1\n\n\r\ny{a=\"b", 4, ErrorKind::LabelValue),
        (b"x{a=\"b\nc} 1\n", 1, ErrorKind::LabelValue),
        (b"x 1\nx{a=\"\xff\xfe\"} 1\n", 2, ErrorKind::Encoding),
        (b"x 1\n# HELP x \xff\n", 2, ErrorKind::Encoding),
        (b"x\xff 1\n", 1, ErrorKind::Encoding),
        (b"# TYPE i info\n", 1, ErrorKind::MetricType),
        (b"# TYPE x", 1, ErrorKind::MetricType),
        (b"x{a=\"1\",a=\"2\"} 1\n", 1, ErrorKind::DuplicateLabel),
        (b"x{__name__=\"y\"} 1\n", 1, ErrorKind::ReservedLabel),
        (b"x 1 # {trace_id=\"abc\"} 0.5\n", 1, ErrorKind::Exemplar),
        (b"x 1\r\r\n", 1, ErrorKind::Value),
    ];
    for (body, line, kind) in cases {
        let error = refused(body, &Limits::default());
        assert_eq!(
            (error.line(), error.kind()),
            (line, kind),
            "{:?}",
            String::from_utf8_lossy(body)
        );
        assert!(!error.is_limit());
    }
}

#[test]
fn a_comment_need_not_be_utf_8() {
    let body = b"# caf\xe9\nx{a=\"\xc3\xa9\"} 1\n";
    let instance = parse(&body[..], AddedLabels::new([]), &Limits::default()).unwrap();
    assert_eq!(written(merge_of(vec![instance]), 100), "x{a=\"é\"} 1\n");
}

#[test]
fn an_error_gives_position_and_kind_and_does_not_quote_the_body() {
    let error = refused("x 1\nsecret{ 1\n", &Limits::default());
    assert_eq!(error.to_string(), "line 2: a label name is missing or invalid");
    let instance = parsed("secret 1\n", &[]);
    assert_eq!(format!("{instance:?}"), "IndexedBody { samples: 1, .. }");
}

#[test]
fn each_limit_is_enforced_and_named() {
    let limits = Limits { max_line: 14, max_samples: 3, max_families: 2, max_labels: 1 };
    let at_the_limits = "x{a=\"bcd\"} 1\nx 1\ny 1\n# TYPE y gauge\n";
    let instance = parse(at_the_limits, AddedLabels::new([]), &limits).unwrap();
    assert_eq!(instance.samples(), 3);
    let cases = [
        ("x{a=\"bcdefg\"} 1\n", 1, ErrorKind::LineTooLong),
        ("# too long to be\n", 1, ErrorKind::LineTooLong),
        ("x 1\nx 1\nx 1\nx 1\n", 4, ErrorKind::TooManySamples),
        ("x 1\ny 1\nz 1\n", 3, ErrorKind::TooManyFamilies),
        ("# HELP x\n# HELP y\n# HELP z\n", 3, ErrorKind::TooManyFamilies),
        ("x{a=\"\",b=\"\"}1", 1, ErrorKind::TooManyLabels),
    ];
    for (body, line, kind) in cases {
        let error = refused(body, &limits);
        assert_eq!((error.line(), error.kind()), (line, kind), "{body:?}");
        assert!(error.is_limit(), "{body:?}");
    }
}

/// The test fails by running too long or using too much memory.
#[test]
fn hostile_bodies_take_linear_time() {
    let limits = Limits::default();
    let long_line = format!("x{{a=\"{}\"}} 1\n", "v".repeat(10 << 20));
    assert_eq!(refused(long_line, &limits).kind(), ErrorKind::LineTooLong);

    let many_families: String = (0..100_001).map(|i| format!("x{i} 1\n")).collect();
    assert_eq!(refused(many_families, &limits).line(), 100_001);

    let helps = "# HELP x text\n".repeat(500);
    assert_eq!(merged(&[&helps]), "# HELP x text\n");

    let same = "x{a=\"b\"} 1\n".repeat(100_000);
    assert_eq!(merged(&[&same]), "x{a=\"b\"} 1\n");

    let backslashes = format!("x{{a=\"{}\"}} 1\n", "\\".repeat(1 << 19));
    assert_eq!(merged(&[&backslashes]), backslashes);

    // Each label collides, and so do most of its new names.
    let names: Vec<String> = (0..60).map(|i| "exported_".repeat(i) + "a").collect();
    let labels: Vec<String> = names.iter().map(|name| format!("{name}=\"1\"")).collect();
    let line = format!("x{{{}}} 1\n", labels.join(","));
    let (out, stats) = merged_with(&line, &[("a", "0")]);
    assert!(out.starts_with(&format!("x{{{}a=\"1\",exported_a=", "exported_".repeat(60))));
    assert_eq!(stats.renamed_labels, 1);

    let limits = Limits { max_labels: 1 << 20, ..limits };
    let labels: Vec<String> = (0..80_000).map(|i| format!("l{i}=\"\"")).collect();
    let line = format!("x{{{}}} 1\n", labels.join(","));
    assert!(parse(line, AddedLabels::new([("l1", "")]), &limits).is_ok());
}

#[test]
fn a_line_break_in_a_label_value_is_accepted_as_in_prometheus() {
    let body = "page_hits{path=\"/a\nb\"} 1\npage_hits{path=\"\r\n\n\"} 2\n# HELP x \"\nx 3\n";
    let expected =
        "page_hits{path=\"/a\\nb\"} 1\npage_hits{path=\"\r\\n\\n\"} 2\n# HELP x \"\nx 3\n";
    assert_eq!(merged(&[body]), expected);
    let (out, _) = merged_with("x{a=\"\n\",i=\"1\"} 1\n", &[("i", "0")]);
    assert_eq!(out, "x{a=\"\\n\",exported_i=\"1\",i=\"0\"} 1\n");
    // An error after the line break has the line number in the original body.
    assert_eq!(refused("x{a=\"\n\n\"} 1\ny one\n", &Limits::default()).line(), 4);
    // An unclosed quote affects no other line.
    let error = refused("x{a=\"1\ny 1\n", &Limits::default());
    assert_eq!((error.line(), error.kind()), (1, ErrorKind::LabelValue));
    // OpenMetrics does not allow such values.
    let reader = Reader::new(OutputFormat::new(Format::OpenMetrics100), Limits::default());
    let body = "x{a=\"\n\"} 1\n# EOF\n";
    assert!(reader.parse(body, Format::OpenMetrics100, AddedLabels::new([])).is_err());
}

#[test]
fn a_help_line_with_an_invalid_name_is_a_comment() {
    assert_eq!(merged(&["# HELP 1x Text.\n# HELP my-app Text.\n# HELP \"a b\nx 1\n"]), "x 1\n");
}
