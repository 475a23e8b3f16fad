//! The metrics of the demo app: of one instance, and of two instances as Scrapebroker merges them.
//! Every format is checked with a strict parser, and a real Prometheus stores native histograms and
//! exemplars.

use super::reference_parser;
use exposition::{
    Format,
    testing::{promtool, strict_openmetrics},
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};
use support::{
    Response, RouteFile, eventually,
    programs::{Process, Prometheus, free_address, start},
    send,
};
use tempfile::TempDir;
use tokio::net::TcpStream;

const PROGRAM: &str = env!("CARGO_BIN_EXE_scrapebroker");

pub(crate) const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
pub(crate) const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// An instance of the demo app.
pub(crate) struct DemoApp {
    pub(crate) address: SocketAddr,
    _process: Process,
}

impl DemoApp {
    pub(crate) async fn start() -> Self {
        let address = free_address();
        let arguments = ["demo-app", "--web.listen-address", &address.to_string()];
        let process = start(PROGRAM, &arguments.map(str::to_owned));
        eventually(async || TcpStream::connect(address).await.ok()).await;
        Self { address, _process: process }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }
}

/// Two instances of the demo app, and a Scrapebroker that scrapes them.
struct DemoApps {
    instances: [DemoApp; 2],
    scrapebroker: SocketAddr,
    _process: Process,
    _routes: RouteFile,
    _folder: TempDir,
}

impl DemoApps {
    async fn start() -> Self {
        let instances = [DemoApp::start().await, DemoApp::start().await];
        let scrapebroker = free_address();
        let routes = RouteFile::of_addresses(instances.iter().map(|instance| instance.address));
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        let settings = format!(
            "listen: {scrapebroker}\n\
             database_url: sqlite://{}/test.db\n\
             broker: {{ username: u, password: correct horse battery }}\n\
             routes: {{ file: {} }}\n\
             prometheus: {{ provisioner: none }}\n\
             drain_wait: 0s\n",
            folder.path().display(),
            routes.setting().1,
        );
        std::fs::write(&config, settings).unwrap();
        let serve = ["serve".to_owned(), "--config".to_owned(), config.display().to_string()];
        let process = start(PROGRAM, &serve);
        eventually(async || TcpStream::connect(scrapebroker).await.ok()).await;
        let ready = format!("http://{scrapebroker}/-/ready");
        eventually(async || (send("GET", &ready, &[], None).await.status == 200).then_some(()))
            .await;
        Self { instances, scrapebroker, _process: process, _routes: routes, _folder: folder }
    }

    fn merged_url(&self) -> String {
        format!("http://{}/v1/apps/app-guid/metrics", self.scrapebroker)
    }

    /// Two equal scrapes: the first one tells Scrapebroker the format of the instances.
    async fn merged(&self, accept: &str) -> Response {
        scrape(&self.merged_url(), accept).await;
        scrape(&self.merged_url(), accept).await
    }
}

pub(crate) async fn scrape(url: &str, accept: &str) -> Response {
    let response = send("GET", url, &[("Accept", accept)], None).await;
    assert_eq!(response.status, 200, "{accept}: {}", String::from_utf8_lossy(&response.body));
    response
}

/// Asserts that a response has this format, and that strict parsers accept it.
fn assert_valid(response: &Response, format: Format) {
    let content_type = &response.headers["content-type"];
    assert_eq!(Format::from_content_type(content_type), Ok(format), "{content_type}");
    match format {
        Format::Text004 | Format::Text100 => {
            let text = response.text();
            assert_eq!(promtool::check(&response.body), (Some(0), String::new()), "{text}");
        }
        Format::OpenMetrics001 | Format::OpenMetrics100 => {
            let text = response.text();
            let samples = strict_openmetrics::read(&text, false).len();
            assert_eq!(reference_parser::read([text.as_str()]), [Ok(samples)], "{text}");
        }
        Format::Protobuf => assert!(!response.body.is_empty()),
    }
    assert_eq!(checked_by_merge(response, format), (Some(0), String::new()), "{format}");
}

