use proptest::prelude::*;

use super::*;

const TEXT_004: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS_100: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OPENMETRICS_100_UTF8: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
const PROTOBUF_UTF8: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=allow-utf-8";

/// A scraper, its `Accept` header, and the `Content-Type` of the output.
const SCRAPERS: [(&str, &str, &str); 10] = [
    (
        "Prometheus 2.42",
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        OPENMETRICS_100,
    ),
    (
        "Prometheus 2.42 with native histograms",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        PROTOBUF,
    ),
    (
        "Prometheus 2.49",
        "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=2",
        OPENMETRICS_100,
    ),
    (
        "Prometheus 3.0",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
        OPENMETRICS_100_UTF8,
    ),
    (
        "Prometheus 3.14",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        OPENMETRICS_100_UTF8,
    ),
    (
        "Prometheus 3.14 with native histograms",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        PROTOBUF_UTF8,
    ),
    (
        "Prometheus 3.14, protobuf without escaping",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        PROTOBUF,
    ),
    ("promfetcher and this program", "text/plain;version=0.0.4;q=1,*/*;q=0.1", TEXT_004),
    (
        "a browser",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        TEXT_004,
    ),
    ("curl", "*/*", TEXT_004),
];

#[test]
fn every_scraper_gets_its_preferred_format() {
    for (scraper, accept, content_type) in SCRAPERS {
        assert_eq!(negotiate(Some(accept)).content_type(), content_type, "{scraper}");
    }
    assert_eq!(negotiate(None).content_type(), TEXT_004);
}

#[test]
fn an_accept_header_is_read_leniently() {
    let text_100 = "text/plain; version=1.0.0; charset=utf-8";
    let openmetrics_001 = "application/openmetrics-text; version=0.0.1; charset=utf-8";
    let cases = [
        ("", TEXT_004),
        (",, ;", TEXT_004),
        ("text/*", TEXT_004),
        ("application/*", TEXT_004),
        ("application/json", TEXT_004),
        ("text/plain", TEXT_004),
        ("text/plain;version=1.0.0", text_100),
        ("text/plain;version=7,text/plain;version=1.0.0;q=0.1", text_100),
        ("application/openmetrics-text", openmetrics_001),
        ("application/openmetrics-text;version=2.0.0", TEXT_004),
        ("application/openmetrics-text;version=2.0.0, text/plain;version=1.0.0;q=0.1", text_100),
        (" Application/OpenMetrics-Text ; charset=utf-8 ; Version = \"1.0.0\" ", OPENMETRICS_100),
        // A named format takes precedence over a wildcard.
        ("*/*,application/openmetrics-text;version=1.0.0;q=0.1", OPENMETRICS_100),
        // The greatest `q` wins, and the first among equals. Values out of range are clamped.
        ("text/plain;q=0.5,application/openmetrics-text;version=1.0.0;q=0.6", OPENMETRICS_100),
        ("text/plain;q=0.501,application/openmetrics-text;version=1.0.0;Q=0.502", OPENMETRICS_100),
        ("text/plain,application/openmetrics-text;version=1.0.0", TEXT_004),
        ("application/openmetrics-text;version=1.0.0;q=1,text/plain;q=9e99", OPENMETRICS_100),
        ("application/openmetrics-text;version=1.0.0;q=inf,text/plain", OPENMETRICS_100),
        // `q=0` excludes a format; an invalid `q` does not.
        ("text/plain;version=1.0.0;q=0,application/openmetrics-text;q=0.001", openmetrics_001),
        ("application/openmetrics-text;version=1.0.0;q=0", TEXT_004),
        ("application/openmetrics-text;version=1.0.0;q=-1", TEXT_004),
        ("application/openmetrics-text;version=1.0.0;q=0.0001", OPENMETRICS_100),
        ("application/openmetrics-text;version=1.0.0;q=high", OPENMETRICS_100),
        ("application/openmetrics-text;version=1.0.0;q=", OPENMETRICS_100),
        ("text/plain;version=1.0.0;q=nan,application/openmetrics-text;q=0.01", openmetrics_001),
        // The escaping is that of the chosen entry.
        ("application/openmetrics-text;version=1.0.0;escaping=ALLOW-UTF-8", OPENMETRICS_100_UTF8),
        ("application/openmetrics-text;version=1.0.0;escaping=rot13", OPENMETRICS_100),
        (
            "text/plain;version=1.0.0;escaping=values;q=0.1,application/openmetrics-text;version=1.0.0",
            OPENMETRICS_100,
        ),
        // Only delimited protobuf is supported.
        ("application/vnd.google.protobuf", TEXT_004),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            TEXT_004,
        ),
        (
            "application/vnd.google.protobuf;encoding=delimited;q=0.7;proto=io.prometheus.client.MetricFamily,text/plain;version=0.0.4;q=0.3",
            PROTOBUF,
        ),
    ];
    for (accept, content_type) in cases {
        assert_eq!(negotiate(Some(accept)).content_type(), content_type, "{accept}");
    }
}

