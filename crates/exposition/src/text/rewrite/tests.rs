use super::{
    super::{
        format::{Format, OutputFormat},
        sample::SourceName,
    },
    *,
};

fn form(naming: FamilyNaming) -> RewriteContext<'static> {
    let name = SourceName { text: b"x", is_quoted: false };
    let family = SourceFamily { name, metric_type: None, naming, renames: None };
    RewriteContext { family, has_canonical_bounds: true, keeps_exemplar: true }
}

fn rewritten(line: &str, added: &[&str], from: FamilyNaming, to: Format) -> String {
    let added = AddedLabels::new(added.iter().map(|&name| (name, "added")));
    let mut out = Vec::new();
    let mut rewriter = Rewriter::new(OutputDialect::new(OutputFormat::new(to)));
    let written = rewriter.line(line.as_bytes(), &added, form(from), &mut out).unwrap();
    assert!(matches!(out[written.insert], b'}' | b' '), "{line}: {}", written.insert);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_line_becomes_canonical() {
    let cases = [
        ("x 1", "x 1\n"),
        ("x{} 1", "x 1\n"),
        ("x { } 1", "x 1\n"),
        (" \tx\t1\t0005 ", "x 1 0005\n"),
        ("x{a=\"b\",}1", "x{a=\"b\"} 1\n"),
        ("x { a\t= \"b\" , c =\"d\"\t, }  1  2 ", "x{a=\"b\",c=\"d\"} 1 2\n"),
        ("x{a=\"b\" c=\"d\"} 1", "x{a=\"b\",c=\"d\"} 1\n"),
        (r#"x{a="C:\data\\\n\""} 1"#, "x{a=\"C:\\\\data\\\\\\n\\\"\"} 1\n"),
        ("x{a=\" }{,= \"} +Inf", "x{a=\" }{,= \"} +Inf\n"),
        ("{\"x\"} 1", "x 1\n"),
        ("{ \"x\" , \"a\"=\"b\" } 1", "x{a=\"b\"} 1\n"),
        ("{\"x.y\",\"a.b\"=\"c\"} 1", "x_y{a_b=\"c\"} 1\n"),
    ];
    for (line, expected) in cases {
        assert_eq!(
            rewritten(line, &[], FamilyNaming::Classic, Format::Text004),
            expected,
            "{line:?}"
        );
    }
}

#[test]
fn a_line_is_converted_to_another_format() {
    use FamilyNaming::{Classic, OpenMetrics};
    let cases = [
        ("x 1 1520879607789", Classic, Format::OpenMetrics100, "x 1 1520879607.789\n"),
        ("x 1 1520879607.789", OpenMetrics, Format::Text004, "x 1 1520879607789\n"),
        ("x_bucket{le=\"1\"} 1", Classic, Format::OpenMetrics100, "x_bucket{le=\"1.0\"} 1\n"),
        ("x{quantile=\".5\"} 1", Classic, Format::OpenMetrics100, "x{quantile=\"0.5\"} 1\n"),
        (
            "x_total 1 # {a=\"b\"} 2 3.5",
            OpenMetrics,
            Format::OpenMetrics100,
            "x_total 1 # {a=\"b\"} 2 3.5\n",
        ),
        ("x_total 1 # {a=\"b\"} 2", OpenMetrics, Format::Text004, "x_total 1\n"),
        ("x 1 # {a=\"b\"} 2", OpenMetrics, Format::OpenMetrics100, "x 1\n"),
        (
            "x_total 1 5 #{ a = \"b\", } 2 ",
            OpenMetrics,
            Format::OpenMetrics100,
            "x_total 1 5 # {a=\"b\"} 2\n",
        ),
    ];
    for (line, from, to, expected) in cases {
        assert_eq!(rewritten(line, &[], from, to), expected, "{line:?}");
    }
}

#[test]
fn a_label_with_the_name_of_an_added_one_is_exported() {
    let cases: [(&str, &[&str], &str); 5] = [
        (r#"x{i="1",b="2"} 1"#, &["i"], r#"x{exported_i="1",b="2"} 1"#),
        (r#"x{i="1"} 1"#, &["i", "exported_i"], r#"x{exported_exported_i="1"} 1"#),
        (r#"x{ii="1",i="2"} 1"#, &["i"], r#"x{ii="1",exported_i="2"} 1"#),
        (r#"x{"a.b"="1",a_c="2"} 1"#, &[], r#"x{a_b="1",a_c="2"} 1"#),
        (r#"x{"a.b"="1"} 1"#, &["a"], r#"x{a_b="1"} 1"#),
    ];
    for (line, added, expected) in cases {
        let written = rewritten(line, added, FamilyNaming::Classic, Format::Text004);
        assert_eq!(written.trim_end(), expected, "{line} + {added:?}");
    }
}
