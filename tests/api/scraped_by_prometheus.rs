//! A real Prometheus scrapes apps through the program. Some instances are real node exporters.

use crate::{promtool, test_app::*};
use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};
use support::{
    programs::{Prometheus, free_address, start},
    protobuf, *,
};

#[actix_web::test]
async fn a_real_prometheus_sends_its_token_and_scrapes_the_external_exporter() {
    let instance = Instance::with_metrics("jobs 5\n").await;
    let exporter = Instance::with_metrics("bill 7\n").await;
    let routes = RouteFile::of_app([&instance]);
    let exporters = format!("[{{\"host\": \"{}\"}}]", exporter.address);
    let settings = [
        routes.setting(),
        ("SCRAPE__ACCESS", "token".to_owned()),
        ("EXTERNAL_EXPORTERS", exporters),
    ];
    let app = spawn_app(&settings).await;
    let bound = app.bind("b1", "app-guid", serde_json::json!({})).await.json();
    let credentials = &bound["credentials"];
    let job = |name: &str, authorization: &str| {
        format!(
            "- job_name: {name}
  metrics_path: /v1/apps/metrics
  params: {{route_url: [app.example.com]}}
  honor_labels: true
  {authorization}
  static_configs: [{{targets: ['{}']}}]
",
            app.address
        )
    };
    let bearer = format!("authorization: {{credentials: {}}}", credentials["token"]);
    let basic = format!(
        "basic_auth: {{username: {}, password: {}}}",
        credentials["username"], credentials["password"]
    );
    let jobs = [job("bearer", &bearer), job("basic", &basic), job("anonymous", "")].concat();
    let prometheus = Prometheus::start(&jobs);
    for (query, value) in [
        ("up{job=\"bearer\"} == 1", "1"),
        ("up{job=\"basic\"} == 1", "1"),
        ("up{job=\"anonymous\"}", "0"),
        ("jobs{job=\"basic\",app_name=\"app\",index=\"0\"}", "5"),
        ("bill{job=\"bearer\",app_name=\"app\",index=\"\"}", "7"),
    ] {
        let result = prometheus.query(query).await;
        assert_eq!(result[0]["value"][1], value, "{query}: {result:?}");
    }
}

#[actix_web::test]
async fn a_real_prometheus_scrapes_all_instances_by_route_url() {
    let first = Instance::with_metrics("# TYPE jobs_total counter\njobs_total 5\n").await;
    let second = Instance::with_metrics("# TYPE jobs_total counter\njobs_total 7\n").await;
    let routes = RouteFile::of_app([&first, &second]);
    let app = spawn_app(&[routes.setting()]).await;
    let prometheus = Prometheus::start(&format!(
        "- job_name: my-app
  metrics_path: /v1/apps/metrics
  params: {{route_url: [app.example.com]}}
  honor_labels: true
  static_configs: [{{targets: ['{}']}}]
",
        app.address
    ));
    let up = prometheus.query("up{job=\"my-app\"} == 1").await;
    assert_eq!(up.len(), 1);
    let series = prometheus.query("jobs_total").await;
    let mut values: Vec<_> = series
        .iter()
        .map(|one| {
            let labels = &one["metric"];
            assert_eq!(labels["app_name"], "app");
            assert_eq!(labels["organization_name"], "acme");
            assert_eq!(labels["job"], "my-app");
            let text = |name: &str| labels[name].as_str().unwrap().to_owned();
            (text("index"), text("instance"), one["value"][1].as_str().unwrap().to_owned())
        })
        .collect();
    values.sort();
    let expected = [
        ("0".to_owned(), first.address.to_string(), "5".to_owned()),
        ("1".to_owned(), second.address.to_string(), "7".to_owned()),
    ];
    assert_eq!(values, expected);
    let instances_up = prometheus.query("sum(scrapebroker_instance_up)").await;
    assert_eq!(instances_up[0]["value"][1], "2");
    // The timeout comes from the scrape timeout of Prometheus, which is one second.
    assert!(first.requests()[0].headers["x-prometheus-scrape-timeout-seconds"].starts_with("0."));
}

#[actix_web::test]
async fn up_is_0_in_prometheus_if_all_instances_fail() {
    let broken = Instance::start(|_| Reply::Http(500, vec![], vec![])).await;
    let routes = RouteFile::of_app([&broken]);
    let app = spawn_app(&[routes.setting()]).await;
    let prometheus = Prometheus::start(&format!(
        "- job_name: my-app
  metrics_path: /v1/apps/acme/prod/app/metrics
  static_configs: [{{targets: ['{}']}}]
",
        app.address
    ));
    assert_eq!(prometheus.query("up{job=\"my-app\"} == 0").await.len(), 1);
}

