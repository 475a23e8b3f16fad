use std::{ffi::OsStr, fs};

use super::*;
use exposition::{Escaping, Format};

fn merged(arguments: &Arguments, stdin: &[u8]) -> (String, Stats) {
    let mut out = Vec::new();
    let merged = merge(arguments, &mut &*stdin, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), merged.stats)
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let arguments = Arguments::parse::<&str, _>([], ["/does/not/exist"]).unwrap();
    let error = merge(&arguments, &mut io::empty(), &mut Vec::new()).unwrap_err();
    assert!(!error.is_usage());
    assert_eq!(error.to_string(), "cannot read /does/not/exist");
}

#[test]
fn files_and_standard_input_are_merged_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.prom");
    fs::write(&path, "# TYPE x gauge\nx 1\n").unwrap();
    let file = format!("{}:index=1", path.display());
    let arguments = Arguments::parse(["app=a\"b"], ["-:index=0", &file]).unwrap();
    let (out, stats) = merged(&arguments, b"x{app=\"own\"} 0");
    let expected = "# TYPE x gauge\n\
        x{exported_app=\"own\",app=\"a\\\"b\",index=\"0\"} 0\nx{app=\"a\\\"b\",index=\"1\"} 1\n";
    assert_eq!(out, expected);
    assert_eq!(stats, Stats { renamed_labels: 1, ..Stats::default() });
}

#[test]
fn files_of_different_formats_are_merged_into_one_format() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.om");
    fs::write(&path, "# TYPE x counter\nx_total{i=\"1\"} 1 1.5\n# EOF\n").unwrap();
    let arguments = Arguments::parse::<&str, _>([], [OsStr::new("-"), path.as_os_str()]).unwrap();
    let stdin = b"# TYPE x_total counter\nx_total 2 2500\n";
    let text = "# TYPE x_total counter\nx_total 2 2500\nx_total{i=\"1\"} 1 1500\n";
    assert_eq!(merged(&arguments, stdin).0, text);
    let arguments = arguments.with_output_format(Format::OpenMetrics100, None).unwrap();
    let openmetrics = "# TYPE x counter\nx_total 2 2.5\nx_total{i=\"1\"} 1 1.5\n# EOF\n";
    assert_eq!(merged(&arguments, stdin).0, openmetrics);
}

#[test]
fn names_are_escaped_as_requested() {
    use Escaping::{Dots, Underscores, Values};
    let cases = [
        (Format::Text004, None, "a_b 1\n"),
        (Format::Text004, Some(Dots), "a_dot_b 1\n"),
        (Format::Text100, None, "{\"a.b\"} 1\n"),
        (Format::Text100, Some(Values), "U__a_2e_b 1\n"),
        (Format::Text100, Some(Underscores), "a_b 1\n"),
    ];
    for (to, escaping, expected) in cases {
        let arguments = Arguments::parse::<&str, _>([], ["-"]).unwrap();
        let arguments = arguments.with_output_format(to, escaping).unwrap();
        assert_eq!(merged(&arguments, b"{\"a.b\"} 1\n").0, expected, "{to} {escaping:?}");
    }
}

#[test]
fn an_invalid_file_is_named_with_its_line_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.prom");
    fs::write(&path, "x 1\nx one\n").unwrap();
    let arguments = Arguments::parse::<&str, _>([], [OsStr::new("-"), path.as_os_str()]).unwrap();
    let mut out = Vec::new();
    let error = merge(&arguments, &mut &b"y 1\n"[..], &mut out).unwrap_err();
    assert!(!error.is_usage());
    let expected = format!("{}, line 2: the value is missing or not a number", path.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(out, b"");
}

#[test]
fn a_closed_output_is_an_error() {
    let arguments = Arguments::parse::<&str, _>([], ["-"]).unwrap();
    let mut full: &mut [u8] = &mut [0; 2];
    let error = merge(&arguments, &mut &b"x 1\n"[..], &mut full).unwrap_err();
    assert!(matches!(error, MergeError::Write(_)));
}

