//! Incomplete transfers: either the body of an instance is complete, or the scrape of the instance
//! fails with a reason. A truncated body never counts as a complete or empty body.

use crate::test_app::*;
use serde_json::json;
use std::{collections::BTreeMap, net::SocketAddr};
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The number of samples of an instance, or the reason for its failure.
type Outcome<'a> = Result<&'a str, &'a str>;

/// Scrapes instances with these addresses in one request.
async fn outcomes(
    addresses: &[SocketAddr],
    edit: impl Fn(&mut serde_json::Value),
) -> BTreeMap<SocketAddr, Result<String, String>> {
    let endpoints = addresses.iter().enumerate().map(|(index, address)| {
        let mut endpoint = endpoint("app", index, *address);
        edit(&mut endpoint);
        endpoint
    });
    let routes = RouteFile::new(&json!({ "app.example.com": endpoints.collect::<Vec<_>>() }));
    let settings = [routes.setting(), ("SCRAPE__ALL_FAILED", "series".to_owned())];
    let app = spawn_app(&settings).await;
    let deadline = [("X-Prometheus-Scrape-Timeout-Seconds", "12")];
    let answer = app.get_with("/v1/apps/app-guid/metrics", &deadline).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let mut outcomes = BTreeMap::new();
    for line in answer.lines("scrapebroker_instance_samples{") {
        let samples = line.rsplit(' ').next().unwrap().to_owned();
        outcomes.insert(label(&line, "instance").parse().unwrap(), Ok(samples));
    }
    for line in answer.lines("promfetcher_scrape_error{") {
        outcomes.insert(label(&line, "instance").parse().unwrap(), Err(label(&line, "error")));
    }
    outcomes
}

