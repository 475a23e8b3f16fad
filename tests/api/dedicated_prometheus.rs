//! The life cycle of a dedicated Prometheus over the Open Service Broker API: provisioning, service
//! discovery, queries and removal.

use crate::{query::encoded, test_app::*};
use scrapebroker::app::Stop;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};
use support::{programs::free_ports, *};
use tempfile::TempDir;

pub(crate) const SERVICE_ID: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a02";
pub(crate) const STANDARD: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a22";
pub(crate) const HA: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a23";
pub(crate) const INSTANCE: &str = "/v2/service_instances/own";

/// The folders of Prometheus instances. Their processes are killed when the test ends.
pub(crate) struct InstanceDirs {
    folder: TempDir,
}

impl InstanceDirs {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The shipped catalog with plans that need little disk space, because test machines may have
    /// little.
    fn catalog(&self) -> PathBuf {
        let mut catalog: Value =
            serde_json::from_str(include_str!("../../broker-catalog.json")).unwrap();
        for plan in catalog["services"][1]["plans"].as_array_mut().unwrap() {
            plan["metadata"]["prometheus"]["retention_size"] = json!("64MiB");
        }
        let path = self.folder.path().join("catalog.json");
        fs::write(&path, catalog.to_string()).unwrap();
        path
    }

    /// The settings that make the program use these folders.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let first = free_ports(51);
        vec![
            ("PROMETHEUS__DATA_DIR", self.data_dir().display().to_string()),
            ("PROMETHEUS__TMPFS_DIR", self.folder.path().join("memory").display().to_string()),
            ("PROMETHEUS__PORTS", format!("{first}-{}", first + 50)),
            ("BROKER__CATALOG", self.catalog().display().to_string()),
            ("BASE_URL", "https://metrics.example.com/base".to_owned()),
            ("DATABASE_URL", format!("sqlite://{}", self.folder.path().join("own.db").display())),
        ]
    }

    /// Processes whose command lines contain the folder.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let named = self.folder.path().display().to_string();
        let is_ours = |pid: &u32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(&named)
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != std::process::id()).filter(is_ours).collect()
    }

    /// All entries of the folders for instances.
    pub(crate) fn remaining_paths(&self) -> Vec<PathBuf> {
        let entries = |folder: &Path| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        [entries(&self.data_dir()), entries(&self.folder.path().join("memory"))].concat()
    }
}

impl Drop for InstanceDirs {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

impl TestApp {
    /// Sends a request to the query API of an instance with these credentials.
    pub(crate) async fn query_api(
        &self,
        instance: &str,
        (user, password): &(String, String),
        path: &str,
    ) -> Response {
        let authorization = basic(user, password);
        let headers = [("Authorization", authorization.as_str())];
        self.get_with(&format!("/prometheus/{instance}{path}"), &headers).await
    }

    /// The number of targets that are up, and the number of all targets.
    async fn targets_of(&self, instance: &str, login: &(String, String)) -> Option<(usize, usize)> {
        let answer = self.query_api(instance, login, "/api/v1/targets").await;
        if answer.status != 200 {
            return None;
        }
        let targets = answer.json()["data"]["activeTargets"].as_array()?.clone();
        let up = targets.iter().filter(|target| target["health"] == "up").count();
        Some((up, targets.len()))
    }

    pub(crate) async fn end_of_operation(&self) -> Value {
        eventually(async || {
            let last = self
                .broker("GET", &format!("{INSTANCE}/last_operation?operation=deprovision"), None)
                .await;
            match last.status {
                410 => Some(json!("gone")),
                _ => Some(last.json()["state"].clone()).filter(|state| state != "in progress"),
            }
        })
        .await
    }
}

pub(crate) fn credentials(bound: &Value, user: &str, password: &str) -> (String, String) {
    (bound[user].as_str().unwrap().to_owned(), bound[password].as_str().unwrap().to_owned())
}

async fn start_four_instances() -> Vec<Instance> {
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(Instance::with_metrics("shop_orders_total 7\n").await);
    }
    instances
}

