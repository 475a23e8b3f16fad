//! UTF-8 names, and instances with different formats.

use super::{Format::*, conversion::converted, *};

const UTF8: &str = "# HELP \"http.requests\" Served.\n# TYPE \"http.requests\" counter\n\
    {\"http.requests_total\",\"status.code\"=\"200\"} 5\n\
    # TYPE \"rpc.time\" histogram\n{\"rpc.time_bucket\",le=\"+Inf\"} 2\n{\"rpc.time_count\"} 2\n{\"rpc.time_sum\"} 3\n# EOF\n";

fn merged_alone(body: (Format, &str), output: OutputFormat) -> String {
    converted(&[body], output).0
}

#[test]
fn names_are_not_escaped_for_a_scraper_with_utf8_names() {
    let openmetrics = OutputFormat::new(OpenMetrics100).with_escaping(Escaping::AllowUtf8);
    let text = OutputFormat::new(Text100).with_escaping(Escaping::AllowUtf8);
    let out = merged_alone((OpenMetrics100, UTF8), openmetrics);
    assert_eq!(
        out,
        "# TYPE \"http.requests\" counter\n# HELP \"http.requests\" Served.\n\
         {\"http.requests_total\",\"status.code\"=\"200\"} 5\n\
         # TYPE \"rpc.time\" histogram\n{\"rpc.time_bucket\",le=\"+Inf\"} 2\n{\"rpc.time_count\"} 2\n{\"rpc.time_sum\"} 3\n# EOF\n"
    );
    let out = merged_alone((OpenMetrics100, UTF8), text);
    assert_eq!(
        out,
        "# HELP \"http.requests_total\" Served.\n# TYPE \"http.requests_total\" counter\n\
         {\"http.requests_total\",\"status.code\"=\"200\"} 5\n\
         # TYPE \"rpc.time\" histogram\n{\"rpc.time_bucket\",le=\"+Inf\"} 2\n{\"rpc.time_count\"} 2\n{\"rpc.time_sum\"} 3\n"
    );
    // Quotes are removed if they are not needed. Other quoted names keep their escapes.
    let body =
        "# TYPE \"x\" gauge\n{\"x\",\"a\"=\"1\"} 1\n{ \"q\\\"b\\\\\" , c=\"2\", }2\n{\"y z\"} 3\n";
    let expected = "# TYPE x gauge\nx{a=\"1\"} 1\n{\"q\\\"b\\\\\",c=\"2\"} 2\n{\"y z\"} 3\n";
    assert_eq!(merged_alone((Text100, body), text), expected);
}

#[test]
fn names_are_escaped_for_a_scraper_without_utf8_names() {
    let cases = [
        (Escaping::Underscores, "http_requests", "status_code", "rpc_time"),
        // The name of a counter is escaped with its `_total`, as Prometheus' client libraries do.
        (Escaping::Dots, "http_dot_requests_", "status_dot_code", "rpc_dot_time"),
        (Escaping::Values, "U__http_2e_requests_", "U__status_2e_code", "U__rpc_2e_time"),
    ];
    for (escaping, requests, code, time) in cases {
        let histogram = format!(
            "# TYPE {time} histogram\n{time}_bucket{{le=\"+Inf\"}} 2\n{time}_count 2\n{time}_sum 3\n"
        );
        let expected = format!(
            "# TYPE {requests} counter\n# HELP {requests} Served.\n{requests}_total{{{code}=\"200\"}} 5\n{histogram}# EOF\n"
        );
        for format in [OpenMetrics001, OpenMetrics100] {
            let output = OutputFormat::new(format).with_escaping(escaping);
            assert_eq!(merged_alone((OpenMetrics100, UTF8), output), expected, "{escaping:?}");
        }
        for format in [Text004, Text100] {
            let output = OutputFormat::new(format).with_escaping(escaping);
            let out = merged_alone((OpenMetrics100, UTF8), output);
            assert!(out.contains(&format!("\n{requests}_total{{{code}=\"200\"}} 5\n")), "{out}");
            assert!(out.ends_with(&histogram), "{out}");
        }
    }
    // Without a scheme, names are escaped with underscores.
    let out = merged_alone(
        (Text100, "# TYPE \"é.b\" gauge\n{\"é.b\",\"1c\"=\"1\"} 1\n"),
        OutputFormat::new(Text100),
    );
    assert_eq!(out, "# TYPE __b gauge\n__b{_c=\"1\"} 1\n");
}

#[test]
fn instances_in_different_formats_share_their_families() {
    let openmetrics = "# HELP x Things.\n# TYPE x counter\nx_total{i=\"0\"} 1 # {a=\"b\"} 1\nx_created{i=\"0\"} 5\n\
        # TYPE y_seconds histogram\n# UNIT y_seconds seconds\ny_seconds_bucket{i=\"0\",le=\"1.0\"} 1\n\
        y_seconds_bucket{i=\"0\",le=\"+Inf\"} 1\n# TYPE z info\nz_info{i=\"0\"} 1\n# EOF\n";
    let text = "# HELP x_total Text.\n# TYPE x_total counter\nx_total{i=\"1\"} 2 2500\n\
        # TYPE y_seconds histogram\ny_seconds_bucket{i=\"1\",le=\"1\"} 2\ny_seconds_bucket{i=\"1\",le=\"+Inf\"} 2\n\
        # TYPE z_info gauge\nz_info{i=\"1\"} 1\n";
    let bodies = [(OpenMetrics100, openmetrics), (Text004, text)];
    let (out, stats) = converted(&bodies, OutputFormat::new(Text004));
    let expected = "# HELP x_total Things.\n# TYPE x_total counter\nx_total{i=\"0\"} 1\nx_total{i=\"1\"} 2 2500\n\
        # HELP x_created Things.\n# TYPE x_created gauge\nx_created{i=\"0\"} 5\n\
        # TYPE y_seconds histogram\ny_seconds_bucket{i=\"0\",le=\"1.0\"} 1\ny_seconds_bucket{i=\"0\",le=\"+Inf\"} 1\n\
        y_seconds_bucket{i=\"1\",le=\"1\"} 2\ny_seconds_bucket{i=\"1\",le=\"+Inf\"} 2\n\
        # TYPE z_info gauge\nz_info{i=\"0\"} 1\nz_info{i=\"1\"} 1\n";
    assert_eq!(out, expected);
    assert_eq!(stats, Stats { lost_exemplars: 1, lost_units: 1, ..Stats::default() });

    let (out, stats) = converted(&bodies, OutputFormat::new(OpenMetrics100));
    let expected = "# TYPE x counter\n# HELP x Things.\nx_total{i=\"0\"} 1 # {a=\"b\"} 1\nx_created{i=\"0\"} 5\nx_total{i=\"1\"} 2 2.5\n\
        # TYPE y_seconds histogram\n# UNIT y_seconds seconds\ny_seconds_bucket{i=\"0\",le=\"1.0\"} 1\n\
        y_seconds_bucket{i=\"0\",le=\"+Inf\"} 1\ny_seconds_bucket{i=\"1\",le=\"1.0\"} 2\n\
        y_seconds_bucket{i=\"1\",le=\"+Inf\"} 2\n\
        # TYPE z_info unknown\nz_info{i=\"0\"} 1\nz_info{i=\"1\"} 1\n# EOF\n";
    assert_eq!(out, expected);
    // The info, and the gauge that claims its sample name.
    assert_eq!(stats, Stats { type_conflicts: 2, ..Stats::default() });
}