/// Serves each response by a separate instance and scrapes all instances in one request.
async fn check(cases: &[(&str, String, Outcome<'_>)]) {
    let mut instances = Vec::new();
    for (_, raw, _) in cases {
        let raw = raw.clone().into_bytes();
        instances.push(Instance::start(move |_| Reply::Raw(raw.clone())).await);
    }
    let addresses: Vec<_> = instances.iter().map(|instance| instance.address).collect();
    let outcomes = outcomes(&addresses, |_| {}).await;
    for ((name, _, expected), address) in cases.iter().zip(addresses) {
        let found = outcomes[&address].as_ref().map(String::as_str).map_err(String::as_str);
        assert_eq!(found, *expected, "{name}");
    }
}

#[actix_web::test]
async fn an_incomplete_body_fails_its_instance() {
    let ok = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let old = |fields: &str, body: &str| format!("HTTP/1.0 200 OK\r\n{fields}\r\n{body}");
    let text = "Content-Type: text/plain; version=0.0.4\r\n";
    let (identity, chunked) = ("Transfer-Encoding: identity\r\n", "Transfer-Encoding: chunked\r\n");
    let chunks = "4\r\nm 1\n\r\n0\r\n\r\n";
    let open = "application/openmetrics-text; version=1.0.0";
    let protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
        encoding=delimited";
    let cases: Vec<(&str, String, Outcome<'_>)> = vec![
        ("identity until close", ok(identity, "m 1\n"), Ok("1")),
        (
            "identity with close",
            ok(&format!("{text}{identity}Connection: close\r\n"), "m 1\n"),
            Ok("1"),
        ),
        ("identity, no body", ok(identity, ""), Err("truncated")),
        ("identity, truncated line", ok(identity, "m 1"), Err("truncated")),
        (
            "identity and a length",
            ok(&format!("{identity}Content-Length: 4\r\n"), "m 1\n"),
            Ok("1"),
        ),
        (
            "identity and a longer length",
            ok(&format!("{identity}Content-Length: 9\r\n"), "m 1\n"),
            Err("truncated"),
        ),
        ("chunked, identity", ok("Transfer-Encoding: chunked, identity\r\n", chunks), Ok("1")),
        (
            "chunked, identity without chunks",
            ok("Transfer-Encoding: chunked, identity\r\n", "m 1\n"),
            Err("not_exposition"),
        ),
        ("chunked", ok(chunked, chunks), Ok("1")),
        ("chunked in capitals", ok("TRANSFER-ENCODING: CHUNKED\r\n", chunks), Ok("1")),
        (
            "chunked with extension and trailer",
            ok(chunked, "4;a=b\r\nm 1\n\r\n0\r\nX-Sum: 1\r\n\r\n"),
            Ok("1"),
        ),
        ("chunked and a length", ok(&format!("Content-Length: 1\r\n{chunked}"), chunks), Ok("1")),
        ("chunked without chunks", ok(chunked, "m 1\n"), Err("not_exposition")),
        ("chunked, no body", ok(chunked, ""), Err("truncated")),
        ("chunked without the last chunk", ok(chunked, "4\r\nm 1\n\r\n"), Err("truncated")),
        ("chunked without the last line", ok(chunked, "4\r\nm 1\n\r\n0\r\n"), Err("truncated")),
        ("chunked within a chunk", ok(chunked, "9\r\nm 1\n"), Err("truncated")),
        ("chunked within a size", ok(chunked, "4\r\nm 1\n\r\n1"), Err("truncated")),
        (
            "chunked with an endless size",
            ok(chunked, "fffffffffffffffff\r\n"),
            Err("not_exposition"),
        ),
        ("chunked and empty", ok(chunked, "0\r\n\r\n"), Ok("0")),
        ("chunked twice", ok(&format!("{chunked}{chunked}"), chunks), Err("not_exposition")),
        (
            "gzip, chunked",
            ok("Transfer-Encoding: gzip, chunked\r\n", chunks),
            Err("not_exposition"),
        ),
        ("unknown coding", ok("Transfer-Encoding: x\r\n", "m 1\n"), Err("not_exposition")),
        ("a length", ok("Content-Length: 4\r\n", "m 1\n"), Ok("1")),
        (
            "the same length twice",
            ok("Content-Length: 4\r\nContent-Length: 4\r\n", "m 1\n"),
            Ok("1"),
        ),
        (
            "two lengths",
            ok("Content-Length: 4\r\nContent-Length: 0\r\n", "m 1\n"),
            Err("not_exposition"),
        ),
        ("two lengths in one", ok("Content-Length: 4, 5\r\n", "m 1\n"), Err("not_exposition")),
        ("a negative length", ok("Content-Length: -4\r\n", "m 1\n"), Err("not_exposition")),
        ("no number", ok("Content-Length: four\r\n", "m 1\n"), Err("not_exposition")),
        ("a short body", ok("Content-Length: 9\r\n", "m 1\n"), Err("truncated")),
        ("a length, no body", ok("Content-Length: 9\r\n", ""), Err("truncated")),
        ("length 0", ok(&format!("{text}Content-Length: 0\r\n"), ""), Ok("0")),
        ("until close", ok("", "m 1\n"), Ok("1")),
        ("until close, kept", ok("Connection: keep-alive\r\n", "m 1\n"), Ok("1")),
        ("until close, no body", ok(text, ""), Err("truncated")),
        ("until close, HTML", ok("Content-Type: text/html\r\n", ""), Err("truncated")),
        (
            "OpenMetrics until close, no body",
            ok(&format!("Content-Type: {open}\r\n"), ""),
            Err("truncated"),
        ),
        (
            "protobuf until close, no body",
            ok(&format!("Content-Type: {protobuf}\r\n"), ""),
            Err("truncated"),
        ),
        ("HTTP/1.0", old("", "m 1\n"), Ok("1")),
        ("HTTP/1.0, kept", old("Connection: keep-alive\r\n", "m 1\n"), Ok("1")),
        ("HTTP/1.0 and a length", old("Content-Length: 4\r\n", "m 1\n"), Ok("1")),
        ("HTTP/1.0, a short body", old("Content-Length: 9\r\n", "m 1\n"), Err("truncated")),
        ("HTTP/1.0, length 0", old("Content-Length: 0\r\n", ""), Ok("0")),
        ("HTTP/1.0, no body", old("", ""), Err("truncated")),
        ("HTTP/1.0, chunked", old(chunked, chunks), Err("not_exposition")),
        (
            "204",
            "HTTP/1.1 204 X\r\nContent-Length: 4\r\n\r\nm 1\n".to_owned(),
            Err("not_exposition"),
        ),
        ("304", "HTTP/1.1 304 X\r\n\r\n".to_owned(), Err("redirect")),
        (
            "206",
            "HTTP/1.1 206 X\r\nContent-Length: 4\r\n\r\nm 1\n".to_owned(),
            Err("not_exposition"),
        ),
        ("101", "HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\nm 1\n".to_owned(), Err("not_exposition")),
        ("only interim responses", "HTTP/1.1 100 X\r\n\r\n".repeat(3), Err("truncated")),
        ("a truncated interim response", "HTTP/1.1 100 X\r\nA".to_owned(), Err("truncated")),
        (
            "a flood of interim responses",
            "HTTP/1.1 100 X\r\n\r\n".repeat(10_000),
            Err("not_exposition"),
        ),
        (
            "a head without an end",
            format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(200_000)),
            Err("not_exposition"),
        ),
        (
            "interim responses",
            format!(
                "HTTP/1.1 100 X\r\n\r\nHTTP/1.1 103 X\r\nLink: a\r\n\r\n{}",
                ok("Content-Length: 4\r\n", "m 1\n")
            ),
            Ok("1"),
        ),
        (
            "interim response, then until close",
            format!("HTTP/1.1 102 X\r\n\r\n{}", ok("", "m 1\n")),
            Ok("1"),
        ),
        (
            "gzip, no body",
            ok("Content-Encoding: gzip\r\nContent-Length: 0\r\n", ""),
            Err("not_exposition"),
        ),
        ("an empty response", String::new(), Err("truncated")),
        ("a line", "\r\n".to_owned(), Err("truncated")),
    ];
    check(&cases).await;
}

#[actix_web::test]
async fn an_exposition_is_accepted_with_any_response_head() {
    let answer = |fields: &str, body: &str| {
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let typed = |name: &str, body: &str| answer(&format!("Content-Type: {name}\r\n"), body);
    let coded = |name: &str, body: &str| answer(&format!("Content-Encoding: {name}\r\n"), body);
    let long = format!("<html>{}", "x".repeat(2 << 20));
    let cases: Vec<(&str, String, Outcome<'_>)> = vec![
        ("HTML", typed("text/html; charset=utf-8", "# TYPE m counter\nm 1\n"), Ok("1")),
        ("JSON", typed("application/json", "m 1\n"), Ok("1")),
        ("XML", typed("application/xml", "m 1\n"), Ok("1")),
        ("binary", typed("application/octet-stream", "m 1\n"), Ok("1")),
        ("invalid type", typed(";;;", "m 1\n"), Ok("1")),
        ("unknown protobuf", typed("application/vnd.google.protobuf", "m 1\n"), Ok("1")),
        ("an HTML page", typed("text/html", "<html></html>"), Err("not_exposition")),
        ("an HTML page with one long line", typed("text/html", &long), Err("not_exposition")),
        (
            "an HTML page that resembles a comment",
            typed("text/html", "# Title\n"),
            Err("not_exposition"),
        ),
        ("an empty HTML page", typed("text/html", ""), Err("not_exposition")),
        ("a JSON document", typed("application/json", "{\"m\": 1}"), Err("not_exposition")),
        ("an empty JSON document", typed("application/json", "{}"), Err("not_exposition")),
        ("UTF-8", coded("UTF-8", "m 1\n"), Ok("1")),
        ("none", coded("none", "m 1\n"), Ok("1")),
        ("identity", coded("identity", "m 1\n"), Ok("1")),
        ("several identities", coded("identity, Identity", "m 1\n"), Ok("1")),
        ("plain text declared as brotli", coded("br", "m 1\n"), Ok("1")),
        ("brotli", coded("br", "\u{b}\u{1}\u{80}m 1\n\u{3}"), Err("not_exposition")),
        ("plain text declared as gzip", coded("gzip", "m 1\n"), Err("not_exposition")),
        ("unknown coding and empty body", coded("UTF-8", ""), Err("not_exposition")),
    ];
    check(&cases).await;
}

/// An HTTP/2 peer that sends `frames` after the request. Then it closes the connection, or keeps it
/// open if `is_silent`.
async fn http2_peer(frames: Vec<u8>, is_silent: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    actix_web::rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            actix_web::rt::spawn(serve_http2(stream, frames.clone(), is_silent));
        }
    });
    address
}

