//! Prometheus instances that run as Tsuru apps and are managed over the Open Service Broker API.

use crate::test_app::*;
use scrapebroker::app::Stop;
use serde_json::{Value, json};
use std::time::Duration;
use support::{
    tsuru::{Fault, TOKEN, TsuruApi},
    *,
};
use tempfile::TempDir;

const SERVICE_ID: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a02";
const STANDARD: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a22";
const INSTANCE: &str = "/v2/service_instances/own";

/// The settings that make the program use this Tsuru. The addresses of the apps refuse connections.
fn settings(api: &TsuruApi, folder: &TempDir) -> Vec<(&'static str, String)> {
    api.host("127.0.0.1:1");
    vec![
        ("ROUTES__TSURU__API_URL", api.url()),
        ("ROUTES__TSURU__TOKEN", TOKEN.to_owned()),
        ("PROMETHEUS__PROVISIONER", "tsuru".to_owned()),
        ("PROMETHEUS__TSURU__IMAGE", "registry.example.com/prometheus".to_owned()),
        ("PROMETHEUS__TSURU__TEAM", "metrics".to_owned()),
        ("BASE_URL", "https://metrics.example.com".to_owned()),
        ("DATABASE_URL", format!("sqlite://{}", folder.path().join("own.db").display())),
    ]
}

fn of_plan(plan: &str) -> Value {
    json!({
        "service_id": SERVICE_ID, "plan_id": plan,
        "organization_guid": "org-guid", "space_guid": "space-guid",
    })
}

impl TestApp {
    async fn create(&self, plan: &str) -> Response {
        let path = format!("{INSTANCE}?accepts_incomplete=true");
        self.broker("PUT", &path, Some(of_plan(plan))).await
    }

    async fn delete(&self) -> Response {
        let query = format!("service_id={SERVICE_ID}&plan_id={STANDARD}&accepts_incomplete=true");
        self.broker("DELETE", &format!("{INSTANCE}?{query}"), None).await
    }

    async fn state(&self) -> Value {
        let path = format!("{INSTANCE}/last_operation?operation=deprovision");
        let last = self.broker("GET", &path, None).await;
        match last.status {
            410 => json!("gone"),
            _ => last.json()["state"].clone(),
        }
    }

    async fn wait_for_state(&self, state: &str) {
        eventually(async || (self.state().await == state).then_some(())).await;
    }
}

#[actix_web::test]
async fn a_service_instance_is_a_tsuru_app_until_it_is_deprovisioned() {
    let (api, folder) = (TsuruApi::start().await, tempfile::tempdir().unwrap());
    let app = spawn_app(&settings(&api, &folder)).await;
    assert_eq!(app.create(STANDARD).await.status, 202);
    app.wait_for_state("succeeded").await;
    let [name] = &api.apps()[..] else { panic!("{:?}", api.apps()) };
    let made = api.app(name).unwrap();
    assert_eq!((made.team_owner.as_str(), made.deploys.len()), ("metrics", 1));
    let config = &made.environment["PROMETHEUS_CONFIG"].value;
    assert!(config.contains("https://metrics.example.com/sd"), "{config}");

    // The app keeps running while the program is stopped. It is not deployed again after the
    // restart.
    let mut app = app;
    app.stop(Stop::Graceful).await.unwrap();
    let before = api.requests().len();
    let app = spawn_app(&settings(&api, &folder)).await;
    eventually(async || (api.requests().len() > before + 2).then_some(())).await;
    assert_eq!(app.delete().await.status, 202);
    app.wait_for_state("gone").await;
    assert!(api.apps().is_empty());
    let deploys = api.requests().into_iter().filter(|request| request.path.ends_with("/deploy"));
    assert_eq!(deploys.count(), 1);
}

#[actix_web::test]
async fn an_operation_is_completed_after_a_restart() {
    let (api, folder) = (TsuruApi::start().await, tempfile::tempdir().unwrap());
    api.fault_at("POST deploy", Fault::Slow(Duration::from_secs(3600)));
    let mut app = spawn_app(&settings(&api, &folder)).await;
    assert_eq!(app.create(STANDARD).await.status, 202);
    let is_deployed = |requests: &[support::tsuru::ApiRequest]| {
        requests.iter().any(|request| request.path.ends_with("/deploy"))
    };
    eventually(async || is_deployed(&api.requests()).then_some(())).await;
    app.stop(Stop::Graceful).await.unwrap();
    api.fault_at("POST deploy", Fault::None);
    let app = spawn_app(&settings(&api, &folder)).await;
    app.wait_for_state("succeeded").await;
    assert_eq!(api.apps().len(), 1);
    app.delete().await;
    app.wait_for_state("gone").await;
    assert!(api.apps().is_empty());
}

#[actix_web::test]
async fn a_failed_provision_leaves_no_app_and_has_a_reason() {
    let (api, folder) = (TsuruApi::start().await, tempfile::tempdir().unwrap());
    let app = spawn_app(&settings(&api, &folder)).await;
    let small = json!("6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a21");
    let refused = app.create(small.as_str().unwrap()).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("prometheus.tsuru.tmpfs_plan"), "{}", refused.text());

    api.fault_at("POST env", Fault::Status(403));
    assert_eq!(app.create(STANDARD).await.status, 202);
    app.wait_for_state("failed").await;
    let last = app.broker("GET", &format!("{INSTANCE}/last_operation"), None).await;
    assert!(last.text().contains("app.update.env"), "{}", last.text());
    assert!(api.apps().is_empty());
}
