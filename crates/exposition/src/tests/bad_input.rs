//! Truncated, damaged and hostile bodies. They cause no panic, affect no other instance, and take
//! time in proportion to their length.

use super::{Format::*, conversion::converted, *};

const TARGETS: [Format; 4] = [Text004, Text100, OpenMetrics001, OpenMetrics100];

/// The output, or the line and kind of the error.
type Outcome<T> = Result<T, (usize, ErrorKind)>;

/// The outcome of a body for each output format.
fn outcomes(format: Format, body: &[u8]) -> Vec<Outcome<String>> {
    let outcome = |to| {
        let output = OutputFormat::new(to);
        let instance = Reader::new(output, Limits::default()).parse(
            body,
            format,
            AddedLabels::new([("i", "0")]),
        );
        let instance = instance.map_err(|error| (error.line(), error.kind()))?;
        let out = written(Merge::new(output, vec![instance]), 100);
        match to {
            OpenMetrics001 | OpenMetrics100 => drop(strict_openmetrics::read(&out, false)),
            _ => drop(strict::read(&out, false)),
        }
        Ok(out)
    };
    TARGETS.into_iter().map(outcome).collect()
}

/// Errors of real apps, and whether each format accepts them.
#[test]
fn common_errors_are_accepted_or_refused_for_every_output() {
    let cases: [(&str, &[u8], Outcome<()>); 22] = [
        ("malformed", b"# TYPE x gauge\nx 1\nthis is { not ] a metric\n", Err((3, ErrorKind::Value))),
        ("html", b"<!DOCTYPE html><html><body>Oh no</body></html>\n", Err((1, ErrorKind::MetricName))),
        ("empty", b"", Ok(())),
        ("no last newline", b"# TYPE x gauge\nx 1", Ok(())),
        ("duplicate samples", b"# TYPE x gauge\nx{a=\"1\"} 1\nx{a=\"1\"} 2\nx{a=\"1\"} 1\n", Ok(())),
        ("a family twice", b"# HELP x One.\n# TYPE x gauge\nx{a=\"1\"} 1\ny 1\n# HELP x Two.\n# TYPE x gauge\nx{a=\"2\"} 2\n", Ok(())),
        ("two helps", b"# HELP x One.\n# HELP x Two.\n# TYPE x gauge\nx 1\n", Ok(())),
        ("interleaved", b"# TYPE x gauge\n# TYPE y gauge\nx{a=\"1\"} 1\ny 1\nx{a=\"2\"} 2\n", Ok(())),
        ("a hexadecimal value", b"x 1 1700000000000\ny +Inf\nz 0x1p4\n", Err((3, ErrorKind::Value))),
        ("an underscore in a value", b"x NaN\nx{le=\"x\"} NaN\ny 1_000\n", Err((3, ErrorKind::Value))),
        ("clashing labels", b"x{i=\"mine\",exported_i=\"too\"} 1\n", Ok(())),
        ("escapes", b"# HELP x a\\\\b\\n\"q\"\n# TYPE x gauge\nx{a=\"q\\\"b\\\\n\\nl\"} 1\n", Ok(())),
        ("utf-8 names", "# TYPE \"x.y\" gauge\n{\"x.y\",\"z.é\"=\"é\"} 1\n".as_bytes(), Ok(())),
        ("bytes that are no utf-8", b"# TYPE x gauge\nx{a=\"\xff\xfe\"} 1\n", Err((2, ErrorKind::Encoding))),
        ("crlf", b"# TYPE x gauge\r\nx 1\r\n", Ok(())),
        ("a label twice", b"# TYPE x gauge\nx{a=\"1\",a=\"2\"} 1\n", Err((2, ErrorKind::DuplicateLabel))),
        ("an exemplar", b"x_total 1 # {a=\"b\"} 1\n", Err((1, ErrorKind::Exemplar))),
        ("nul in a value", b"x{a=\"\0\"} 1\n", Ok(())),
        ("nul in a name", b"x\0y 1\n", Err((1, ErrorKind::MetricName))),
        ("nothing but nul", &[0; 1000], Err((1, ErrorKind::MetricName))),
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", Err((1, ErrorKind::Encoding))),
        ("json", b"{\"status\":\"UP\"}", Err((1, ErrorKind::LabelName))),
    ];
    for (what, body, expected) in cases {
        for outcome in outcomes(Text004, body) {
            assert_eq!(outcome.map(drop), expected, "{what}");
        }
    }
    let cases: [(&str, &str, Outcome<()>); 8] = [
        ("text", "# TYPE x gauge\nx 1\n", Err((2, ErrorKind::MissingEof))),
        ("empty", "", Err((1, ErrorKind::MissingEof))),
        ("milliseconds", "x 1 1700000000000\n# EOF\n", Ok(())),
        ("a timestamp that is none", "x 1 yesterday\n# EOF\n", Err((1, ErrorKind::Timestamp))),
        ("a type that is none", "# TYPE x meter\n# EOF\n", Err((1, ErrorKind::MetricType))),
        ("untyped", "# TYPE x untyped\nx 1\n# EOF\n", Ok(())),
        ("a broken exemplar", "x_total 1 # {a=\"b\" 1\n# EOF\n", Err((1, ErrorKind::Exemplar))),
        ("blank lines and comments", "\n# hello\n# TYPE x counter\n\nx_total 1\n# EOF\n", Ok(())),
    ];
    for (what, body, expected) in cases {
        for outcome in outcomes(OpenMetrics100, body.as_bytes()) {
            assert_eq!(outcome.map(drop), expected, "{what}");
        }
    }
}

