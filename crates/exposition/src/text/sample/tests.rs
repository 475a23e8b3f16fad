use super::*;

use super::super::{families::FamilyNaming, number, sample_tail};

type Labels<'a> = Vec<(&'a str, &'a str)>;

/// A parsed line of the text format.
#[derive(Debug, PartialEq, Eq)]
struct Sample<'a> {
    name: &'a [u8],
    value: &'a [u8],
    timestamp_ms: Option<i64>,
    insert: usize,
    is_canonical: bool,
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn read<'a>(line: &'a str) -> Result<(Sample<'a>, Labels<'a>), ErrorKind> {
    let mut labels = Vec::new();
    let series = parse(line.as_bytes(), b"likely", &mut |label: TextLabel<'a>| {
        labels.push((text(label.name.text), text(label.value)));
        Ok(())
    })?;
    let tail = sample_tail::parse(&line.as_bytes()[series.end..], FamilyNaming::Classic)?;
    let sample = Sample {
        name: series.name.text,
        value: tail.value,
        timestamp_ms: tail.timestamp.and_then(number::timestamp_ms),
        insert: series.insert,
        is_canonical: series.is_canonical && tail.is_canonical,
    };
    Ok((sample, labels))
}

#[test]
fn canonical_lines_are_parsed_and_recognized() {
    type Case<'a> = (&'a str, &'a str, usize, Labels<'a>, &'a str, Option<i64>);
    let cases: [Case<'_>; 7] = [
        ("x 1", "x", 1, vec![], "1", None),
        ("likely 1 5", "likely", 6, vec![], "1", Some(5)),
        ("likely_not NaN", "likely_not", 10, vec![], "NaN", None),
        ("like 1", "like", 4, vec![], "1", None),
        ("x{a=\"\"} 1", "x", 6, vec![("a", "")], "1", None),
        (
            r#"a:b{_a="\"}\\",b="é,{"} -Inf 12"#,
            "a:b",
            23,
            vec![("_a", r#"\"}\\"#), ("b", "é,{")],
            "-Inf",
            Some(12),
        ),
        ("x{le=\"+Inf\"} 1e+06", "x", 11, vec![("le", "+Inf")], "1e+06", None),
    ];
    for (line, name, insert, labels, value, timestamp_ms) in cases {
        let (sample, read) = read(line).unwrap();
        let expected = Sample {
            name: name.as_bytes(),
            value: value.as_bytes(),
            timestamp_ms,
            insert,
            is_canonical: true,
        };
        assert_eq!((sample, read), (expected, labels), "{line}");
    }
}

#[test]
fn noncanonical_lines_are_parsed_and_recognized() {
    let lines = [
        " x{a=\"b\"} 1",
        "x {a=\"b\"} 1",
        "x{ a=\"b\"} 1",
        "x{a =\"b\"} 1",
        "x{a= \"b\"} 1",
        "x{a=\"b\" } 1",
        "x{a=\"b\",} 1",
        "x{a=\"b\", } 1",
        "x{a=\"b\"}1",
        "x{a=\"b\"}  1",
        "x{a=\"b\"}\t1",
        "x{a=\"b\"} 1 ",
        "x{a=\"b\"} 1\t",
        "\tx\t{\ta\t=\t\"b\"\t,\t}\t1\t",
    ];
    for line in lines {
        let (sample, labels) = read(line).unwrap();
        assert!(!sample.is_canonical, "{line:?}");
        assert_eq!((sample.name, sample.value), (&b"x"[..], &b"1"[..]), "{line:?}");
        assert_eq!(labels, [("a", "b")], "{line:?}");
    }
    let more = [
        "x{} 1",
        "x{ } 1",
        "x  1",
        "x\t1",
        "x 1  5",
        "x 1\t5",
        "x 1 5 ",
        r#"x{a="\d"} 1"#,
        r#"x{a="b" c="d"} 1"#,
        r#"x{a="b"c="d"} 1"#,
        r#"x{a="b", c="d"} 1"#,
        r#"{"x"} 1"#,
        r#"{a="b","x.y"} 1"#,
        r#"x{"a"="b"} 1"#,
    ];
    for line in more {
        assert!(!read(line).unwrap().0.is_canonical, "{line:?}");
    }
}

#[test]
fn invalid_samples_are_refused_with_their_kind() {
    let cases = [
        ("<!DOCTYPE html>", ErrorKind::MetricName),
        ("{\"status\":\"UP\"}", ErrorKind::LabelName),
        ("{\"a.b\",\"c\"} 1", ErrorKind::MetricName),
        ("{c=\"d\"} 1", ErrorKind::MetricName),
        ("x{\"a\"} 1", ErrorKind::MetricName),
        ("{\"\"} 1", ErrorKind::LabelName),
        ("{\"a} 1", ErrorKind::LabelName),
        ("1x 1", ErrorKind::MetricName),
        ("\u{feff}x 1", ErrorKind::MetricName),
        ("a-b 1", ErrorKind::MetricName),
        ("a.b 1", ErrorKind::MetricName),
        ("x\r", ErrorKind::MetricName),
        ("x", ErrorKind::Value),
        ("x ", ErrorKind::Value),
        ("x{a=\"b\"}", ErrorKind::Value),
        ("x{a=\"b\"} ", ErrorKind::Value),
        ("x one", ErrorKind::Value),
        ("x 1\r", ErrorKind::Value),
        ("x 1{}", ErrorKind::Value),
        ("x 0x10", ErrorKind::Value),
        ("x \0", ErrorKind::Value),
        ("x{a=\"b\"}{c=\"d\"} 1", ErrorKind::Value),
        ("x{", ErrorKind::LabelName),
        ("x{a", ErrorKind::LabelName),
        ("x{a}", ErrorKind::LabelName),
        ("x{a-b=\"c\"} 1", ErrorKind::LabelName),
        ("x{a:b=\"c\"} 1", ErrorKind::LabelName),
        ("x{1=\"c\"} 1", ErrorKind::LabelName),
        ("x{=\"c\"} 1", ErrorKind::LabelName),
        ("x{,} 1", ErrorKind::LabelName),
        ("x{,a=\"b\"} 1", ErrorKind::LabelName),
        ("x{a=\"b\",,} 1", ErrorKind::LabelName),
        ("x{a=\"b\"", ErrorKind::LabelName),
        ("x{a=", ErrorKind::LabelValue),
        ("x{a=b} 1", ErrorKind::LabelValue),
        ("x{a='b'} 1", ErrorKind::LabelValue),
        ("x{a=\"", ErrorKind::LabelValue),
        ("x{a=\"b", ErrorKind::LabelValue),
        ("x{a=\"b\\", ErrorKind::LabelValue),
        ("x{a=\"b\\\"} 1", ErrorKind::LabelValue),
        ("x 1 -5", ErrorKind::Timestamp),
        ("x 1 1.5", ErrorKind::Timestamp),
        ("x 1 {", ErrorKind::Timestamp),
        ("x 1 5 6", ErrorKind::Trailing),
        ("x 1 # {a=\"b\"} 1", ErrorKind::Exemplar),
        ("x 1 5 # {a=\"b\"} 1", ErrorKind::Exemplar),
    ];
    for (line, expected) in cases {
        assert_eq!(read(line).map(|_| ()), Err(expected), "{line:?}");
    }
}
