use super::{Format, InitError, RequestSpan, logging::subscriber};
use actix_web::{
    App, HttpResponse, error,
    test::{TestRequest, call_service, init_service},
    web,
};
use serde_json::Value;
use std::{
    io,
    sync::{Arc, Mutex},
};
use tracing_actix_web::TracingLogger;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Captures the log lines of this thread until the guard is dropped.
fn capture(level: &str, format: Format) -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = subscriber(level, format, false, move || writer.clone()).unwrap();
    (lines, tracing::subscriber::set_default(subscriber))
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn events() {
    let span = tracing::info_span!("request", request_id = "42");
    let _entered = span.enter();
    tracing::info!(routes = 3, "a table\nof routes");
    tracing::debug!("not at info");
    tracing::debug!(target: "scrapebroker::http", "a part");
}

#[test]
fn a_json_line_is_one_object_with_the_fields_of_event_and_spans() {
    let (lines, _guard) = capture("info", Format::Json);
    events();
    let [line] = lines.json().try_into().unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["message"], "a table\nof routes");
    assert_eq!(line["routes"], 3);
    assert_eq!(line["target"], module_path!());
    assert_eq!(line["spans"][0]["request_id"], "42");
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
}

#[test]
fn a_text_line_has_the_same_fields() {
    let (lines, _guard) = capture("info", Format::Text);
    events();
    let text = lines.text();
    for part in ["INFO", "request_id=\"42\"", "routes=3", "a table"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_logfmt_line_has_the_keys_of_exporters_and_quotes_values_where_necessary() {
    let (lines, _guard) = capture("info", Format::Logfmt);
    events();
    let text = lines.text();
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(time.starts_with("ts=") && time.ends_with('Z'), "{text}");
    let target = module_path!();
    let expected =
        format!("level=info target={target} msg=\"a table\\nof routes\" routes=3 request_id=42\n");
    assert_eq!(rest, expected);

    let (lines, _guard) = capture("info", Format::Logfmt);
    let error = io::Error::other("it's \"wrong\"");
    tracing::warn!(plain = "a-b/c:1", empty = "", pair = "a=b", quote = "\u{1b}[1m\"", %error, flag = true, none = None::<u8>, "plain");
    let expected = "level=warn target=scrapebroker::telemetry::tests msg=plain plain=a-b/c:1 empty=\"\" \
                    pair=\"a=b\" quote=\"\\u001b[1m\\\"\" error=\"it's \\\"wrong\\\"\" flag=true\n";
    assert_eq!(lines.text().split_once(' ').unwrap().1, expected);
}

#[test]
fn the_level_can_be_set_per_module() {
    let (lines, guard) = capture("warn,scrapebroker::http=debug", Format::Text);
    events();
    let text = lines.text();
    assert!(text.contains("a part") && !text.contains("a table"), "{text}");
    drop(guard);
    let (lines, _guard) = capture("off", Format::Text);
    events();
    assert_eq!(lines.text(), "");
}

#[test]
fn an_invalid_level_is_rejected() {
    let error = subscriber("scrapebroker=loud", Format::Text, false, io::sink).err().unwrap();
    assert!(matches!(error, InitError::Level(_)), "{error}");
}

/// Sends a request and returns its access log lines.
async fn requested(level: &str, request: TestRequest) -> Vec<Value> {
    let (lines, _guard) = capture(level, Format::Json);
    let app = App::new()
        .wrap(TracingLogger::<RequestSpan>::new())
        .route("/fails", web::to(async || Err::<(), _>(error::ErrorInternalServerError("cause"))))
        .default_service(web::to(HttpResponse::NotFound));
    let app = init_service(app).await;
    call_service(&app, request.to_request()).await;
    lines.json()
}

#[actix_web::test]
async fn a_request_is_one_line_with_its_status_latency_and_ids() {
    let request = TestRequest::get()
        .uri("/v1/apps/metrics?app=o/s/a&token=hunter2")
        .peer_addr(([10, 0, 0, 1], 4711).into())
        .insert_header(("X-Vcap-Request-Id", "from-the-router"))
        .insert_header(("Authorization", "Bearer hunter2"));
    let [line] = requested("info", request).await.try_into().unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["message"], "GET /v1/apps/metrics: 404");
    assert_eq!(line["status"], 404);
    assert!(line["latency_ms"].is_number(), "{line}");
    let span = &line["spans"][0];
    assert_eq!(span["method"], "GET");
    assert_eq!(span["path"], "/v1/apps/metrics?app=o/s/a&token=…");
    assert_eq!(span["peer"], "10.0.0.1:4711");
    assert_eq!(span["platform_request_id"], "from-the-router");
    assert_eq!(span["request_id"].as_str().unwrap().len(), 36);
    assert!(!line.to_string().contains("hunter2"), "{line}");
}

#[actix_web::test]
async fn health_checks_are_logged_at_debug_only() {
    for path in ["/-/healthy", "/-/ready"] {
        let request = || TestRequest::get().uri(path);
        assert!(requested("info", request()).await.is_empty());
        let lines = requested("scrapebroker=debug,info", request()).await;
        assert_eq!(lines[0]["level"], "DEBUG", "{lines:?}");
    }
}

#[actix_web::test]
async fn internal_errors_are_logged_as_errors() {
    let [line] = requested("error", TestRequest::get().uri("/fails")).await.try_into().unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["status"], 500);
    assert_eq!(line["error"], "cause");
    assert_eq!(line["spans"][0]["path"], "/fails");
}