#[test]
fn duplicate_series_are_written_once_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, body: &str| {
        let path = directory.path().join(name);
        fs::write(&path, body).unwrap();
        path.display().to_string()
    };
    let one = file("one.prom", "# TYPE x gauge\nx{a=\"1\"} 1\n");
    let two = file("two.prom", "x{a=\"2\"} 2\nx{a=\"1\"} 3\n");
    let expected = format!("{two}:2: x{{a=\"1\"}} is in {one}:2 too");
    for to in [Format::Text004, Format::OpenMetrics100] {
        let arguments = Arguments::parse::<&str, _>([], [&one, &two]).unwrap();
        let arguments = arguments.with_output_format(to, None).unwrap();
        let mut out = Vec::new();
        let merged = merge(&arguments, &mut &b""[..], &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("x{a=\"1\"} 1\nx{a=\"2\"} 2\n"), "{out}");
        assert_eq!(merged.repeated, std::slice::from_ref(&expected));
        assert_eq!(merged.stats, Stats { duplicates: 1, ..Stats::default() });

        let mut out = Vec::new();
        let error = check::check(&arguments, &mut &b""[..], &mut out).unwrap_err();
        assert!(matches!(error, MergeError::Repeated));
        assert!(String::from_utf8(out).unwrap().starts_with(&format!("{expected}\n")));
    }
    let expected = format!("{two}: x{{a=\"1\"}} is in {one} too");
    let arguments = Arguments::parse::<&str, _>([], [&one, &two]).unwrap();
    let arguments = arguments.with_output_format(Format::Protobuf, None).unwrap();
    let mut protobuf = Vec::new();
    let merged = merge(&arguments, &mut &b""[..], &mut protobuf).unwrap();
    assert_eq!(merged.repeated, std::slice::from_ref(&expected));
    assert_eq!(merged.stats.duplicates, 1);
    let mut out = Vec::new();
    let error = check::check(&arguments, &mut &b""[..], &mut out).unwrap_err();
    assert!(matches!(error, MergeError::Repeated));
    assert!(String::from_utf8(out).unwrap().starts_with(&format!("{expected}\n")));

    // Protobuf files have no line numbers.
    let three = directory.path().join("three.pb");
    fs::write(&three, protobuf).unwrap();
    let three = three.display().to_string();
    let arguments = Arguments::parse::<&str, _>([], [&one, &three]).unwrap();
    let merged = merge(&arguments, &mut &b""[..], &mut Vec::new()).unwrap();
    assert_eq!(merged.repeated, [format!("{three}: x{{a=\"1\"}} is in {one}:2 too")]);

    // A label makes the series different.
    let files = [format!("{one}:file=1"), format!("{two}:file=2")];
    let arguments = Arguments::parse::<&str, _>([], files).unwrap();
    let merged = merge(&arguments, &mut &b""[..], &mut Vec::new()).unwrap();
    assert_eq!(merged.repeated, [""; 0]);
}

#[test]
fn duplicate_series_of_different_families_are_written_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, body: &str| {
        let path = directory.path().join(name);
        fs::write(&path, body).unwrap();
        path.display().to_string()
    };
    let one = file("one.prom", "# TYPE x_sum gauge\nx_sum{a=\"1\"} 1\nx_sum{a=\"2\"} 1\n");
    let two = file("two.prom", "# TYPE x summary\nx_sum{a=\"1\"} 2\nx_count{a=\"1\"} 3\n");
    for to in [Format::Text004, Format::OpenMetrics100, Format::Protobuf] {
        let arguments = Arguments::parse::<&str, _>([], [&one, &two]).unwrap();
        let arguments = arguments.with_output_format(to, None).unwrap();
        let path = directory.path().join("merged");
        let mut out = fs::File::create(&path).unwrap();
        let merged = merge(&arguments, &mut &b""[..], &mut out).unwrap();
        assert_eq!(merged.repeated.len(), 1, "{to}");
        assert!(merged.repeated[0].contains("x_sum{a=\"1\"}"), "{to}: {:?}", merged.repeated);

        let arguments = Arguments::parse::<&str, _>([], [path.as_os_str()]).unwrap();
        let mut out = Vec::new();
        let merged = merge(&arguments, &mut &b""[..], &mut out).unwrap();
        assert_eq!(merged.stats.duplicates, 0, "{to}");
        let out = String::from_utf8(out).unwrap();
        let sums: Vec<_> = out.lines().filter(|line| line.starts_with("x_sum{a=\"1\"}")).collect();
        assert_eq!(sums, ["x_sum{a=\"1\"} 1"], "{to}: {out}");
    }
}

#[test]
fn the_reason_is_printed_once() {
    let arguments = Arguments::parse::<&str, _>([], ["-"]).unwrap();
    let error = merge(&arguments, &mut &b"x one\n"[..], &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error}");
    assert!(std::error::Error::source(&error).is_none());
}
