//! The snippets on the page of an app: each one is used as a user would use it.

use crate::{
    dedicated_prometheus::{INSTANCE, InstanceDirs, SERVICE_ID, STANDARD},
    test_app::*,
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};
use support::{programs::Prometheus, *};
use tempfile::TempDir;
use yaml_rust2::YamlLoader;

/// A name that must not leave the quotes of any snippet.
const HOSTILE: &str = "a'b\"$(touch x)`touch x`";

/// Records its arguments, one per line.
const FAKE_CF: &str = "#!/bin/sh\nprintf '%s\\n' \"$@\" '' >>\"$(dirname \"$0\")/calls\"\n";

/// An app with two instances and the name [`HOSTILE`].
struct HostileApp {
    app: TestApp,
    token: String,
    _instances: [Instance; 2],
    _routes: RouteFile,
    _instance_dirs: InstanceDirs,
}

impl HostileApp {
    async fn start(access: &str) -> Self {
        let instances =
            [Instance::with_metrics("jobs 5\n").await, Instance::with_metrics("jobs 7\n").await];
        let endpoints = (0..).zip(&instances).map(|(index, instance)| {
            let mut endpoint = endpoint("app", index, instance.address);
            endpoint["tags"]["app_name"] = json!(HOSTILE);
            endpoint
        });
        let routes = RouteFile::new(&json!({ "app.example.com": endpoints.collect::<Vec<_>>() }));
        let instance_dirs = InstanceDirs::new();
        let mut settings = instance_dirs.settings();
        settings.extend([routes.setting(), ("SCRAPE__ACCESS", access.to_owned())]);
        // `base_url` is that of the listener, which a snippet must reach.
        let address = support::programs::free_address();
        settings.push(("LISTEN", address.to_string()));
        settings.push(("BASE_URL", format!("http://{address}")));
        let app = spawn_app(&settings).await;
        let bound = app.bind("b1", "app-guid", json!({"endpoint": "/metrics"})).await.json();
        let token = bound["credentials"]["token"].as_str().unwrap().to_owned();
        Self { app, token, _instances: instances, _routes: routes, _instance_dirs: instance_dirs }
    }

    /// The snippet on the page, and in its JSON twin.
    async fn snippet(&self, id: &str) -> String {
        let operator = basic(USER, PASSWORD);
        let headers = [("Accept", "application/json"), ("Authorization", &*operator)];
        let twin = self.app.get_with("/apps/app-guid", &headers).await.json();
        let snippets = twin["snippets"].as_array().unwrap();
        let found = snippets.iter().find(|snippet| snippet["id"] == id).unwrap();
        found["text"].as_str().unwrap().to_owned()
    }

    /// A file with the token, in place of that in a configuration.
    fn with_token_file(&self, folder: &TempDir, config: &str) -> String {
        let file = folder.path().join("token");
        fs::write(&file, &self.token).unwrap();
        config.replace("/etc/prometheus/scrapebroker.token", file.to_str().unwrap())
    }
}

/// Runs a snippet in a shell in `folder`, where it finds the program `cf`.
async fn run_in_shell(folder: &Path, script: &str, token: &str) -> Output {
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let mut command = Command::new("/bin/sh");
    command.args(["-euc", script]).current_dir(folder).env("PATH", path).env("TOKEN", token);
    actix_web::web::block(move || command.output().unwrap()).await.unwrap()
}

fn promtool_accepts(folder: &TempDir, config: &str) {
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, config).unwrap();
    let checked = Command::new("promtool").args(["check", "config"]).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{config}\n{}", String::from_utf8_lossy(&checked.stderr));
}

