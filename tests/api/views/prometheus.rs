//! The list of Prometheus instances, and the page of one, in front of a fake server.

use super::fake_prometheus::fake_prometheus;
use crate::{
    query::{Fixture, server},
    test_app::*,
};
use serde_json::{Value, json};
use support::*;

const HTML: (&str, &str) = ("Accept", "text/html");
const JSON: (&str, &str) = ("Accept", "application/json");

struct Servers {
    fixture: Fixture,
    _prometheus: Instance,
    _apps: Vec<Instance>,
    _routes: RouteFile,
    /// A token of the instance `own`.
    token: String,
}

impl Servers {
    /// An instance `own` with a fake Prometheus, and an app whose second instance fails.
    async fn start() -> Self {
        let good = Instance::with_metrics("a 1\n").await;
        let failing = Instance::start(|_| Reply::Http(500, vec![], vec![])).await;
        let apps = vec![good, failing];
        let routes = RouteFile::of_app(&apps);
        let fixture =
            Fixture::start_with("http://metrics.example.com/base", &[routes.setting()]).await;
        assert_eq!(fixture.app.get("/v1/apps/app-guid/metrics").await.status, 200);
        let prometheus = fake_prometheus("shop", "context deadline exceeded").await;
        let url = format!("http://{}", prometheus.address);
        let token = fixture.instance("own", &[server(0, &url)]).await;
        Self { fixture, _prometheus: prometheus, _apps: apps, _routes: routes, token }
    }

    async fn get(&self, path: &str, accept: (&str, &str)) -> Response {
        let authorization = basic(USER, PASSWORD);
        let headers = [("Authorization", authorization.as_str()), accept];
        self.fixture.app.get_with(path, &headers).await
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path, JSON).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.json()
    }
}