#[test]
fn names_are_escaped_unless_the_chosen_entry_allows_utf8() {
    let escaping = |accept: &str| negotiate(Some(accept)).escaping();
    let openmetrics = "application/openmetrics-text;version=1.0.0;escaping=";
    assert_eq!(escaping("application/openmetrics-text;version=1.0.0"), Escaping::Underscores);
    assert_eq!(escaping(&format!("{openmetrics}allow-utf-8")), Escaping::AllowUtf8);
    assert_eq!(escaping(&format!("{openmetrics}dots")), Escaping::Dots);
    assert_eq!(escaping("text/plain;version=0.0.4;escaping=allow-utf-8"), Escaping::Underscores);
    assert_eq!(escaping("text/plain;version=0.0.4;escaping=values"), Escaping::Values);
    assert_eq!(escaping("*/*;escaping=allow-utf-8"), Escaping::Underscores);
}

#[test]
fn instances_are_asked_for_the_output_format_first() {
    let ask = |format, text_only, protobuf| {
        scrape_accept_header(OutputFormat::new(format), text_only, protobuf)
    };
    let text = "text/plain;version=0.0.4;q=1,*/*;q=0.1";
    assert_eq!(ask(Format::Text004, false, true), text);
    for format in Format::all() {
        assert_eq!(ask(format, true, true), text);
    }
    assert_eq!(
        ask(Format::Text100, false, true),
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=1,text/plain;version=0.0.4;q=0.9,*/*;q=0.1"
    );
    let openmetrics = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=1,application/openmetrics-text;version=0.0.1;q=0.9,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.8,text/plain;version=0.0.4;q=0.7,*/*;q=0.1";
    assert_eq!(ask(Format::OpenMetrics100, false, true), openmetrics);
    assert_eq!(ask(Format::Protobuf, false, false), openmetrics);
    assert_eq!(
        ask(Format::Protobuf, false, true),
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=1,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.9,application/openmetrics-text;version=0.0.1;q=0.8,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.7,text/plain;version=0.0.4;q=0.6,*/*;q=0.1"
    );
}

#[test]
fn an_instance_that_negotiates_answers_in_the_output_format() {
    for format in Format::all() {
        let output = OutputFormat::new(format).with_escaping(Escaping::Values);
        let chosen = negotiate(Some(&scrape_accept_header(output, false, true)));
        assert_eq!(chosen.format(), format);
    }
}

proptest! {
    #[test]
    fn any_accept_header_is_parsed_without_panic(
        accept in "(text/plain|application/openmetrics-text|\\*/\\*|[;,=\"q 0-9.e+-]|version=|1\\.0\\.0|\\PC){0,30}",
    ) {
        let _ = negotiate(Some(&accept));
    }

    #[test]
    fn wildcards_do_not_change_the_format(
        scraper in 0..SCRAPERS.len(),
        wildcard in "(\\*/\\*|text/\\*|application/\\*)(;q=[0-9.]{1,4})?",
    ) {
        let Some((_, accept, content_type)) = SCRAPERS.get(scraper) else { return Ok(()) };
        for accept in [format!("{wildcard},{accept}"), format!("{accept},{wildcard}")] {
            prop_assert_eq!(negotiate(Some(&accept)).content_type(), *content_type);
        }
    }
}