#[actix_web::test]
async fn curl_prints_the_metrics_of_all_instances() {
    for access in ["open", "token"] {
        let hostile = HostileApp::start(access).await;
        let folder = tempfile::tempdir().unwrap();
        let script = hostile.snippet("curl").await;
        assert_eq!(script.contains("$TOKEN"), access == "token", "{script}");
        let output = run_in_shell(folder.path(), &script, &hostile.token).await;
        let metrics = String::from_utf8_lossy(&output.stdout).into_owned();
        let series = metrics.lines().filter(|line| line.starts_with("jobs{"));
        assert_eq!(series.count(), 2, "{script}\n{metrics}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[actix_web::test]
async fn a_real_prometheus_scrapes_all_instances_with_the_configurations() {
    for access in ["open", "token"] {
        let hostile = HostileApp::start(access).await;
        for (id, query) in [
            ("scrape-config", "count(scrapebroker_instance_up) == 2"),
            ("http-sd", "count(up) == 2"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let config = hostile.with_token_file(&folder, &hostile.snippet(id).await);
            promtool_accepts(&folder, &config);
            let jobs = config.strip_prefix("scrape_configs:\n").unwrap();
            let prometheus = Prometheus::start(jobs);
            prometheus.query(query).await;
            let series = prometheus.query("jobs").await;
            assert_eq!(series.len(), 2, "{id}: {series:?}");
            assert_eq!(series[0]["metric"]["job"], format!("acme/prod/{HOSTILE}"), "{id}");
            assert_eq!(series[0]["metric"]["app_name"], HOSTILE, "{id}");
        }
    }
}

#[actix_web::test]
async fn the_binding_command_passes_the_name_and_valid_parameters() {
    let hostile = HostileApp::start("open").await;
    let folder = tempfile::tempdir().unwrap();
    let cf = folder.path().join("cf");
    fs::write(&cf, FAKE_CF).unwrap();
    fs::set_permissions(&cf, fs::Permissions::from_mode(0o755)).unwrap();
    for id in ["bind", "grafana"] {
        let script = hostile.snippet(id).await;
        let output = run_in_shell(folder.path(), &script, "").await;
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(!folder.path().join("x").exists());
    let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
    let calls: Vec<Vec<&str>> =
        calls.trim_end().split("\n\n").map(|call| call.split('\n').collect()).collect();
    assert_eq!(calls[0], ["create-service", "metrics", "fetch-app", "my-metrics"]);
    assert_eq!(calls[1][..5], ["bind-service", HOSTILE, "my-metrics", "-c", calls[1][4]]);
    assert_eq!(calls[3], ["bind-service", HOSTILE, "my-prometheus"]);
    let parameters: Value = serde_json::from_str(calls[1][4]).unwrap();
    assert_eq!(parameters, json!({"endpoint": "/metrics"}));
    assert_eq!(hostile.app.bind("b2", "app-guid", parameters).await.status, 201);
}

#[actix_web::test]
async fn the_data_source_for_grafana_answers_queries() {
    let hostile = HostileApp::start("token").await;
    let provision = json!({
        "service_id": SERVICE_ID, "plan_id": STANDARD, "organization_guid": "org-guid",
        "space_guid": "space-guid", "context": {"instance_name": HOSTILE},
    });
    let path = format!("{INSTANCE}?accepts_incomplete=true");
    assert_eq!(hostile.app.broker("PUT", &path, Some(provision)).await.status, 202);
    assert_eq!(hostile.app.end_of_operation().await, "succeeded");
    let bind = json!({
        "service_id": SERVICE_ID, "plan_id": STANDARD,
        "bind_resource": {"app_guid": "app-guid"},
    });
    let path = format!("{INSTANCE}/service_bindings/p1");
    let bound = hostile.app.broker("PUT", &path, Some(bind)).await.json();
    let yaml = hostile.snippet("grafana").await;
    let provisioned = YamlLoader::load_from_str(&yaml).unwrap().remove(0);
    let source = &provisioned["datasources"][0];
    assert_eq!(source["name"].as_str(), Some(&*HOSTILE.replace('$', "$$")), "{yaml}");
    assert_eq!(source["type"].as_str(), Some("prometheus"));
    assert_eq!(source["jsonData"]["httpMethod"].as_str(), Some("POST"));
    assert_eq!(source["secureJsonData"]["basicAuthPassword"].as_str(), Some("$TOKEN"));
    let password = bound["credentials"]["password"].as_str().unwrap();
    let authorization = basic(source["basicAuthUser"].as_str().unwrap(), password);
    let url = format!("{}/api/v1/query", source["url"].as_str().unwrap());
    let headers =
        [("Authorization", &*authorization), ("Content-Type", "application/x-www-form-urlencoded")];
    let answer = send("POST", &url, &headers, Some("query=1".to_owned())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["data"]["result"][1], "1");
}
