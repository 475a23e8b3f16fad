//! Responses, pages and logs contain no secrets from parameters. Every secret in these requests
//! contains the word `canary`.

use crate::{dedicated_prometheus::InstanceDirs, server_process::Server, test_app::*};
use serde_json::{Value, json};
use support::*;

const PROMETHEUS: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a02";
const STANDARD: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a22";
const METRICS: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a01";
const FETCH_APP: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a11";
const OWN: &str = "/v2/service_instances/own";
const SHARED: &str = "/v2/service_instances/shared";

/// All paths of the API and of the pages.
const PATHS: &[&str] = &[
    "/",
    "/doc",
    "/metrics",
    "/routes",
    "/-/ready",
    "/-/healthy",
    "/v1/apps/app-guid",
    "/v1/apps/app-guid/metrics",
    "/v1/apps/app-guid/only-app-metrics",
    "/v1/apps/app-guid/instances/0/metrics",
    "/v1/apps/app-guid/instances/1/metrics",
    "/v1/apps/metrics?app=app-guid",
    "/sd",
    "/sd?mode=direct",
    "/v1/sd/apps/acme/prod/app?mode=direct&scheme=https",
];

const OF_PROMETHEUS: &[&str] = &[
    "/",
    "/graph",
    "/alerts",
    "/rules",
    "/targets",
    "/config",
    "/flags",
    "/status",
    "/service-discovery",
    "/metrics",
    "/federate?match[]=%7B__name__%3D~%22.%2B%22%7D",
    "/api/v1/query?query=%7B__name__%3D~%22.%2B%22%7D",
    "/api/v1/series?match[]=%7B__name__%3D~%22.%2B%22%7D",
    "/api/v1/labels",
    "/api/v1/label/__name__/values",
    "/api/v1/targets",
    "/api/v1/targets/metadata",
    "/api/v1/scrape_pools",
    "/api/v1/rules",
    "/api/v1/alerts",
    "/api/v1/alertmanagers",
    "/api/v1/notifications",
    "/api/v1/status/config",
    "/api/v1/status/flags",
    "/api/v1/status/runtimeinfo",
    "/api/v1/status/buildinfo",
    "/api/v1/status/tsdb",
    "/api/v1/status/walreplay",
];

fn provision() -> Value {
    json!({
        "service_id": PROMETHEUS, "plan_id": STANDARD,
        "organization_guid": "org-guid", "space_guid": "space-guid",
        "parameters": {
            "scrape_interval": "1s",
            "alertmanager_url": "https://canary-user:canary%40password@192.0.2.1:9093/prefix",
        },
    })
}

fn bind(service: &str, plan: &str) -> Value {
    json!({
        "service_id": service, "plan_id": plan, "bind_resource": {"app_guid": "app-guid"},
        "parameters": {
            "endpoint": "/own?key=canary-query", "params": {"key": ["canary-param", "canary-2"]},
            "headers": {"X-Key": "canary-header"},
            "basic_auth": {"username": "canary-user", "password": "canary-password"},
            "labels": {"team": "checkout"},
        },
    })
}

/// Requests that are refused. The responses must not contain the secret.
fn refused() -> Vec<(&'static str, String, Value)> {
    let of_instance = [
        json!({"alertmanager_url": "https://canary:canary@"}),
        json!({"alertmanager_url": "https://u:canary@127.0.0.1/"}),
        json!({"alertmanager_url": {"canary": "canary"}}),
        json!({"alertmanager_url": "https://canary.invalid/?canary=canary"}),
    ];
    let of_binding = [
        json!({"endpoint": "//canary"}),
        json!({"endpoint": "/x y?canary"}),
        json!({"params": {"key": {"a": "canary"}}}),
        json!({"params": "canary"}),
        json!({"headers": {"X": "canary\r\n"}}),
        json!({"headers": ["canary"]}),
        json!({"basic_auth": "canary"}),
        json!({"basic_auth": {"username": "canary:", "password": "canary"}}),
        json!({"bearer_token": "canary\n"}),
        json!({"bearer_token": ["canary"]}),
    ];
    let mut requests = Vec::new();
    for parameters in of_instance {
        let mut body = provision();
        body["parameters"] = parameters.clone();
        let path = "/v2/service_instances/other?accepts_incomplete=true".to_owned();
        requests.push(("PUT", path, body));
        let body = json!({"service_id": PROMETHEUS, "parameters": parameters});
        requests.push(("PATCH", format!("{OWN}?accepts_incomplete=true"), body));
    }
    for parameters in of_binding {
        for (instance, service, plan) in [(OWN, PROMETHEUS, STANDARD), (SHARED, METRICS, FETCH_APP)]
        {
            let mut body = bind(service, plan);
            body["parameters"] = parameters.clone();
            requests.push(("PUT", format!("{instance}/service_bindings/other"), body));
        }
    }
    requests
}

