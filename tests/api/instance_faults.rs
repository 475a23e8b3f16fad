//! Faults of instances: each has its documented reason and does not affect other instances.

use crate::test_app::*;
use std::{io::Write, time::Duration};
use support::*;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn typed(content_type: &str, body: &str) -> Reply {
    Reply::Http(200, vec![("Content-Type", content_type.to_owned())], body.as_bytes().to_vec())
}

fn packed(body: Vec<u8>) -> Reply {
    Reply::Http(200, vec![("Content-Encoding", "gzip".to_owned())], body)
}

fn raw(text: &str) -> Reply {
    Reply::Raw(text.as_bytes().to_vec())
}

/// Scrapes an app with one valid instance and one instance that returns `reply`. Returns the error
/// reason of the second instance, or none if its scrape succeeded.
async fn reason_for(reply: Reply) -> Option<String> {
    let good = Instance::with_metrics("good 1\n").await;
    let odd = Instance::start(move |_| reply.clone()).await;
    let routes = RouteFile::of_app([&good, &odd]);
    let limits = [
        routes.setting(),
        ("SCRAPE__MAX_INSTANCE_BODY", "1MiB".to_owned()),
        ("SCRAPE__MAX_LINE", "64KiB".to_owned()),
        ("SCRAPE__MAX_LABELS", "16".to_owned()),
        ("SCRAPE__MAX_FAMILIES", "1000".to_owned()),
        ("SCRAPE__MAX_SAMPLES", "2000".to_owned()),
    ];
    let app = spawn_app(&limits).await;
    let deadline = [("X-Prometheus-Scrape-Timeout-Seconds", "2")];
    let answer = app.get_with("/v1/apps/app-guid/metrics", &deadline).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.lines("good{").len(), 1, "{}", answer.text());
    let errors = answer.lines("promfetcher_scrape_error{");
    errors.first().map(|line| {
        assert!(line.contains(&odd.address.to_string()), "{line}");
        line.split("error=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    })
}

#[actix_web::test]
async fn each_fault_has_its_reason_and_does_not_affect_the_others() {
    let head = "HTTP/1.1 200 OK\r\n";
    let long_line = format!("x{{a=\"{}\"}} 1\n", "y".repeat(70_000));
    let many_labels: String = (0..20).map(|n| format!("l{n}=\"\",")).collect();
    let families: String = (0..1500).map(|n| format!("f{n} 1\n")).collect();
    let samples: String = (0..2500).map(|n| format!("f{{n=\"{n}\"}} 1\n")).collect();
    let cases: Vec<(&str, Reply, Option<&str>)> = vec![
        ("client error", Reply::Http(404, vec![], vec![]), Some("status_4xx")),
        ("server error", Reply::Http(503, vec![], vec![]), Some("status_5xx")),
        ("no content", Reply::Http(204, vec![], vec![]), Some("not_exposition")),
        ("hangs", Reply::Hang, Some("timeout")),
        ("late", Reply::Late(Duration::from_secs(5), Box::new(Reply::Hang)), Some("timeout")),
        ("closes", Reply::Close, Some("truncated")),
        ("no HTTP", raw("SSH-2.0-OpenSSH\r\n\r\n"), Some("not_exposition")),
        ("truncated head", raw("HTTP/1.1 200 OK\r\nContent-Le"), Some("truncated")),
        (
            "truncated body",
            raw(&format!("{head}Content-Length: 99\r\n\r\nx 1\n")),
            Some("truncated"),
        ),
        (
            "truncated chunked body",
            raw(&format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\nx 1\n\r\n")),
            Some("truncated"),
        ),
        (
            "complete chunked body",
            raw(&format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\nx 1\n\r\n0\r\n\r\n")),
            None,
        ),
        ("ended by close", raw(&format!("{head}Connection: close\r\n\r\nx 1\n")), None),
        ("truncated line", raw(&format!("{head}Connection: close\r\n\r\nx 12")), Some("truncated")),
        ("last line without a line break", Reply::metrics("x 1"), None),
        ("empty", Reply::metrics(""), None),
        ("CRLF", Reply::metrics("x 1\r\ny{a=\"b\",} 2\r\n"), None),
        ("no content type", Reply::Http(200, vec![], b"x 1\n".to_vec()), None),
        ("versionless", typed("text/plain", "x 1\n"), None),
        ("HTML", typed("text/html", "<html></html>"), Some("not_exposition")),
        ("HTML as text", Reply::metrics("<!DOCTYPE html>\n<p>hi</p>"), Some("not_exposition")),
        ("JSON", typed("application/json; charset=utf-8", "{}"), Some("not_exposition")),
        ("JSON as text", Reply::metrics("{\"status\": \"UP\"}"), Some("not_exposition")),
        (
            "OpenMetrics",
            typed("application/openmetrics-text; version=1.0.0", "x_total 1\n# EOF\n"),
            None,
        ),
        (
            "truncated OpenMetrics",
            raw(&format!("{head}Content-Type: application/openmetrics-text\r\n\r\nx 1\n")),
            Some("truncated"),
        ),
        (
            "broken OpenMetrics",
            typed("application/openmetrics-text; version=1.0.0", "x 1 # {a=\n# EOF\n"),
            Some("not_exposition"),
        ),
        (
            "protobuf as text",
            typed(
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text",
                "name: \"x\"",
            ),
            Some("not_exposition"),
        ),
        (
            "protobuf with a false length",
            typed(
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                "\x7f\n\x01x",
            ),
            Some("not_exposition"),
        ),
        ("binary", Reply::Http(200, vec![], vec![0, 255, 1, 254]), Some("not_exposition")),
        (
            "bad UTF-8",
            Reply::Http(200, vec![], b"x{a=\"\xff\"} 1\n".to_vec()),
            Some("not_exposition"),
        ),
        ("no value", Reply::metrics("x 1\ny\n"), Some("not_exposition")),
        ("truncated label", Reply::metrics("x 1\ny{a=\"b"), Some("not_exposition")),
        ("500 HELP lines", Reply::metrics(&("# HELP x y\n".repeat(500) + "x 1\n")), None),
        ("gzip", packed(gzip(b"x 1\n")), None),
        ("not gzip", packed(b"x 1\n".to_vec()), Some("not_exposition")),
        ("truncated gzip", packed(gzip(&[b'#'; 5000])[..20].to_vec()), Some("truncated")),
        ("a gzip bomb", packed(gzip(&vec![b'\n'; 2 << 20])), Some("too_large")),
        (
            "announces 2 GB",
            raw(&format!("{head}Content-Length: 2000000000\r\n\r\nx 1\n")),
            Some("too_large"),
        ),
        ("2 MB", Reply::metrics(&"# x\n".repeat(500_000)), Some("too_large")),
        ("a long line", Reply::metrics(&long_line), Some("limit")),
        ("many labels", Reply::metrics(&format!("x{{{many_labels}}} 1\n")), Some("limit")),
        ("many families", Reply::metrics(&families), Some("limit")),
        ("many samples", Reply::metrics(&samples), Some("limit")),
    ];
    let total = cases.len();
    let checks = cases.into_iter().map(async |(name, reply, expected)| {
        assert_eq!(reason_for(reply).await.as_deref(), expected, "{name}");
    });
    let done = futures_util::future::join_all(checks).await;
    assert_eq!(done.len(), total);
}

#[actix_web::test]
async fn a_refused_connection_is_a_connect_failure() {
    let gone = Instance::with_metrics("").await.address;
    let good = Instance::with_metrics("good 1\n").await;
    let routes = RouteFile::of_addresses([good.address, gone]);
    let app = spawn_app(&[routes.setting()]).await;
    let answer = app.get("/v1/apps/app-guid/metrics").await;
    assert!(answer.lines("promfetcher_scrape_error{")[0].contains("error=\"connect\""));
}

#[actix_web::test]
async fn a_response_above_max_response_is_502_and_not_truncated() {
    let body: String = (0..1000).map(|n| format!("m{{n=\"{n}\"}} 1\n")).collect();
    let instance = Instance::with_metrics(&body).await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting(), ("SCRAPE__MAX_RESPONSE", "100KiB".to_owned())]).await;
    let answer = app.get("/v1/apps/app-guid/metrics").await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("scrape.max_response"), "{}", answer.text());
}

#[actix_web::test]
async fn bodies_that_are_not_expositions_are_not_disclosed() {
    let replies = [
        typed("application/json", "{\"password\": \"hidden\"}"),
        typed("text/plain", "{\"password\": \"hidden\"}"),
        typed("text/html", "<html>hidden</html>"),
        typed("text/plain", "12:00 started\nlogin as hidden\n"),
        typed("text/plain; version=0.0.4", "a 1\nhidden=x\n"),
        Reply::Http(403, vec![], b"a{x=\"hidden\"} 1\n".to_vec()),
    ];
    for reply in replies {
        let instance = Instance::start(move |_| reply.clone()).await;
        let routes = RouteFile::of_app([&instance]);
        let app = spawn_app(&[routes.setting()]).await;
        let answer = app.get("/v1/apps/app-guid/metrics?metric_path=/actuator/env").await;
        assert!([406, 502].contains(&answer.status), "{}", answer.text());
        assert!(!answer.text().contains("hidden"), "{}", answer.text());
        assert_eq!(instance.requests()[0].line, "GET /actuator/env HTTP/1.1");
        let described = app.get("/v1/apps/app-guid").await;
        assert_eq!(described.json()["apps"][0]["instances"][0]["last_scrape"]["up"], false);
        assert!(!described.text().contains("hidden"), "{}", described.text());
    }
}