#[test]
fn a_body_can_be_truncated_at_every_byte() {
    let text = "# HELP x Sizes é.\n# TYPE x histogram\nx_bucket{a=\"b\\\"\",le=\"1\"} 1 5\nx_bucket{le=\"+Inf\"} 2\nx_sum 3e1\n\
        # TYPE \"y.z\" counter\n{\"y.z\",c=\"d\"} 4\n";
    for end in 0..=text.len() {
        outcomes(Text100, &text.as_bytes()[..end]);
    }
    let openmetrics = include_str!("../../tests/fixtures/openmetrics.txt");
    let is_whole = |end: usize| end + 1 >= openmetrics.len();
    for end in 0..=openmetrics.len() {
        for outcome in outcomes(OpenMetrics100, &openmetrics.as_bytes()[..end]) {
            assert_eq!(outcome.is_ok(), is_whole(end), "{:?}", &openmetrics[..end]);
        }
    }
}

#[test]
fn every_byte_of_a_body_can_be_changed() {
    let bodies = [
        (Text100, "# TYPE x summary\nx{quantile=\"1\"} 1 5\n{\"y.z\",a=\"b\"} 4\n"),
        (
            OpenMetrics100,
            "# TYPE x counter\nx_total{a=\"b\"} 1 5.5 # {c=\"d\"} 1\nx_created 1\n# EOF\n",
        ),
    ];
    for (format, body) in bodies {
        for at in 0..body.len() {
            for byte in
                [b'\n', b'"', b'{', b'}', b' ', b'\\', b'#', b',', b'=', b'9', b'_', 0, 0xc3, 0xff]
            {
                let mut damaged = body.as_bytes().to_vec();
                damaged[at] = byte;
                outcomes(format, &damaged);
            }
        }
    }
}

/// The test fails by running too long or using too much memory.
#[test]
fn hostile_bodies_take_linear_time_in_every_format() {
    let limits = Limits::default();
    let reader = |to| Reader::new(OutputFormat::new(to), limits);
    let none = || AddedLabels::new([]);
    let line = vec![b'x'; 64 << 20];
    let label = format!("x{{a=\"{}\"}} 1\n# EOF\n", "v".repeat((1 << 20) - 20));
    let families: String = (0..100_001).map(|i| format!("x{i} 1\n")).collect();
    let metrics: String = (0..20_000)
        .flat_map(|i| {
            [format!("x_sum{{i=\"{i}\"}} 1\n"), format!("y{{i=\"{i}\"}} 1 {}\n", 20_000 - i)]
        })
        .collect();
    let counts: String = (0..20_000).map(|i| format!("x_count{{i=\"{i}\"}} 1\n")).collect();
    let interleaved = format!("# TYPE x summary\n{metrics}{counts}# EOF\n");
    for to in [Text004, OpenMetrics100] {
        let error = reader(to).parse(line.clone(), Text004, none()).unwrap_err();
        assert_eq!(
            (error.kind(), error.line(), error.is_limit()),
            (ErrorKind::LineTooLong, 1, true)
        );
        let error = reader(to).parse(&*families, OpenMetrics100, none()).unwrap_err();
        assert_eq!((error.kind(), error.line()), (ErrorKind::TooManyFamilies, 100_001));
        let (out, _) = converted(&[(OpenMetrics100, &label)], OutputFormat::new(to));
        assert!(out.len() >= label.len() - "# EOF\n".len());
        let instance = reader(to).parse(&*interleaved, OpenMetrics100, none()).unwrap();
        assert_eq!(instance.samples(), 60_000);
        assert!(
            written(Merge::new(OutputFormat::new(to), vec![instance]), 1 << 16).len()
                > interleaved.len() / 2
        );
    }
}

/// A million families exceed the limit. As many as the limit allows take time in proportion to
/// their length.
#[test]
fn many_families_are_accepted_up_to_the_limit() {
    let limits = Limits::default();
    let body: String = (0..limits.max_families).map(|i| format!("x{i} 1\n")).collect();
    for to in [Text004, OpenMetrics100] {
        let instance = Reader::new(OutputFormat::new(to), limits)
            .parse(&*body, Text004, AddedLabels::new([]))
            .unwrap();
        let merge = Merge::new(OutputFormat::new(to), vec![instance]);
        let eof = if to == Text004 { 0 } else { "# EOF\n".len() };
        assert_eq!(merge.content_length() as usize, body.len() + eof);
    }
}
