//! The description of an app: `GET /v1/apps/{app}`.

use crate::test_app::*;
use serde_json::{Value, json};
use std::time::Duration;
use support::*;

#[actix_web::test]
async fn the_description_of_an_app_contains_no_secrets() {
    let instance = Instance::with_metrics("a 1\nb 2\n").await;
    let routes = RouteFile::of_app([&instance]);
    let app = spawn_app(&[routes.setting()]).await;
    let parameters = json!({
        "endpoint": "/x?key=hidden-1", "bearer_token": "hidden-2",
        "headers": {"X-Key": "hidden-3"}, "params": {"p": "hidden-4"},
    });
    assert_eq!(app.bind("b1", "app-guid", parameters).await.status, 201);
    app.get("/v1/apps/app-guid/metrics").await;
    let answer = app.get("/v1/apps/acme/prod/app").await;
    assert!(!answer.text().contains("hidden"), "{}", answer.text());
    let described: Value = answer.json()["apps"][0].clone();
    assert_eq!(described["routes"], json!(["app.example.com"]));
    assert_eq!(described["binding"]["endpoint"], "/x");
    assert_eq!(described["binding"]["authorization"], "bearer");
    assert_eq!(described["instances"][0]["address"], instance.address.to_string());
    assert_eq!(described["instances"][0]["last_scrape"]["up"], true);
    assert_eq!(described["instances"][0]["last_scrape"]["samples"], 2);
}

#[actix_web::test]
async fn the_description_of_an_app_shows_why_metrics_are_missing() {
    let good = Instance::with_metrics("a 1\nb 2\n").await;
    let without = Instance::start(|_| Reply::Http(404, vec![], vec![])).await;
    let gone = Instance::with_metrics("").await;
    let addresses = [good.address, without.address, gone.address];
    drop(gone);
    let mut worker = endpoint("app", 0, "127.0.0.1:1".parse().unwrap());
    worker["tags"]["process_type"] = json!("worker");
    let mut endpoints: Vec<_> =
        (0..).zip(addresses).map(|(index, address)| endpoint("app", index, address)).collect();
    endpoints.push(worker);
    let routes = RouteFile::new(&json!({
        "app.example.com": endpoints, "*.other.example.com/path": endpoints[..1],
    }));
    let app = spawn_app(&[routes.setting()]).await;
    let describe = async || app.get("/v1/apps/app-guid").await.json();

    let unbound = &describe().await["apps"][0];
    assert_eq!(unbound["binding"], Value::Null);
    assert_eq!(unbound["routes"], json!(["*.other.example.com/path", "app.example.com"]));
    for instance in unbound["instances"].as_array().unwrap() {
        assert_eq!((&instance["scraped"], &instance["last_scrape"]), (&json!(true), &Value::Null));
    }

    let parameters = json!({"endpoint": "/prom?key=hidden", "process_types": ["web"]});
    assert_eq!(app.bind("b1", "app-guid", parameters).await.status, 201);
    let before = std::time::SystemTime::now();
    assert_eq!(app.get("/v1/apps/app-guid/metrics").await.status, 200);
    let described = describe().await;
    assert!(described["route_table_age_seconds"].as_f64().unwrap() >= 0.0);
    assert!(!described.to_string().contains("hidden"), "{described}");
    let described = &described["apps"][0];
    assert_eq!(described["app_name"], "app");
    assert_eq!(described["binding"]["binding_id"], "b1");
    let instance = |address: &str| {
        let instances = described["instances"].as_array().unwrap();
        instances.iter().find(|one| one["address"] == address).unwrap().clone()
    };
    let cases =
        [(true, 2, Value::Null), (false, 0, json!("status_4xx")), (false, 0, json!("connect"))];
    for (address, (up, samples, reason)) in addresses.iter().zip(cases) {
        let found = instance(&address.to_string());
        let last = &found["last_scrape"];
        assert_eq!(
            (&last["up"], &last["samples"], &last["error"]),
            (&json!(up), &json!(samples), &reason)
        );
        assert_eq!(last["path"], "/prom", "the path is shown for every scraped instance");
        assert_eq!(last["detail"].is_null(), up, "{last}");
        assert_eq!(last["size_bytes"].as_u64(), up.then_some(8), "{last}");
        assert_eq!(last["explanation"].is_null(), up, "{last}");
        assert!(last["duration_seconds"].as_f64().unwrap() > 0.0);
        assert!(last["age_seconds"].as_f64().unwrap() >= 0.0);
        let at = humantime::parse_rfc3339(last["at"].as_str().unwrap()).unwrap();
        assert!(at + Duration::from_millis(1) >= before, "{last}");
    }
    let without = instance(&without.address.to_string());
    let explanation = &without["last_scrape"]["explanation"];
    assert_eq!(explanation["meaning"], "The app has nothing at this path.");
    assert!(explanation["remedy"].as_str().unwrap().contains("cf bind-service"), "{explanation}");
    let worker = instance("127.0.0.1:1");
    assert_eq!((&worker["scraped"], &worker["last_scrape"]), (&json!(false), &Value::Null));
}
