use super::*;

/// Returns the output of a check of standard input, and the number of invalid files.
fn output(arguments: &Arguments, stdin: &[u8]) -> (String, usize) {
    let mut out = Vec::new();
    let broken = match check(arguments, &mut &*stdin, &mut out) {
        Ok(()) => 0,
        Err(MergeError::Broken { broken, .. }) => broken,
        Err(error) => panic!("{error}"),
    };
    (String::from_utf8(out).unwrap(), broken)
}

fn stdin() -> Arguments {
    Arguments::parse::<&str, _>([], ["-"]).unwrap()
}

fn text() -> Arguments {
    stdin().with_input_format(Some(Format::Text004))
}

#[test]
fn valid_files_have_no_output() {
    let bodies: [&[u8]; 4] = [b"", b"x 1\n", b"# TYPE x gauge\nx 1", b"x 1\n# EOF\n"];
    for body in bodies {
        assert_eq!(output(&stdin(), body), (String::new(), 0), "{}", body.escape_ascii());
    }
}

#[test]
fn every_invalid_line_is_listed() {
    let cases = [
        ("x one", "-:1: the value is missing or not a number\n"),
        (
            "x one\r\n\r\ny 1\r\n{ 2\r\nz 3 four\n1",
            "-:1: the value is missing or not a number\n\
             -:4: a label name is missing or invalid\n\
             -:5: the timestamp is not valid in this format\n\
             -:6: a metric name is missing or invalid\n",
        ),
        (
            "# TYPE x nonsense\nx 1\nx{a=\"1\",a=\"2\"} 1\n",
            "-:1: the metric type is not valid in this format\n\
             -:3: a sample has two labels of one name\n",
        ),
        // With a byte order mark.
        (
            "\u{feff}x one\nx two\n",
            "-:1: the value is missing or not a number\n\
             -:2: the value is missing or not a number\n",
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(output(&text(), body.as_bytes()), (expected.to_owned(), 1), "{body:?}");
    }
}

#[test]
fn problems_of_the_whole_file_are_listed_once() {
    let openmetrics = stdin().with_input_format(Some(Format::OpenMetrics100));
    let missing = "-:2: `# EOF` is missing, so the body can be truncated\n";
    assert_eq!(output(&openmetrics, b"x 1\ny 2\n"), (missing.to_owned(), 1));
    let after = "-:1: the value is missing or not a number\n-:3: there is text after `# EOF`\n";
    assert_eq!(output(&openmetrics, b"x one\n# EOF\ny 1\n\nz 1\n# EOF\n"), (after.to_owned(), 1));
}

#[test]
fn the_number_of_listed_problems_is_limited() {
    let (output, broken) = output(&text(), "x one\n".repeat(MAX_PROBLEMS + 1).as_bytes());
    assert_eq!((output.lines().count(), broken), (MAX_PROBLEMS + 1, 1));
    assert!(output.ends_with(":100: the value is missing or not a number\nnote: -: only the first 100 problems are listed\n"));
}

#[test]
fn the_detected_format_of_an_invalid_file_is_printed() {
    let (output, _) = output(&stdin(), b"# TYPE x info\nx 1\n");
    let note = "note: -: detected as text-1.0.0; set another with `--from`\n";
    assert_eq!(output, format!("-:1: the metric type is not valid in this format\n{note}"));
}

#[test]
fn protobuf_problems_have_message_numbers() {
    let (output, broken) = output(&stdin(), b"\x05\x0a\x01x\x22");
    assert!(output.starts_with("-: message 1: "), "{output}");
    assert_eq!((output.lines().count(), broken), (2, 1));
}

#[test]
fn all_files_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.prom");
    std::fs::write(&path, "x 1\nx one\n").unwrap();
    let path = path.display().to_string();
    let files = ["/no/such/file", "-", &path];
    let arguments = Arguments::parse::<&str, _>([], files).unwrap();
    let (output, broken) = output(&arguments.with_input_format(Some(Format::Text004)), b"y\n");
    assert_eq!(broken, 3);
    let lines: Vec<_> = output.lines().collect();
    assert!(lines[0].starts_with("/no/such/file: cannot be read: No such file"), "{output}");
    assert_eq!(lines[1], "-:1: the value is missing or not a number");
    assert_eq!(lines[2], format!("{path}:2: the value is missing or not a number"));
    assert_eq!(lines.len(), 3);
}

#[test]
fn differences_that_a_merge_resolves_are_notes() {
    let conflict = "# TYPE x gauge\nx{index=\"9\"} 1\nx{index=\"9\"} 2\n# TYPE h histogram\nh 1\n";
    let arguments = Arguments::parse(["index=0"], ["-"]).unwrap();
    let (output, broken) = output(&arguments, conflict.as_bytes());
    assert_eq!(broken, 0);
    let expected = "\
        note: merged as text: families that lose their type, as types conflict: 1\n\
        note: merged as text: labels that get another name, as an added or another label has theirs: 2\n\
        note: merged as text: samples that are left out, as their file or another one has them before: 1\n";
    assert_eq!(output, expected);
}

#[test]
fn notes_depend_on_the_output_format() {
    let body =
        b"# TYPE x_bytes counter\n# UNIT x_bytes bytes\nx_bytes_total -1 # {a=\"b\"} 1\n# EOF\n";
    let notes = |to| output(&stdin().with_output_format(to, None).unwrap(), body).0;
    let lost = "note: merged as text: exemplars that are left out, as the format or the type has none: 1\n\
        note: merged as text: units that are left out, as the format or the type has none: 1\n";
    assert_eq!(notes(Format::Text004), lost);
    let strict = notes(Format::OpenMetrics100);
    let broken =
        "note: merged as openmetrics: families that lose their type, as they break its rules: 1\n";
    assert!(strict.starts_with(broken), "{strict}");
}

#[test]
fn a_line_is_cleared() {
    let cases = [
        ("", 1, "", false),
        ("a", 1, "", true),
        ("a\nb\nc", 1, "\nb\nc", true),
        ("a\nb\nc", 2, "a\n\nc", true),
        ("a\nb\nc", 3, "a\nb\n", true),
        ("a\nb\nc\n", 3, "a\nb\n\n", true),
        ("a\nb\n", 3, "a\nb\n", false),
        ("a\nb\n", 4, "a\nb\n", false),
        ("a\n\nc", 2, "a\n\nc", false),
        ("a\nb", 0, "\nb", true),
    ];
    for (text, line, expected, was_non_empty) in cases {
        let mut body = text.as_bytes().to_vec();
        assert_eq!(clear_line(&mut body, line), was_non_empty, "{text:?} {line}");
        assert_eq!(String::from_utf8(body).unwrap(), expected, "{text:?} {line}");
    }
}

#[test]
fn a_closed_output_is_an_error() {
    let mut full: &mut [u8] = &mut [0; 2];
    let error = check(&stdin(), &mut &b"x one\n"[..], &mut full).unwrap_err();
    assert!(matches!(error, MergeError::Write(_)));
}