async fn serve_http2(mut stream: TcpStream, frames: Vec<u8>, is_silent: bool) -> Option<()> {
    const HEADERS: u8 = 1;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.ok()?;
    stream.write_all(&frame(4, 0, 0, b"")).await.ok()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length.try_into().ok()?];
        stream.read_exact(&mut payload).await.ok()?;
        if head[3] == HEADERS {
            break;
        }
    }
    stream.write_all(&frames).await.ok()?;
    if is_silent {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok()?;
    }
    stream.shutdown().await.ok()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

#[actix_web::test]
async fn an_incomplete_http2_body_fails_its_instance() {
    const END: u8 = 1;
    let field = |name: &str, value: &str| {
        let mut field = vec![0, u8::try_from(name.len()).unwrap()];
        field.extend_from_slice(name.as_bytes());
        field.push(u8::try_from(value.len()).unwrap());
        field.extend_from_slice(value.as_bytes());
        field
    };
    // END_HEADERS has the value 4. The first field is `:status`.
    let head = |flags: u8, status: &str, length: Option<&str>| {
        let mut fields = field(":status", status);
        fields.extend(length.iter().flat_map(|length| field("content-length", length)));
        frame(1, 4 | flags, 1, &fields)
    };
    let data = |flags: u8| frame(0, flags, 1, b"m 1\n");
    let reset = |code: u32| frame(3, 0, 1, &code.to_be_bytes());
    let trailers = |flags: u8| frame(1, 4 | flags, 1, &field("x-sum", "1"));
    let cases: Vec<(&str, Vec<Vec<u8>>, bool, Outcome<'_>)> = vec![
        ("complete", vec![head(0, "200", None), data(END)], false, Ok("1")),
        ("complete, with a length", vec![head(0, "200", Some("4")), data(END)], false, Ok("1")),
        ("trailers", vec![head(0, "200", None), data(0), trailers(END)], false, Ok("1")),
        ("interim", vec![head(0, "103", None), head(0, "200", None), data(END)], false, Ok("1")),
        (
            "several interim",
            vec![head(0, "100", None), head(0, "103", None), head(0, "200", None), data(END)],
            false,
            Ok("1"),
        ),
        ("empty", vec![head(END, "200", None)], false, Ok("0")),
        ("a length, no body", vec![head(END, "200", Some("4"))], false, Err("truncated")),
        ("a short body", vec![head(0, "200", Some("9")), data(END)], false, Err("truncated")),
        ("a long body", vec![head(0, "200", Some("2")), data(END)], false, Err("truncated")),
        ("no END_STREAM", vec![head(0, "200", None), data(0)], false, Err("truncated")),
        ("no END_STREAM, silent", vec![head(0, "200", None), data(0)], true, Err("timeout")),
        ("reset", vec![head(0, "200", None), data(0), reset(2)], true, Err("truncated")),
        (
            "reset without an error",
            vec![head(0, "200", None), data(0), reset(0)],
            true,
            Err("truncated"),
        ),
        ("reset before the body", vec![head(0, "200", None), reset(0)], true, Err("truncated")),
        ("reset before the head", vec![reset(0)], true, Err("truncated")),
        ("closed before the body", vec![head(0, "200", None)], false, Err("truncated")),
        ("only interim", vec![head(0, "100", None)], false, Err("truncated")),
        (
            "an interim response that ends",
            vec![head(END, "100", None)],
            true,
            Err("not_exposition"),
        ),
    ];
    let mut addresses = Vec::new();
    for (_, frames, is_silent, _) in &cases {
        addresses.push(http2_peer(frames.concat(), *is_silent).await);
    }
    let outcomes = outcomes(&addresses, |endpoint| endpoint["protocol"] = json!("http2")).await;
    for ((name, _, _, expected), address) in cases.iter().zip(addresses) {
        let found = outcomes[&address].as_ref().map(String::as_str).map_err(String::as_str);
        assert_eq!(found, *expected, "{name}");
    }
}