#[actix_web::test]
async fn the_page_of_a_prometheus_shows_usage_alerts_targets_and_a_plot() {
    let servers = Servers::start().await;
    let shown = servers.json("/prometheus/own/").await;
    assert_eq!((&shown["id"], &shown["name"]), (&json!("own"), &json!("my <prometheus>")));
    assert_eq!((&shown["targets"], &shown["targets_up"]), (&json!(123), &json!(121)));
    assert_eq!(shown["storage_bytes"], 512_u64 << 20);
    assert_eq!(shown["storage_limit_bytes"], 1_u64 << 30);
    assert_eq!(shown["memory_bytes"], 256_u64 << 20);
    assert_eq!((&shown["series"], &shown["alerts_firing"]), (&json!(1200), &json!(1)));
    let alert = &shown["alerts"]["alerts"][0];
    assert_eq!((&alert["name"], &alert["state"]), (&json!("InstanceFailing"), &json!("firing")));
    assert_eq!(alert["labels"], json!({"detail": "context deadline exceeded"}));
    assert_eq!(alert["since"], "2026-11-21T11:18:06Z");
    assert_eq!(shown["alerts"]["failing_rules"][0]["name"], "broken");
    let plot = &shown["plot"];
    assert_eq!((&plot["series_total"], plot["series"].as_array().unwrap().len()), (&json!(12), 10));
    assert!(!shown.to_string().contains("secret-folder"), "{shown}");

    // Scrapebroker has scraped the first failing target itself.
    let targets = shown["target_list"]["targets"].as_array().unwrap();
    assert_eq!((targets.len(), &targets[0]["instance"]), (100, &json!("1")));
    let error = targets[0]["error"].as_str().unwrap();
    assert!(error.starts_with("status_5xx: "), "{error}");
    assert!(targets[0]["explanation"]["meaning"].is_string(), "{}", targets[0]);
    assert_eq!(targets[1]["error"], "context deadline exceeded");
    assert_eq!(targets[1]["explanation"], Value::Null);

    let page = servers.get("/prometheus/own/", HTML).await;
    let headers = ["cache-control", "vary"].map(|name| page.headers[name].as_str());
    assert_eq!(headers, ["no-store", "Accept, Authorization"]);
    let page = page.text();
    for text in [
        "512.0 MiB <span class=\"detail\">of 1.0 GiB (50 %)",
        "256.0 MiB <span class=\"detail\">of 1.0 GiB (25 %)",
        "1 alert firing.",
        "121 of 123 are up. Bound apps: 0.",
        "Page 1 of 2",
        "<polyline",
        "10 of 12 series are shown",
        "<option value=\"queue_length\">",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

/// Before its first block all samples are in the log, whose size Prometheus 2.42 does not export.
#[actix_web::test]
async fn the_size_of_stored_data_is_unknown_without_the_size_of_the_log() {
    let metrics = "prometheus_tsdb_storage_blocks_bytes 0\nprometheus_tsdb_head_series 12\n";
    let (fixture, old) = (Fixture::start().await, Instance::with_metrics(metrics).await);
    fixture.instance("old", &[server(0, &format!("http://{}", old.address))]).await;
    let authorization = basic(USER, PASSWORD);
    let get = async |path, accept| {
        fixture.app.get_with(path, &[("Authorization", authorization.as_str()), accept]).await
    };
    let shown = get("/prometheus/old/", JSON).await.json();
    assert_eq!((&shown["storage_bytes"], &shown["series"]), (&Value::Null, &json!(12)));
    let page = get("/prometheus/old/", HTML).await.text();
    assert!(page.contains("unknown <span class=\"detail\">(this version of Prometheus"), "{page}");
    let list = get("/prometheus", JSON).await.json();
    assert_eq!(list["instances"][0]["storage_bytes"], Value::Null, "{list}");
}

#[actix_web::test]
async fn targets_are_filtered_and_paged_and_a_metric_is_selected() {
    let servers = Servers::start().await;
    for (query, matching, first) in [
        ("?state=down", 2, "1"),
        ("?state=up&page=2", 121, "210"),
        ("?page=99", 123, "199"),
        ("?q=deadline", 1, "7"),
        // The error that the page shows, and that of Prometheus.
        ("?q=status_5xx", 1, "1"),
        ("?q=502", 1, "1"),
        ("?q=SHOP+web%2F0", 1, "0"),
        ("?q=nothing", 0, ""),
    ] {
        let list = servers.json(&format!("/prometheus/own/{query}")).await["target_list"].clone();
        assert_eq!(list["matching"], matching, "{query}");
        let found = list["targets"][0]["instance"].as_str().unwrap_or_default();
        assert!(first.is_empty() == found.is_empty(), "{query}: {list}");
        if query.contains("q=") {
            assert_eq!(found, first, "{query}");
        }
    }
    let plot = servers.json("/prometheus/own/?metric=jobs_total").await["plot"].clone();
    assert_eq!(plot["query"], "sum by (app_name, index) (rate(jobs_total[5m]))");
    let plot = servers.json("/prometheus/own/?metric=queue_length").await["plot"].clone();
    assert_eq!(plot["query"], "avg by (app_name, index) (queue_length)");
    for query in ["state=failing", "page=0", "metric=up%7B%7D", &format!("q={}", "a".repeat(201))] {
        let response = servers.get(&format!("/prometheus/own/?{query}"), HTML).await;
        assert_eq!(response.status, 400, "{query}");
        assert!(response.text().contains(" must be "), "{}", response.text());
    }
}

#[actix_web::test]
async fn the_list_of_prometheus_instances_shows_each_to_those_who_may_see_it() {
    let servers = Servers::start().await;
    let other = servers.fixture.instance("other", &[]).await;
    for path in ["/prometheus", "/prometheus/", "/base/prometheus"] {
        let list = servers.json(path).await;
        let instances = list["instances"].as_array().unwrap();
        let ids: Vec<_> = instances.iter().map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!((ids, &list["total"]), (vec!["other", "own"], &json!(2)), "{path}");
        assert_eq!(instances[0]["state"], "not running");
        assert_eq!(instances[0]["targets"], Value::Null);
        let own = &instances[1];
        assert_eq!((&own["targets_up"], &own["memory_bytes"]), (&json!(121), &json!(256 << 20)));
        let error = own["last_error"].as_str().unwrap();
        assert_eq!(error.split(": ").next(), Some("shop/shop/shop instance 1"), "{error}");
    }
    let page = servers.get("/prometheus", HTML).await.text();
    for text in ["href=\"/base/prometheus/own/\"", "121 / 123", "1: <bdi>InstanceFailing"] {
        assert!(page.contains(text), "{text} in {page}");
    }
    for (query, ids) in
        [("state=running", &["own"][..]), ("state=changing", &["other"]), ("state=failing", &[])]
    {
        let list = servers.json(&format!("/prometheus?{query}")).await;
        let found = list["instances"].as_array().unwrap().iter().map(|it| &it["id"]);
        assert!(found.eq(ids.iter().copied()), "{query}: {list}");
    }
    assert_eq!(servers.get("/prometheus?state=none", HTML).await.status, 400);

    for (token, expected) in [(&servers.token, "own"), (&other, "other")] {
        let list = servers
            .fixture
            .app
            .get_with("/prometheus", &[("Authorization", &basic("x", token)), JSON])
            .await;
        let list = list.json();
        assert_eq!((&list["total"], &list["instances"][0]["id"]), (&json!(1), &json!(expected)));
    }
    assert_eq!(servers.fixture.app.get("/prometheus").await.status, 401);
}

#[actix_web::test]
async fn an_instance_that_does_not_answer_does_not_delay_the_list() {
    let (fixture, hung) = (Fixture::start().await, Instance::start(|_| Reply::Hang).await);
    fixture.instance("hung", &[server(0, &format!("http://{}", hung.address))]).await;
    let authorization = basic(USER, PASSWORD);
    let headers = [("Authorization", authorization.as_str()), JSON];
    let list = fixture.app.get_with("/prometheus", &headers).await.json();
    assert_eq!(list["instances"][0]["problem"], "no answer within 2 s");
    // The result is shared, so the next viewer does not wait.
    let requests = hung.requests().len();
    let again = fixture.app.get_with("/prometheus", &headers).await.json();
    assert_eq!((again, hung.requests().len()), (list, requests));
}