#[actix_web::test]
async fn life_cycle_of_a_dedicated_prometheus_over_osb() {
    let (instance_dirs, instances) = (InstanceDirs::new(), start_four_instances().await);
    let routes = RouteFile::of_app(instances.iter().take(2));
    let mut settings = instance_dirs.settings();
    settings.push(routes.setting());
    settings.push(("SCRAPE__ACCESS", "token".to_owned()));
    let app = spawn_app(&settings).await;

    let ordered = Instant::now();
    let provision = json!({
        "service_id": SERVICE_ID, "plan_id": STANDARD, "organization_guid": "org-guid",
        "space_guid": "space-guid", "parameters": {"scrape_interval": "1s"},
        "context": {"instance_name": "my-prometheus"},
    });
    let path = format!("{INSTANCE}?accepts_incomplete=true");
    let answer = app.broker("PUT", &path, Some(provision)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(app.end_of_operation().await, "succeeded");
    println!("provision to ready: {:?}", ordered.elapsed());

    let bind = json!({
        "service_id": SERVICE_ID, "plan_id": STANDARD,
        "bind_resource": {"app_guid": "app-guid"},
        "parameters": {"endpoint": "/own", "labels": {"team": "checkout"}},
    });
    let binding = format!("{INSTANCE}/service_bindings/b1");
    let bound_at = Instant::now();
    let bound = app.broker("PUT", &binding, Some(bind)).await;
    assert_eq!(bound.status, 201, "{}", bound.text());
    let login = credentials(&bound.json()["credentials"], "username", "password");
    let query = "/api/v1/query?query=shop_orders_total";
    let series = eventually(async || {
        let answer = app.query_api("own", &login, query).await;
        if answer.status != 200 {
            return None;
        }
        let result = answer.json()["data"]["result"].as_array()?.clone();
        (!result.is_empty()).then_some(result)
    })
    .await;
    println!("bind to the first sample: {:?}", bound_at.elapsed());
    let labels = &series[0]["metric"];
    assert_eq!((&labels["app_name"], &labels["team"]), (&json!("app"), &json!("checkout")));
    assert!(labels.as_object().unwrap().keys().all(|name| !name.starts_with("exported_")));
    // `up` has the same labels that identify the target as the samples.
    for on in
        ["app_id, index", "organization_id, space_id, app_id, instance_id, app_name, space_name"]
    {
        let joined = format!("up * on({on}) shop_orders_total");
        let joined = format!("/api/v1/query?query={}", encoded(&joined));
        eventually(async || {
            let answer = app.query_api("own", &login, &joined).await;
            (answer.json()["data"]["result"].as_array()?.len() == 2).then_some(())
        })
        .await;
    }
    assert!(instances[0].requests().iter().all(|seen| seen.line.starts_with("GET /own ")));
    eventually(async || (app.targets_of("own", &login).await? == (2, 2)).then_some(())).await;

    routes.rewrite(&instances);
    eventually(async || (app.targets_of("own", &login).await? == (4, 4)).then_some(())).await;

    // The page accepts the same credentials and no others.
    let page = app.query_api("own", &login, "/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("my-prometheus"), "{}", page.text());
    assert!(!page.text().contains("sbt_"), "the page shows no secret");
    assert_eq!(app.get("/prometheus/own/").await.status, 401);

    let key = format!("{INSTANCE}/service_bindings/k1");
    let body = json!({"service_id": SERVICE_ID, "plan_id": STANDARD, "bind_resource": {}});
    let key = app.broker("PUT", &key, Some(body)).await;
    let key = credentials(&key.json()["credentials"], "username", "password");
    let ids = format!("service_id={SERVICE_ID}&plan_id={STANDARD}");
    assert_eq!(app.broker("DELETE", &format!("{binding}?{ids}"), None).await.status, 200);
    assert_eq!(
        app.query_api("own", &login, query).await.status,
        401,
        "its credentials are revoked"
    );
    eventually(async || (app.targets_of("own", &key).await? == (0, 0)).then_some(())).await;

    assert_eq!(instance_dirs.processes().len(), 1);
    let path = format!("{INSTANCE}?{ids}&accepts_incomplete=true");
    assert_eq!(app.broker("DELETE", &path, None).await.status, 202);
    assert_eq!(app.end_of_operation().await, "gone");
    assert_eq!((instance_dirs.processes(), instance_dirs.remaining_paths()), (vec![], vec![]));
}

#[actix_web::test]
async fn exemplars_are_stored_and_queried() {
    let body = "# TYPE shop_orders counter\n\
        shop_orders_total 7.0 # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} 1.0\n# EOF\n";
    let instance = Instance::start(|_| {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let headers = vec![("content-type", content_type.to_owned())];
        Reply::Http(200, headers, body.as_bytes().to_vec())
    })
    .await;
    let instance_dirs = InstanceDirs::new();
    let routes = RouteFile::of_app([&instance]);
    let mut settings = instance_dirs.settings();
    settings.push(routes.setting());
    let app = spawn_app(&settings).await;
    let provision = json!({
        "service_id": SERVICE_ID, "plan_id": STANDARD, "organization_guid": "org-guid",
        "space_guid": "space-guid", "parameters": {"scrape_interval": "1s"},
    });
    let path = format!("{INSTANCE}?accepts_incomplete=true");
    assert_eq!(app.broker("PUT", &path, Some(provision)).await.status, 202);
    assert_eq!(app.end_of_operation().await, "succeeded");
    let bind = json!({
        "service_id": SERVICE_ID, "plan_id": STANDARD, "bind_resource": {"app_guid": "app-guid"},
    });
    let binding = format!("{INSTANCE}/service_bindings/b1");
    let bound = app.broker("PUT", &binding, Some(bind)).await;
    let login = credentials(&bound.json()["credentials"], "username", "password");
    let query = "/api/v1/query_exemplars?query=shop_orders_total";
    let found = eventually(async || {
        let answer = app.query_api("own", &login, query).await;
        if answer.status != 200 {
            return None;
        }
        let result = answer.json()["data"].as_array()?.clone();
        (!result.is_empty()).then_some(result)
    })
    .await;
    assert_eq!(found[0]["seriesLabels"]["app_name"], "app");
    let exemplar = &found[0]["exemplars"][0];
    assert_eq!(exemplar["labels"], json!({"trace_id": "0af7651916cd43dd8448eb211c80319c"}));
}

#[actix_web::test]
async fn instances_stop_with_the_program_and_restart_with_their_samples() {
    let (instance_dirs, instances) = (InstanceDirs::new(), start_four_instances().await);
    let routes = RouteFile::of_app(instances.iter().take(1));
    let mut settings = instance_dirs.settings();
    settings.push(routes.setting());
    settings.push(("BROKER__TOKEN_KEY", "a key that is long enough".to_owned()));
    let mut app = spawn_app(&settings).await;
    let provision = json!({
        "service_id": SERVICE_ID, "plan_id": STANDARD, "organization_guid": "org-guid",
        "space_guid": "space-guid", "parameters": {"scrape_interval": "1s"},
    });
    let path = format!("{INSTANCE}?accepts_incomplete=true");
    assert_eq!(app.broker("PUT", &path, Some(provision)).await.status, 202);
    assert_eq!(app.end_of_operation().await, "succeeded");
    let bind = json!({
        "service_id": SERVICE_ID, "plan_id": STANDARD, "bind_resource": {"app_guid": "app-guid"},
    });
    let bound = app.broker("PUT", &format!("{INSTANCE}/service_bindings/b1"), Some(bind)).await;
    let login = credentials(&bound.json()["credentials"], "username", "password");
    let count = "/api/v1/query?query=count_over_time(shop_orders_total%5B10m%5D)";
    let samples = async |app: &TestApp| {
        let answer = app.query_api("own", &login, count).await;
        // While Prometheus loads its stored samples, the response is an error.
        if answer.status != 200 {
            return None;
        }
        let value = answer.json()["data"]["result"][0]["value"][1].clone();
        value.as_str()?.parse::<u64>().ok()
    };
    let before = eventually(async || samples(&app).await.filter(|count| *count >= 3)).await;

    let stopped = app.stop(Stop::Graceful);
    stopped.await.unwrap();
    assert_eq!(instance_dirs.processes(), Vec::<u32>::new(), "the instances stop with the program");

    let again = spawn_app(&settings).await;
    let after = eventually(async || samples(&again).await).await;
    assert!(after >= before, "{after} samples instead of at least {before}");
    let ids = format!("service_id={SERVICE_ID}&plan_id={STANDARD}");
    let answer = again.broker("DELETE", &format!("{INSTANCE}?{ids}"), None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((instance_dirs.processes(), instance_dirs.remaining_paths()), (vec![], vec![]));
}
