//! Formats of responses, and versions of HTTP.

use super::*;
use exposition::testing::{strict, strict_openmetrics};
use std::io::Read;
use support::{certificates::*, protobuf};

const TEXT: &str = "text/plain;version=0.0.4";
const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// Events with values and labels that are difficult to write, and a scraper that has to get them.
async fn with_events(settings: &[(&str, &str)]) -> (EventsApp, TestScraper) {
    let mut all = vec![("EVENTS__COUNTERS", "true")];
    all.extend(settings);
    let app = EventsApp::start(&all).await;
    let mut scraper = TestScraper::connect(app.events).await;
    scraper.scrape("/metrics").await.unwrap();
    let texts = ["a \"quoted\" one", "ends with \\", "two\nlines", "{}=,#é"];
    for (text, value) in texts.iter().zip(["1e-9", "1e300", "NaN", "-Inf"]) {
        let body = serde_json::json!({"labels": {"text": text}, "value": value});
        let headers = [("Content-Type", "application/json")];
        let answer = send("POST", &app.url("/event"), &headers, Some(body.to_string())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    (app, scraper)
}

const MODES: [&[(&str, &str)]; 2] =
    [&[("EVENTS__TIMESTAMPS", "scrape")], &[("EVENTS__TIMESTAMPS", "explicit")]];

#[actix_web::test]
async fn text_and_openmetrics_are_valid() {
    for settings in MODES {
        for (accept, type_start) in [
            (TEXT, "text/plain; version=0.0.4"),
            (OPENMETRICS, "application/openmetrics-text; version=1.0.0"),
        ] {
            let (_app, scraper) = with_events(settings).await;
            let mut scraper = scraper.with_header("Accept", accept);
            let response = scraper.scrape("/metrics").await.unwrap();
            assert!(response.headers["content-type"].starts_with(type_start), "{response:?}");
            let text = response.text();
            assert_eq!(response.headers["content-length"], text.len().to_string());
            let samples = match accept {
                TEXT => strict::read(&text, false).len(),
                _ => strict_openmetrics::read(&text, false).len(),
            };
            // The events, their counters, the number of events, and the scraper.
            assert_eq!(samples, 4 + 4 + 2, "{text}");
            if accept == TEXT {
                let (code, findings) = promtool::check(&response.body);
                assert!([Some(0), Some(3)].contains(&code), "{code:?} {findings}");
            }
        }
    }
}

#[actix_web::test]
async fn protobuf_has_the_same_samples() {
    for settings in MODES {
        let (_app, scraper) = with_events(settings).await;
        let mut scraper = scraper.with_header("Accept", PROTOBUF);
        let response = scraper.scrape("/metrics").await.unwrap();
        assert!(response.headers["content-type"].starts_with("application/vnd.google.protobuf"));
        let families = protobuf::messages(&response.body);
        let names: Vec<_> = families
            .iter()
            .map(|family| String::from_utf8(protobuf::fields(family, 1)[0].clone()).unwrap())
            .collect();
        let events = names.iter().position(|name| name == "events_to_metrics").unwrap();
        assert_eq!(protobuf::fields(&families[events], 4).len(), 4);
        assert!(names.iter().any(|name| name == "events_to_metrics_events_total"), "{names:?}");
    }
}

#[actix_web::test]
async fn a_compressed_response_has_its_length_and_the_same_content() {
    for settings in MODES {
        let (_app, scraper) = with_events(settings).await;
        let mut scraper = scraper.with_header("Accept-Encoding", "gzip");
        let response = scraper.scrape("/metrics").await.unwrap();
        assert_eq!(response.headers["content-encoding"], "gzip");
        assert_eq!(response.headers["content-length"], response.body.len().to_string());
        assert!(!response.headers.contains_key("transfer-encoding"));
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*response.body).read_to_string(&mut text).unwrap();
        assert_eq!(strict::read(&text, false).len(), 4 + 4 + 2, "{text}");
    }
}

/// Sends a request over HTTP/2 to the main listener. Returns the status and the body.
async fn http2(address: SocketAddr, authority: &Authority) -> (u16, String) {
    let client = client(authority, None, &["h2"], &[&rustls::version::TLS13]);
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = client.connect(name, stream).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    actix_web::rt::spawn(connection);
    let request = http::Request::get("https://localhost/v1/events/metrics")
        .header("Authorization", operator())
        .body(())
        .unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    let mut text = Vec::new();
    while let Some(part) = body.data().await {
        text.extend_from_slice(&part.unwrap());
    }
    (head.status.as_u16(), String::from_utf8(text).unwrap())
}

#[actix_web::test]
async fn http2_needs_explicit_timestamps() {
    let (authority, files) = (Authority::new("scrapebroker"), Files::create());
    files.write_identity(&authority.issue("localhost"));
    let (certificate, key) = (files.path("cert"), files.path("key"));
    for (mode, expected) in [("scrape", 505), ("explicit", 200)] {
        let settings = [
            ("TLS__CERT_FILE", &*certificate),
            ("TLS__KEY_FILE", &key),
            ("EVENTS__TIMESTAMPS", mode),
            ("EVENTS__START", "earliest"),
        ];
        let app = EventsApp::start(&settings).await;
        let client = client(&authority, None, &[], &[&rustls::version::TLS13]);
        post_over_tls(app.events, &client).await;
        let (status, text) = http2(app.app.address, &authority).await;
        assert_eq!(status, expected, "{text}");
        if mode == "scrape" {
            assert!(text.contains("set enable_http2: false"), "{text}");
        } else {
            assert!(text.contains("\nevents_to_metrics{id=\"1\"} 7 "), "{text}");
        }
    }
}

/// The listener of events offers HTTP/1.1 only.
async fn post_over_tls(address: SocketAddr, client: &tokio_rustls::TlsConnector) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = client.connect(name, stream).await.unwrap();
    let request = "POST /event?id=1&value=7 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.unwrap();
    assert_eq!(parse_response(&raw).status, 200);
}
