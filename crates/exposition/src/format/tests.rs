use proptest::prelude::*;

use super::*;

#[test]
fn the_content_type_determines_the_format() {
    use Format::*;
    let cases = [
        ("", Text004),
        (" ", Text004),
        (";", Text004),
        ("text/plain", Text004),
        ("TEXT/Plain", Text004),
        ("text/plain; charset=utf-8", Text004),
        ("text/plain; version=0.0.4", Text004),
        ("text/plain; version=0.0.4; charset=utf-8; escaping=underscores", Text004),
        ("text/plain;version=9", Text004),
        ("text/plain;version=", Text004),
        ("text/plain; version=1.0.0", Text100),
        ("text/plain;charset=utf-8;escaping=allow-utf-8;version=1.0.0", Text100),
        ("Text/Plain ; Version = \"1.0.0\" ; Charset=UTF-8", Text100),
        ("application/openmetrics-text", OpenMetrics100),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OpenMetrics100),
        ("application/openmetrics-text; charset=utf-8; version=2.0.0", OpenMetrics100),
        ("application/openmetrics-text; version=0.0.1; charset=utf-8", OpenMetrics001),
        ("Application/OpenMetrics-Text;charset=utf-8;VERSION=\"0.0.1\"", OpenMetrics001),
        (
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            Protobuf,
        ),
        (
            "APPLICATION/vnd.google.protobuf;encoding=\"delimited\";escaping=values;proto=\"io.prometheus.client.MetricFamily\"",
            Protobuf,
        ),
        ("application/octet-stream", Text004),
        ("text/x-anything", Text004),
        ("text", Text004),
        ("é/ü", Text004),
    ];
    for (content_type, format) in cases {
        assert_eq!(Format::from_content_type(content_type), Ok(format), "{content_type}");
    }
}

#[test]
fn media_types_of_other_documents_are_refused() {
    let cases = [
        "text/html",
        "TEXT/HTML; charset=utf-8",
        "application/json",
        "application/problem+json; a=b",
        "application/xml",
        "application/xhtml+xml",
        "text/javascript",
        "application/javascript;version=1.0.0",
        "application/x-protobuf",
        "application/vnd.google.protobuf",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text",
        "application/vnd.google.protobuf; proto=io.prometheus.write.v2.Request; encoding=delimited",
    ];
    for content_type in cases {
        assert!(Format::from_content_type(content_type).is_err(), "{content_type}");
    }
    let error = Format::from_content_type("Text/HTML; charset=utf-8").unwrap_err();
    assert_eq!(error.to_string(), "text/html is not the media type of an exposition");
}

#[test]
fn format_names_are_parsed() {
    for format in Format::all() {
        assert_eq!(format.as_str().parse(), Ok(format));
    }
    assert_eq!("text-0.0.4".parse(), Ok(Format::Text004));
    assert_eq!("openmetrics-1.0.0".parse(), Ok(Format::OpenMetrics100));
    let error = "json".parse::<Format>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "not one of text, text-1.0.0, openmetrics-0.0.1, openmetrics, protobuf"
    );
}

#[test]
fn the_content_type_is_exact() {
    let plain = |format| OutputFormat::new(format).content_type();
    assert_eq!(plain(Format::Text004), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(plain(Format::Text100), "text/plain; version=1.0.0; charset=utf-8");
    let named = |format, escaping| OutputFormat::new(format).with_escaping(escaping).content_type();
    assert_eq!(
        named(Format::Text004, Escaping::Values),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(
        named(Format::Text100, Escaping::AllowUtf8),
        "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
    );
    assert_eq!(
        named(Format::OpenMetrics001, Escaping::AllowUtf8),
        "application/openmetrics-text; version=0.0.1; charset=utf-8"
    );
    assert_eq!(
        named(Format::OpenMetrics100, Escaping::Dots),
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=dots"
    );
    assert_eq!(
        named(Format::Protobuf, Escaping::Underscores),
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores"
    );
}

#[test]
fn the_content_type_of_an_output_gives_its_format() {
    for format in Format::all() {
        for escaping in [Escaping::AllowUtf8, Escaping::Underscores] {
            let output = OutputFormat::new(format).with_escaping(escaping);
            assert_eq!(Format::from_content_type(&output.content_type()), Ok(format));
            let knows = format.has_utf8_names();
            assert!(knows || output.escaping() != Escaping::AllowUtf8);
        }
    }
}

proptest! {
    #[test]
    fn any_content_type_is_parsed_without_panic(content_type in "\\PC{0,60}") {
        let _ = Format::from_content_type(&content_type);
    }

    #[test]
    fn the_order_of_parameters_does_not_matter(
        parameters in Just(vec![
            "proto=io.prometheus.client.MetricFamily", "encoding=delimited", "escaping=dots", "x", "y=\";\"",
        ]).prop_shuffle(),
        blanks in " {0,2}",
    ) {
        let separator = format!("{blanks};{blanks}");
        let content_type = format!("{PROTOBUF};{}", parameters.join(&separator));
        prop_assert_eq!(Format::from_content_type(&content_type), Ok(Format::Protobuf));
    }
}