fn assert_secret(what: &str, answer: &Response) {
    let text = format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body));
    assert!(!text.contains("canary"), "{what}: {} {text}", answer.status);
}

async fn put(server: &Server, path: &str, body: Value) -> Response {
    let answer = server.broker_request("PUT", path, Some(body)).await.unwrap();
    assert!([200, 201, 202].contains(&answer.status), "{}", answer.text());
    answer
}

#[actix_web::test]
async fn responses_pages_and_logs_contain_no_secrets_of_parameters() {
    let (instance_dirs, folder) = (InstanceDirs::new(), tempfile::tempdir().unwrap());
    let good = Instance::with_metrics("shop_orders_total 7\n").await;
    let bad = Instance::start(|_| Reply::Http(500, Vec::new(), Vec::new())).await;
    let routes = RouteFile::of_app([&good, &bad]);
    let settings: Vec<_> = instance_dirs.settings().into_iter().chain([routes.setting()]).collect();
    let mut settings: Vec<(String, &str)> = settings
        .iter()
        .map(|(key, value)| (format!("SCRAPEBROKER__{key}"), value.as_str()))
        .filter(|(key, _)| key != "SCRAPEBROKER__BASE_URL")
        .collect();
    settings.push(("SCRAPEBROKER__LOG__LEVEL".to_owned(), "debug"));
    let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let server = Server::start_with(folder.path(), &settings);

    let shared = json!({
        "service_id": METRICS, "plan_id": FETCH_APP,
        "organization_guid": "org-guid", "space_guid": "space-guid",
    });
    put(&server, SHARED, shared).await;
    let binding = format!("{SHARED}/service_bindings/b1");
    let bound = put(&server, &binding, bind(METRICS, FETCH_APP)).await;
    assert_secret("bind", &bound);
    let ordered = put(&server, &format!("{OWN}?accepts_incomplete=true"), provision()).await;
    assert_secret("provision", &ordered);
    let last_operation = format!("{OWN}/last_operation");
    eventually(async || {
        let last = server.broker_request("GET", &last_operation, None).await?;
        assert_secret("last_operation", &last);
        (last.json()["state"] == "succeeded").then_some(())
    })
    .await;
    let own_binding = format!("{OWN}/service_bindings/b2");
    let bound = put(&server, &own_binding, bind(PROMETHEUS, STANDARD)).await;
    assert_secret("bind", &bound);
    let password = bound.json()["credentials"]["password"].as_str().unwrap().to_owned();
    let (reader, operator) = (basic("scrapebroker", &password), basic(USER, PASSWORD));
    let url = |path: &str| format!("http://{}{path}", server.address);
    let get = async |path: &str, authorization: &str| {
        send("GET", &url(path), &[("Authorization", authorization)], None).await
    };
    eventually(async || {
        let path = "/prometheus/own/api/v1/query?query=shop_orders_total";
        let answer = get(path, &reader).await;
        let has_samples = answer.status == 200
            && answer.json()["data"]["result"].as_array().is_some_and(|it| !it.is_empty());
        has_samples.then_some(())
    })
    .await;
    assert!(good.requests().iter().any(|seen| seen.line.contains("canary-param")));

    for path in ["/v2/catalog", OWN, SHARED, &binding, &own_binding, &last_operation] {
        let answer = server.broker_request("GET", path, None).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert_secret(path, &answer);
    }
    let instance = server.broker_request("GET", OWN, None).await.unwrap().json();
    let shown =
        json!({"scrape_interval": "1s", "alertmanager_url": "https://192.0.2.1:9093/prefix"});
    assert_eq!(instance["parameters"], shown);
    for path in PATHS {
        assert_secret(path, &get(path, &operator).await);
        assert_secret(path, &get(path, "").await);
    }
    for path in OF_PROMETHEUS {
        assert_secret(path, &get(&format!("/prometheus/own{path}"), &reader).await);
    }
    for (method, path, body) in refused() {
        let answer = server.broker_request(method, &path, Some(body.clone())).await.unwrap();
        assert_eq!(answer.status, 400, "{method} {path} {body}: {}", answer.text());
        assert_secret(&path, &answer);
    }
    let log = server.log_text();
    assert!(log.contains("binding created"), "{log}");
    let line = log.lines().find(|line| line.contains("canary"));
    assert_eq!(line, None, "a secret is logged");
}
