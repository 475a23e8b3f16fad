//! Scrapes during the migration from promfetcher. `osb::migration` tests the broker API.

use crate::test_app::*;
use scrapebroker::config::promfetcher;
use serde_json::json;
use sqlx::{AnyConnection, Connection, Executor};
use support::*;

#[actix_web::test]
async fn a_running_program_takes_over_promfetchers_bindings_and_instances() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("promfetcher.yml"), "broker: { broker_plan_id: old-plan }").unwrap();
    let converted = promfetcher::convert(path("promfetcher.yml").as_ref(), None).unwrap();
    std::fs::write(path("catalog.json"), converted.catalog).unwrap();
    let from = format!("sqlite://{}", path("promfetcher.db"));
    sqlx::any::install_default_drivers();
    let mut old = AnyConnection::connect(&format!("{from}?mode=rwc")).await.unwrap();
    let table = "CREATE TABLE app_endpoints (guid text, app_guid text, endpoint text)";
    old.execute(table).await.unwrap();
    let row = "INSERT INTO app_endpoints VALUES ('b1', 'app-guid', '/actuator/prometheus')";
    old.execute(row).await.unwrap();
    old.close().await.unwrap();

    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance]);
    let settings = [
        ("DATABASE_URL", format!("sqlite://{}", path("our.db"))),
        ("BROKER__CATALOG", path("catalog.json")),
        ("BROKER__ADOPT_UNKNOWN_INSTANCES", "true".to_owned()),
    ];
    let app = spawn_app(&[&settings[..], &[routes.setting()]].concat()).await;

    let environment =
        settings.iter().map(|(key, value)| (format!("SCRAPEBROKER__{key}"), value.clone()));
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_scrapebroker"));
    command.env_clear().envs(environment).args(["import-promfetcher", "--from", &from]);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let message = String::from_utf8(output.stdout).unwrap();
    assert!(message.contains("1 imported, 0 known before"), "{message}");
    eventually(async || {
        app.get("/v1/apps/app-guid/metrics").await;
        let request_line = instance.requests().pop()?.line;
        request_line.starts_with("GET /actuator/prometheus ").then_some(())
    })
    .await;

    let unknown = "/v2/service_instances/never-provisioned";
    let service = "75bcebab-cc25-4ef6-89dc-a91b953919f1";
    let bind = json!({
        SERVICE: service, "plan_id": "old-plan", "bind_resource": {"app_guid": "app-guid"},
        "context": {"organization_guid": "org-guid", "space_guid": "space-guid"},
        "parameters": {"endpoint": "/new"},
    });
    let bound = app.broker("PUT", &format!("{unknown}/service_bindings/b2"), Some(bind)).await;
    assert_eq!(bound.status, 201, "{}", bound.text());
    app.get("/v1/apps/app-guid/metrics").await;
    assert!(instance.requests().pop().unwrap().line.starts_with("GET /new "));

    let ids = format!("service_id={service}&plan_id=old-plan");
    for binding in ["b2", "b1"] {
        let path = format!("{unknown}/service_bindings/{binding}?{ids}");
        assert_eq!(app.broker("DELETE", &path, None).await.status, 200);
    }
    app.get("/v1/apps/app-guid/metrics").await;
    assert!(instance.requests().pop().unwrap().line.starts_with("GET /metrics "));
}