/// Exit code and output of `merge --check`.
fn checked_by_merge(response: &Response, format: Format) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, &response.body).unwrap();
    let to = format.to_string();
    let output = Command::new(PROGRAM)
        .args(["merge", "--check", "--from", &to, "--to", &to])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(printed).unwrap())
}

#[actix_web::test]
async fn every_format_passes_all_checks_from_an_instance_and_merged() {
    let apps = DemoApps::start().await;
    let formats = [
        ("text/plain;version=0.0.4", Format::Text004),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", Format::Text100),
        ("application/openmetrics-text;version=0.0.1", Format::OpenMetrics001),
        (OPENMETRICS, Format::OpenMetrics100),
        (PROTOBUF, Format::Protobuf),
    ];
    for (accept, format) in formats {
        for instance in &apps.instances {
            assert_valid(&scrape(&instance.url(), accept).await, format);
        }
        let merged = apps.merged(accept).await;
        assert_valid(&merged, format);
        assert_eq!(merged.headers["x-scrapebroker-instances"], "2/2");
    }
    let merged = apps.merged(OPENMETRICS).await;
    for family in ["# TYPE demo_job_wait_seconds summary", "# TYPE demo_queue_state stateset"] {
        assert_eq!(merged.lines(family), [family]);
    }
    // Both queues of both instances.
    assert_eq!(merged.lines("demo_job_wait_seconds_count{").len(), 4);
    let exemplars = merged.lines("demo_jobs_done_total{");
    assert_eq!(exemplars.len(), 4);
    assert!(exemplars.iter().all(|line| line.contains(" # {trace_id=\"")), "{exemplars:?}");
}

#[actix_web::test]
async fn a_real_prometheus_stores_native_histograms_and_exemplars() {
    let apps = DemoApps::start().await;
    let scrape_configs = format!(
        "- {{job_name: direct, static_configs: [{{targets: ['{}']}}]}}\n\
         - {{job_name: merged, honor_labels: true, metrics_path: /v1/apps/app-guid/metrics,\n   \
         static_configs: [{{targets: ['{}']}}]}}\n",
        apps.instances[0].address, apps.scrapebroker,
    );
    let features = ["native-histograms", "exemplar-storage"];
    let prometheus = Prometheus::start_with(&features, &scrape_configs);
    // One quantile of the one instance, and one per instance of the merged app.
    for (selector, quantiles) in [("job=\"direct\"", 1), ("job!=\"direct\",app_name=\"app\"", 2)] {
        let rate = format!("rate(demo_job_duration_seconds{{{selector},queue=\"mail\"}}[30s])");
        let query = format!("histogram_quantile(0.9, {rate})");
        let found = eventually(async || {
            let found = prometheus.query(&query).await;
            (found.len() == quantiles && found.iter().all(|it| value(it) > 0.0)).then_some(found)
        })
        .await;
        // Jobs take less than five seconds, and a native bucket is at most 10 % wide.
        assert!(found.iter().all(|result| value(result) < 5.5), "{found:?}");
        // The classic buckets and the native histogram are series of different names.
        let has_buckets =
            format!("count({{__name__=~\"demo_job_.+_bucket\",{selector}}}) or vector(0)");
        assert_eq!(value(&prometheus.query(&has_buckets).await[0]), 0.0);
    }
    for query in ["demo_jobs_done_total", "demo_jobs_done_total{app_name=\"app\"}"] {
        let series = prometheus.exemplars(query).await;
        let exemplar = &series[0]["exemplars"][0];
        let trace = exemplar["labels"]["trace_id"].as_str().unwrap();
        assert_eq!(trace.len(), 32, "{series:?}");
    }
}

/// The value of a result of an instant query.
fn value(result: &Value) -> f64 {
    result["value"][1].as_str().unwrap().parse().unwrap_or(f64::NAN)
}
