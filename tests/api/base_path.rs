//! A `base_url` with a path: behind a router that forwards the path, and behind a proxy that strips
//! it.

use crate::{pages::links, test_app::*};
use serde_json::json;
use support::{programs::Prometheus, *};

/// Starts the program on a port that is selected before the start, because `base_url` contains it.
async fn spawn_app_below(path: &str, more: &[(&str, String)]) -> TestApp {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut settings =
        vec![("LISTEN", port.to_string()), ("BASE_URL", format!("http://{port}{path}"))];
    settings.extend_from_slice(more);
    spawn_app(&settings).await
}

#[actix_web::test]
async fn all_pages_and_apis_work_with_the_path_kept_or_stripped() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app_below("/metrics-broker", &[routes.setting()]).await;
    let base = format!("http://{}/metrics-broker", app.address);
    let authorization = basic(USER, PASSWORD);
    let headers = [("Authorization", &*authorization), ("X-Broker-Api-Version", "2.15")];
    let mut paths = vec![
        "/".to_owned(),
        "/?details".to_owned(),
        "/doc".to_owned(),
        "/style.css".to_owned(),
        "/-/ready".to_owned(),
        "/-/healthy".to_owned(),
        "/metrics".to_owned(),
        "/routes".to_owned(),
        "/v1/apps/app-guid".to_owned(),
        "/v1/apps/app-guid/metrics".to_owned(),
        "/v1/apps/metrics?route_url=app.example.com".to_owned(),
        "/v1/apps/acme%2Fprod%2Fapp/instances/0/metrics".to_owned(),
        "/broker/v2/catalog".to_owned(),
    ];
    for page in ["/", "/doc"] {
        let page = app.get_with(page, &headers).await.text();
        for link in links(&page).into_iter().filter(|link| !link.starts_with('#')) {
            let path = link.strip_prefix("/metrics-broker");
            paths.push(
                path.unwrap_or_else(|| panic!("{link} is outside of the base URL")).to_owned(),
            );
        }
        assert!(!page.contains("/metrics-broker/metrics-broker"), "{page}");
    }
    for path in paths {
        for before in ["", "/metrics-broker"] {
            let answer = app.get_with(&format!("{before}{path}"), &headers).await;
            assert_eq!(answer.status, 200, "{before}{path}: {}", answer.text());
        }
    }
    assert_eq!(app.get("/metrics-broker").await.status, 200);
    assert_eq!(app.get("/metrics-brokers/doc").await.status, 404);
    let doc = app.get("/doc").await.text();
    assert!(doc.contains(&format!("curl {base}/v1/apps/")), "{doc}");
    assert!(doc.contains("metrics_path: /metrics-broker/v1/apps/metrics"), "{doc}");

    let bound = app.bind("b1", "app-guid", json!({})).await.json();
    let url = bound["credentials"]["url"].as_str().unwrap();
    assert!(url.starts_with(&base), "{url}");
    assert_eq!(send("GET", url, &headers[..1], None).await.status, 200);
    let tsuru = app.get_with("/metrics-broker/tsuru/metrics/resources/plans", &headers).await;
    assert_eq!(tsuru.status, 200, "{}", tsuru.text());
    for before in ["", "/metrics-broker"] {
        let list = app.get_with(&format!("{before}/sd?mode=router"), &headers).await.json();
        let path = list[0]["labels"]["__metrics_path__"].as_str().unwrap();
        assert!(path.starts_with("/metrics-broker/v1/apps/app-guid/"), "{list}");
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    }
}

/// A real Prometheus reads the target list and scrapes the targets.
#[actix_web::test]
async fn a_real_prometheus_discovers_and_scrapes_targets_below_a_path() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app_below("/metrics-broker", &[routes.setting()]).await;
    let scrape_configs = format!(
        "- job_name: apps
  honor_labels: true
  basic_auth: {{username: {USER}, password: '{PASSWORD}'}}
  http_sd_configs:
  - url: http://{}/metrics-broker/sd
    refresh_interval: 2s
    basic_auth: {{username: {USER}, password: '{PASSWORD}'}}
",
        app.address
    );
    let prometheus = Prometheus::start(&scrape_configs);
    let found = prometheus.query("up{app_name=\"app\"} == 1").await;
    assert_eq!(found.len(), 1);
    let samples = prometheus.query("a{app_name=\"app\"}").await;
    assert_eq!(samples[0]["value"][1], "1");
}