#[actix_web::test]
async fn two_real_node_exporters_are_the_instances_of_one_app() {
    let addresses = [free_address(), free_address()];
    let _exporters = addresses.map(|address| {
        let collectors = ["--collector.disable-defaults", "--collector.loadavg"];
        let mut arguments = vec![format!("--web.listen-address={address}")];
        arguments.extend(collectors.map(str::to_owned));
        start("prometheus-node-exporter", &arguments)
    });
    let routes = RouteFile::of_addresses(addresses);
    let app = spawn_app(&[routes.setting()]).await;
    let answer = eventually(async || {
        let answer = app.get("/v1/apps/app-guid/metrics").await;
        (answer.headers.get("x-scrapebroker-instances")? == "2/2").then_some(answer)
    })
    .await;
    for (index, address) in addresses.into_iter().enumerate() {
        let wanted = format!("node_load1{{{}}}", labels(index, address));
        assert_eq!(answer.lines(&wanted).len(), 1, "{}", answer.text());
    }
    assert_eq!(answer.lines("# TYPE node_load1 ").len(), 1);
    let (code, findings) = promtool::check(&answer.body);
    assert!(matches!(code, Some(0 | 3)), "{findings}");
}

/// The scrape configuration for the app.
fn scrape_of(address: SocketAddr) -> String {
    format!(
        "- job_name: my-app
  metrics_path: /v1/apps/acme/prod/app/metrics
  honor_labels: true
  static_configs: [{{targets: ['{address}']}}]
"
    )
}

#[actix_web::test]
async fn a_real_prometheus_stores_the_exemplars_of_openmetrics() {
    let instance = Instance::start(|seen| {
        assert!(seen.headers["accept"].starts_with("application/openmetrics-text;version=1.0.0"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let body = format!(
            "# TYPE jobs counter\njobs_total 5 # {{trace_id=\"abc\"}} 1.5 {now}.25\n# EOF\n"
        );
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        Reply::Http(200, vec![("Content-Type", content_type.to_owned())], body.into_bytes())
    })
    .await;
    // All instances use the same format. If one instance used text, the response would be text.
    let other = Instance::start(|_| {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let body = b"# TYPE jobs counter\njobs_total 7\n# EOF\n".to_vec();
        Reply::Http(200, vec![("Content-Type", content_type.to_owned())], body)
    })
    .await;
    let routes = RouteFile::of_app([&instance, &other]);
    let app = spawn_app(&[routes.setting()]).await;
    let prometheus = Prometheus::start_with(&["exemplar-storage"], &scrape_of(app.address));
    let exemplars = prometheus.exemplars("jobs_total").await;
    assert_eq!(exemplars.len(), 1);
    assert_eq!(exemplars[0]["seriesLabels"]["index"], "0");
    assert_eq!(exemplars[0]["exemplars"][0]["labels"]["trace_id"], "abc");
    assert_eq!(exemplars[0]["exemplars"][0]["value"], "1.5");
    assert_eq!(prometheus.query("count(jobs_total) == 2").await.len(), 1);
}

/// A native histogram with five observations: three in the zero bucket and one in each of two
/// adjacent buckets.
fn native_histogram() -> Vec<u8> {
    use protobuf::{delimited, double, message, number, signed, text};
    let histogram = message(
        7,
        &[
            number(1, 5),
            double(2, 3.5),
            signed(5, 0),
            double(6, 0.001),
            number(7, 3),
            message(12, &[signed(1, 1), number(2, 2)]),
            signed(13, 1),
            signed(13, 0),
        ],
    );
    let metric = message(4, &[message(1, &[text(1, "code"), text(2, "200")]), histogram]);
    delimited(&[text(1, "seconds"), number(3, 4), metric])
}

#[actix_web::test]
async fn a_real_prometheus_stores_native_histograms() {
    let instance = Instance::start(|seen| {
        assert!(seen.headers["accept"].starts_with("application/vnd.google.protobuf;"));
        let content_type = protobuf::CONTENT_TYPE.to_owned();
        Reply::Http(200, vec![("Content-Type", content_type)], native_histogram())
    })
    .await;
    let other = Instance::start(|_| {
        use protobuf::{delimited, double, message, number, text};
        let value = message(4, &[message(3, &[double(1, 7.0)])]);
        let body = delimited(&[text(1, "jobs_total"), number(3, 0), value]);
        Reply::Http(200, vec![("Content-Type", protobuf::CONTENT_TYPE.to_owned())], body)
    })
    .await;
    let routes = RouteFile::of_app([&instance, &other]);
    let app = spawn_app(&[routes.setting()]).await;
    let prometheus = Prometheus::start_with(&["native-histograms"], &scrape_of(app.address));
    let found = prometheus.query("seconds").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["metric"]["index"], "0");
    assert_eq!(found[0]["metric"]["code"], "200");
    assert_eq!(found[0]["histogram"][1]["count"], "5");
    assert_eq!(found[0]["histogram"][1]["sum"], "3.5");
    assert_eq!(found[0]["histogram"][1]["buckets"].as_array().unwrap().len(), 3);
    assert_eq!(prometheus.query("jobs_total{index=\"1\"}").await[0]["value"][1], "7");
}