/// A redirect is followed if its host is that of the `Host` header, regardless of the port.
#[actix_web::test]
async fn a_redirect_to_another_port_of_the_same_host_is_followed() {
    for location in [
        "http://app.example.com:8080/real",
        "https://APP.example.com.:443/real",
        "//app.example.com:1/real",
    ] {
        let instance = Instance::start(move |seen| match seen.line.as_str() {
            "GET /real HTTP/1.1" => Reply::metrics("m 1\n"),
            _ => Reply::Http(301, vec![("Location", location.to_owned())], vec![]),
        })
        .await;
        let routes = RouteFile::of_app([&instance]);
        let app = spawn_app(&[routes.setting()]).await;
        let answer = app.get("/v1/apps/app-guid/metrics").await;
        assert_eq!(answer.lines("m{").len(), 1, "{location}: {}", answer.text());
        assert!(instance.requests().iter().all(|seen| seen.headers["host"] == "app.example.com"));
    }
}

/// Some servers refuse a GET with a body, even with an empty body.
#[actix_web::test]
async fn a_get_has_no_content_length() {
    let instance = Instance::start(|seen| {
        match ["content-length", "transfer-encoding"]
            .iter()
            .any(|it| seen.headers.contains_key(*it))
        {
            true => Reply::Http(400, vec![], vec![]),
            false => Reply::metrics("m 1\n"),
        }
    })
    .await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    assert_eq!(app.get("/v1/apps/app-guid/metrics").await.lines("m{").len(), 1);
}
