use super::{render::render, *};
use crate::http::Accepted;
use actix_web::{http::header::HeaderMap, rt};
use awc::{Client, ClientResponse};
use exposition::{
    AddedLabels, Escaping, Format, Limits, Merge, OutputFormat, Reader,
    testing::{promtool, strict, strict_openmetrics},
};
use flate2::read::MultiGzDecoder;
use std::{io::Read, time::Instant};
use tokio::sync::oneshot;

/// Starts an instance on a free port. It stops when the sender is dropped.
fn start(options: Options) -> (String, oneshot::Sender<()>, rt::task::JoinHandle<io::Result<()>>) {
    let app = DemoApp::bind(([127, 0, 0, 1], 0).into(), options).unwrap();
    let url = format!("http://{}", app.address());
    let (stop, stopped) = oneshot::channel();
    let running = rt::spawn(app.run_until(async { drop(stopped.await) }));
    (url, stop, running)
}

fn header<B>(response: &ClientResponse<B>, name: &str) -> String {
    response.headers().get(name).unwrap().to_str().unwrap().to_owned()
}

#[actix_web::test]
async fn requests_are_counted_also_of_unknown_paths_and_methods() {
    let (url, _stop, _) = start(Options::default());
    let client = Client::default();
    for path in ["/", "/path1", "/path1", "/path2"] {
        assert_eq!(client.get(format!("{url}{path}")).send().await.unwrap().status(), 200);
    }
    for path in ["/path3", "/metrics/", "/favicon.ico"] {
        assert_eq!(client.get(format!("{url}{path}")).send().await.unwrap().status(), 404);
    }
    for path in ["/path1", "/metrics"] {
        assert_eq!(client.post(format!("{url}{path}")).send().await.unwrap().status(), 405);
    }
    let mut response = client.get(format!("{url}/metrics")).send().await.unwrap();
    assert_eq!(header(&response, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let body = String::from_utf8(response.body().await.unwrap().to_vec()).unwrap();
    for sample in [
        "demo_http_requests_total{method=\"GET\",handler=\"/path1\",code=\"200\"} 2\n",
        "demo_http_requests_total{method=\"HEAD\",handler=\"/\",code=\"200\"} 0\n",
        "demo_http_requests_total{method=\"GET\",handler=\"other\",code=\"404\"} 3\n",
        "demo_http_requests_total{method=\"other\",handler=\"/path1\",code=\"405\"} 1\n",
        "demo_http_requests_total{method=\"other\",handler=\"other\",code=\"405\"} 1\n",
        "demo_http_request_duration_seconds_count{handler=\"/path1\"} 2\n",
        "demo_http_request_duration_seconds_bucket{le=\"+Inf\",handler=\"/path2\"} 1\n",
    ] {
        assert!(body.contains(sample), "{sample} in {body}");
    }
    // All label sets of the counter exist from the start.
    let series = body.lines().filter(|line| line.starts_with("demo_http_requests_total{"));
    let before = Metrics::new();
    let created = render(&before, Accepted::by(&HeaderMap::new())).unwrap();
    let created = String::from_utf8(created).unwrap();
    let created = created.lines().filter(|line| line.starts_with("demo_http_requests_total{"));
    assert_eq!(series.count(), created.count());
}

#[actix_web::test]
async fn a_simulated_client_makes_requests_with_traces() {
    let (url, _stop, _) = start(Options { has_visitor: true, ..Options::default() });
    let deadline = Instant::now() + Duration::from_secs(20);
    let exemplars = loop {
        let (_, body) = scraped(&url, ACCEPTED[5].0, "identity").await;
        let text = String::from_utf8(body).unwrap();
        let lines = text.lines().filter(|line| line.contains(" # {trace_id=\""));
        let lines = lines.filter(|line| line.starts_with("demo_http_request"));
        let lines: Vec<_> = lines.map(str::to_owned).collect();
        let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
        if has("demo_http_requests_total{") && has("demo_http_request_duration_seconds_bucket{") {
            break lines;
        }
        assert!(Instant::now() < deadline, "{text}");
        rt::time::sleep(Duration::from_millis(100)).await;
    };
    let id = exemplars[0].split("trace_id=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(id.len(), 32, "{exemplars:?}");
}

#[actix_web::test]
async fn head_has_no_body_and_other_methods_are_rejected() {
    let (url, _stop, _) = start(Options::default());
    let client = Client::default();
    for path in ["/", "/metrics"] {
        let mut response = client.head(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers().contains_key("content-length"));
        assert!(response.body().await.unwrap().is_empty());
        let response = client.post(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(response.status(), 405);
        assert_eq!(header(&response, "allow"), "GET, HEAD");
    }
}

#[actix_web::test]
async fn head_of_the_metrics_has_the_headers_of_their_format() {
    let (url, _stop, _) = start(Options::default());
    let request = Client::default().head(format!("{url}/metrics")).no_decompress();
    let (accept, content_type, _) = ACCEPTED[5];
    let request = request.insert_header(("Accept", accept));
    let response = request.insert_header(("Accept-Encoding", "gzip")).send().await.unwrap();
    assert!(header(&response, "content-type").starts_with(content_type));
    assert_eq!(header(&response, "content-encoding"), "gzip");
}

#[actix_web::test]
async fn metrics_may_have_another_path_and_a_password() {
    let (url, _stop, _) = start(Options {
        path: "actuator/prometheus".parse().unwrap(),
        basic_auth: Some(BasicAuth { username: "u".to_owned(), password: "p:w".into() }),
        index: 2,
        ..Options::default()
    });
    let client = Client::default();
    let metrics = format!("{url}/actuator/prometheus");
    assert_eq!(client.get(format!("{url}/metrics")).send().await.unwrap().status(), 404);
    assert_eq!(client.get(format!("{url}/")).send().await.unwrap().status(), 200);

    let response = client.get(&metrics).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(header(&response, "www-authenticate").starts_with("Basic "));
    let wrong = ["Basic dTp3cm9uZw==", "Basic !", "Basic", "Bearer dTpwOnc="];
    for wrong in wrong {
        let request = client.get(&metrics).insert_header(("Authorization", wrong));
        assert_eq!(request.send().await.unwrap().status(), 401, "{wrong}");
    }
    let response = client.get(&metrics).basic_auth("u", "p:w").send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[actix_web::test]
async fn the_app_stops_and_an_address_in_use_is_an_error() {
    let app = DemoApp::bind(([127, 0, 0, 1], 0).into(), Options::default()).unwrap();
    let address = app.address();
    let second = DemoApp::bind(address, Options::default()).err().unwrap();
    assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    app.run_until(std::future::ready(())).await.unwrap();
    assert!(DemoApp::bind(address, Options::default()).is_ok());
}

#[actix_web::test]
async fn an_instance_may_fail_on_purpose() {
    let (url, _stop, _) = start(Options { fails_on_purpose: true, ..Options::default() });
    let client = Client::default();
    let mut response = client.get(format!("{url}/metrics")).send().await.unwrap();
    assert_eq!(response.status(), 500);
    let body = String::from_utf8(response.body().await.unwrap().to_vec()).unwrap();
    assert!(body.contains("fails on purpose"), "{body}");
    assert_eq!(client.get(format!("{url}/")).send().await.unwrap().status(), 200);
}

/// The metrics in a format. They are served by the default instance.
async fn scraped(url: &str, accept: &str, encoding: &str) -> (String, Vec<u8>) {
    let client = Client::builder().no_default_headers().finish();
    let request = client.get(format!("{url}/metrics")).no_decompress();
    let request = request.insert_header(("Accept", accept));
    let mut response = request.insert_header(("Accept-Encoding", encoding)).send().await.unwrap();
    assert_eq!(response.status(), 200, "{accept}");
    assert_eq!(header(&response, "vary"), "Accept, Accept-Encoding");
    let has_gzip = response.headers().contains_key("content-encoding");
    assert_eq!(has_gzip, encoding == "gzip");
    let mut body = response.body().await.unwrap().to_vec();
    if has_gzip {
        let mut plain = Vec::new();
        MultiGzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
        body = plain;
    }
    (header(&response, "content-type"), body)
}

/// `Accept` headers, and the `Content-Type` of their responses without the parameter `escaping`.
const ACCEPTED: [(&str, &str, Format); 7] = [
    ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8", Format::Text004),
    ("image/png", "text/plain; version=0.0.4; charset=utf-8", Format::Text004),
    ("*/*;q=2", "text/plain; version=0.0.4; charset=utf-8", Format::Text004),
    ("text/plain;version=1.0.0", "text/plain; version=1.0.0; charset=utf-8", Format::Text100),
    (
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text; version=0.0.1; charset=utf-8",
        Format::OpenMetrics001,
    ),
    (
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        Format::OpenMetrics100,
    ),
    (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        Format::Protobuf,
    ),
];

#[actix_web::test]
async fn every_format_is_valid_and_has_its_content_type() {
    let (url, _stop, _) = start(Options::default());
    for path in ["/", "/path1"] {
        Client::default().get(format!("{url}{path}")).send().await.unwrap();
    }
    for (accept, content_type, format) in ACCEPTED {
        for encoding in ["identity", "gzip"] {
            let (actual, body) = scraped(&url, accept, encoding).await;
            assert!(actual.starts_with(content_type), "{accept}: {actual}");
            assert_eq!(Format::from_content_type(&actual), Ok(format));
            match format {
                Format::Text004 | Format::Text100 => {
                    let text = String::from_utf8(body).unwrap();
                    assert!(strict::read(&text, false).len() > 50, "{text}");
                    assert_eq!(
                        promtool::check(text.as_bytes()),
                        (Some(0), String::new()),
                        "{text}"
                    );
                }
                Format::OpenMetrics001 | Format::OpenMetrics100 => {
                    let text = String::from_utf8(body).unwrap();
                    assert!(strict_openmetrics::read(&text, false).len() > 50, "{text}");
                }
                Format::Protobuf => {
                    let text = converted(body);
                    strict_openmetrics::read(&text, false);
                }
            }
        }
    }
}

/// A protobuf body as OpenMetrics.
fn converted(body: Vec<u8>) -> String {
    let output = OutputFormat::new(Format::OpenMetrics100);
    let reader = Reader::new(output, Limits::default());
    let parsed = reader.parse(body, Format::Protobuf, AddedLabels::new([])).unwrap();
    let mut merge = Merge::new(output, vec![parsed]);
    let mut text = Vec::new();
    while merge.next_chunk(&mut text, 1 << 16) {}
    // Both queues have a native histogram, which text does not have.
    assert_eq!(merge.stats().lost_native_histograms, 2);
    String::from_utf8(text).unwrap()
}

#[actix_web::test]
async fn the_escaping_that_a_scraper_asks_for_is_repeated() {
    let (url, _stop, _) = start(Options::default());
    let accept = "text/plain;version=1.0.0;escaping=allow-utf-8";
    let (content_type, _) = scraped(&url, accept, "identity").await;
    let expected = OutputFormat::new(Format::Text100).with_escaping(Escaping::AllowUtf8);
    assert_eq!(content_type, expected.content_type());
}

#[actix_web::test]
async fn openmetrics_has_every_type_units_exemplars_and_created_times() {
    let (url, _stop, _) = start(Options::default());
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = Client::default().get(format!("{url}/path2"));
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    request.insert_header(("traceparent", parent)).send().await.unwrap();
    Client::default().get(format!("{url}/path1")).send().await.unwrap();
    let (_, body) = scraped(&url, ACCEPTED[5].0, "gzip").await;
    let text = String::from_utf8(body).unwrap();
    for line in [
        "# TYPE demo_http_requests counter",
        "# TYPE demo_queue_length gauge",
        "# TYPE demo_job_wait_seconds summary",
        "# UNIT demo_job_wait_seconds seconds",
        "# TYPE demo_http_request_duration_seconds histogram",
        "# UNIT demo_http_request_duration_seconds seconds",
        "# TYPE demo_job_duration_seconds histogram",
        "# TYPE demo_app info",
        "# TYPE demo_queue_state stateset",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in {text}");
    }
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
    let exemplar = format!(" # {{trace_id=\"{trace}\"}} ");
    let visits = "demo_http_requests_total{method=\"GET\",handler=\"/path2\",code=\"200\"}";
    assert!(line(visits).contains(&exemplar));
    // Requests without a trace have no exemplar.
    let untraced = "demo_http_requests_total{method=\"GET\",handler=\"/path1\",code=\"200\"} ";
    assert_eq!(line(untraced), format!("{untraced}1"));
    let buckets = text.lines().filter(|line| line.contains("_bucket{"));
    assert_eq!(buckets.filter(|line| line.contains(&exemplar)).count(), 1, "{text}");
    assert!(line("demo_jobs_done_total").contains(" # {trace_id="));
    line("demo_job_wait_seconds_created{");
    // Each family has help, which ends in a full stop.
    for (metadata, name) in
        text.lines().filter_map(|line| Some((line, line.strip_prefix("# TYPE ")?)))
    {
        let name = name.split(' ').next().unwrap();
        let help = text.lines().find(|line| line.starts_with(&format!("# HELP {name} ")));
        assert!(help.is_some_and(|help| help.ends_with('.')), "{metadata}");
    }
}

#[actix_web::test]
async fn health_is_not_counted_and_the_page_links_the_metrics() {
    let (url, _stop, _) = start(Options::default());
    let client = Client::default();
    let mut response = client.get(format!("{url}/health")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.body().await.unwrap(), "ok\n");
    let mut response = client.get(format!("{url}/")).send().await.unwrap();
    let page = String::from_utf8(response.body().await.unwrap().to_vec()).unwrap();
    assert!(
        page.contains("<a href=\"/metrics\">") && page.contains("<a href=\"/health\">"),
        "{page}"
    );
    let (_, body) = scraped(&url, "", "identity").await;
    let text = String::from_utf8(body).unwrap();
    assert!(!text.contains("/health"), "{text}");
}
