use super::*;

/// Returns the output of a check of standard input, and the number of invalid files or of mistakes.
fn output(arguments: &Arguments, stdin: &[u8]) -> (String, usize) {
    let mut out = Vec::new();
    let broken = match check(arguments, &mut &*stdin, &mut out) {
        Ok(()) => 0,
        Err(MergeError::Broken { broken: count, .. } | MergeError::Mistakes(count)) => count,
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
    let bodies: [&[u8]; 3] = [b"x 1\n", b"# TYPE x gauge\nx 1", b"x 1\n# EOF\n"];
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
fn a_file_without_samples_is_a_mistake() {
    for body in ["", "\n", "# only a comment\n", "# TYPE x gauge\n", "# EOF\n"] {
        let expected = ("-: the file has no samples\n".to_owned(), 1);
        for to in Format::all() {
            let arguments = stdin().with_output_format(to, None).unwrap();
            assert_eq!(output(&arguments, body.as_bytes()), expected, "{body:?} as {to}");
        }
    }
}

#[test]
fn violations_conflicts_and_duplicates_are_mistakes_in_every_format() {
    let cases = [
        (
            "# HELP h A histogram.\n# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 3\n\
             h_bucket{le=\"+Inf\"} 6\nh_sum 1\nh_count 6\n",
            "-:4: histogram h: the bucket counts less than the one before it\n",
        ),
        (
            "# TYPE h histogram\nh_bucket{a=\"1\",le=\"+Inf\"} 6\nh_sum{a=\"1\"} 1\nh_count{a=\"1\"} 6\n\
             h_bucket{a=\"2\",le=\"1\"} 6\nh_sum{a=\"2\"} 1\nh_count{a=\"2\"} 6\n",
            "-:5: histogram h: the bucket `+Inf` is missing\n",
        ),
        (
            "# TYPE c_total counter\nc_total{a=\"1\"} 1\nc_total{a=\"2\"} -1\n",
            "-:3: counter c_total: the value is negative or NaN\n",
        ),
        ("y 1\nx 1\n# HELP z\nx 2\n", "-:4: x is in -:2 too\n"),
        ("x{a=\"1\",b=\"2\"} 1\nx{b=\"2\",a=\"1\"} 2\n", "-:2: x{b=\"2\",a=\"1\"} is in -:1 too\n"),
        ("# TYPE h histogram\nh 1\n", "-:1: histogram h: samples do not fit the type\n"),
    ];
    for (body, expected) in cases {
        for to in Format::all() {
            let arguments = stdin().with_output_format(to, None).unwrap();
            let (output, mistakes) = output(&arguments, body.as_bytes());
            assert_eq!((output.as_str(), mistakes), (expected, 1), "{body} as {to}");
        }
    }
}

#[test]
fn files_that_contradict_each_other_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.prom");
    std::fs::write(&path, "y 1\n# TYPE x counter\nx 1\n").unwrap();
    let path = path.display().to_string();
    let file = format!("{path}:index=1");
    let arguments = Arguments::parse::<&str, _>([], ["-:index=0", &file]).unwrap();
    for to in [Format::Text004, Format::Text100] {
        let arguments = arguments.clone().with_output_format(to, None).unwrap();
        let (output, mistakes) = output(&arguments, b"# TYPE x gauge\nx 1\n");
        let expected = format!(
            "-:1: gauge x: another type is declared too\n\
             {path}:2: counter x: another type is declared too\n"
        );
        assert_eq!((output, mistakes), (expected, 2));
    }
}

#[test]
fn rules_that_only_openmetrics_has_apply_to_openmetrics() {
    let summary = "# TYPE s summary\ns{quantile=\"0.5\"} -1\ns_sum -1\ns_count 1\n";
    let mistake = "-:2: summary s: the value of the quantile is negative\n";
    let cases = [
        (Format::Text004, "", ("", 0)),
        (Format::OpenMetrics100, "", (mistake, 1)),
        (Format::Protobuf, "", (mistake, 1)),
        (Format::Text004, "# EOF\n", (mistake, 1)),
    ];
    for (to, end, expected) in cases {
        let arguments = stdin().with_output_format(to, None).unwrap();
        let (output, mistakes) = output(&arguments, format!("{summary}{end}").as_bytes());
        assert_eq!((output.as_str(), mistakes), expected, "{to} {end:?}");
    }
}

#[test]
fn types_that_the_output_cannot_have_are_notes() {
    let counter = "# TYPE x counter\nx 1\n";
    let info = "# TYPE x info\nx_info 1\n# TYPE s stateset\ns{s=\"a\"} 1\n# EOF\n";
    let cases = [
        (counter, Format::Text004, ""),
        (
            counter,
            Format::OpenMetrics100,
            "note: -:1: counter x loses its type in openmetrics: the samples are not named with `_total`\n",
        ),
        (
            counter,
            Format::Protobuf,
            "note: -:1: counter x loses its type in protobuf: the samples are not named with `_total`\n",
        ),
        (info, Format::OpenMetrics100, ""),
        (
            info,
            Format::Text004,
            "note: -:1: info x_info loses its type in text: the format does not have the type\n\
             note: -:3: stateset s loses its type in text: the format does not have the type\n",
        ),
    ];
    for (body, to, expected) in cases {
        let arguments = stdin().with_output_format(to, None).unwrap();
        assert_eq!(output(&arguments, body.as_bytes()), (expected.to_owned(), 0), "{body} {to}");
    }
    // The file violates its own format.
    let wrong = "# TYPE x counter\nx 1\n# EOF\n";
    let expected = "-:1: counter x: the samples are not named with `_total`\n";
    for to in [Format::Text004, Format::OpenMetrics100] {
        let arguments = stdin().with_output_format(to, None).unwrap();
        assert_eq!(output(&arguments, wrong.as_bytes()), (expected.to_owned(), 1), "{to}");
    }
}

#[test]
fn other_changes_are_notes() {
    let body = "# TYPE x_bytes counter\n# UNIT x_bytes bytes\n\
        x_bytes_total{index=\"9\"} 1 # {a=\"b\"} 1\n# EOF\n";
    let arguments = Arguments::parse(["index=0"], ["-"]).unwrap();
    let (lost, _) = output(&arguments, body.as_bytes());
    let expected = "\
        note: merged as text: labels that get another name, as an added or another label has theirs: 1\n\
        note: merged as text: exemplars that are left out, as the format or the type has none, or their labels have more than 128 characters: 1\n\
        note: merged as text: units that are left out, as the format or the type has none: 1\n";
    assert_eq!(lost, expected);
    let long = "x".repeat(129);
    let body = format!("# TYPE x counter\nx_total 1 # {{a=\"{long}\"}} 1\n# EOF\n");
    let arguments = stdin().with_output_format(Format::OpenMetrics100, None).unwrap();
    let (lost, mistakes) = output(&arguments, body.as_bytes());
    assert_eq!(mistakes, 0);
    assert!(lost.ends_with("or their labels have more than 128 characters: 1\n"), "{lost}");
}

#[test]
fn the_number_of_listed_mistakes_is_limited() {
    let body = "x 1\n".repeat(mistakes::MAX_LISTED + 2);
    let (output, mistakes) = output(&stdin(), body.as_bytes());
    assert_eq!(mistakes, mistakes::MAX_LISTED);
    let notes: Vec<_> = output.lines().skip(mistakes::MAX_LISTED).collect();
    let expected = [
        "note: only the first 1000 families and samples are listed",
        "note: merged as text: samples that are left out, as their file or another one has them before: 1",
    ];
    assert_eq!(notes, expected);
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
