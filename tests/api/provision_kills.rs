//! The program is killed at each observable step of an operation. The restarted program completes
//! the operation and leaves no orphans.

use crate::{dedicated_prometheus::Premises, server_process::*};
use serde_json::{Value, json};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use support::*;

const SERVICE_ID: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a02";
const STANDARD: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a22";
const HA: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a23";
const SMALL: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a21";
const INSTANCE: &str = "/v2/service_instances/odd:id%20%2F$";

/// A folder in which the program can be restarted.
struct Stage {
    folder: tempfile::TempDir,
    premises: Premises,
    settings: Vec<(String, String)>,
}

impl Stage {
    fn new() -> Self {
        let premises = Premises::new();
        let settings = premises.settings().into_iter();
        let settings = settings.map(|(key, value)| (format!("SCRAPEBROKER__{key}"), value));
        let key = ("SCRAPEBROKER__BROKER__TOKEN_KEY".to_owned(), "long enough for that".to_owned());
        let settings = settings.chain([key]).collect();
        let folder = tempfile::tempdir().unwrap();
        // Plans need little disk space, because test machines may have little.
        let catalog = fs::read_to_string(CATALOG).unwrap().replace("\"5GiB\"", "\"64MiB\"");
        let catalog = catalog.replace(
            "\"256MiB\",\n              \"replicas",
            "\"64MiB\",\n              \"replicas",
        );
        fs::write(folder.path().join("broker-catalog.json"), catalog).unwrap();
        Self { folder, premises, settings }
    }

    fn start(&self) -> Server {
        let settings: Vec<_> =
            self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Server::start_with(self.folder.path(), &settings)
    }

    /// The folder of a replica, if it exists.
    fn replica(&self, number: u8) -> Option<PathBuf> {
        let folder = self.premises.left().first()?.join(number.to_string());
        folder.is_dir().then_some(folder)
    }

    fn file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.replica(0)?.join(name)).ok()
    }

    fn listens(&self) -> bool {
        let port = self.file("port").and_then(|port| port.trim().parse::<u16>().ok());
        port.is_some_and(|port| TcpStream::connect(("127.0.0.1", port)).is_ok())
    }
}

/// The name of an observable step, and a check for it.
type Step<'a> = (&'a str, &'a dyn Fn(&Stage) -> bool);

/// Polls at a short interval, so that a step is not missed.
fn watch(step: impl Fn() -> bool) {
    let started = Instant::now();
    while !step() && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn waiting() -> String {
    format!("{INSTANCE}?accepts_incomplete=true&service_id={SERVICE_ID}&plan_id={STANDARD}")
}

async fn provision(server: &Server, plan: &str) {
    let body = json!({
        "service_id": SERVICE_ID, "plan_id": plan, "organization_guid": "o", "space_guid": "s",
    });
    let answer = server.ask("PUT", &waiting(), Some(body)).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
}

async fn update(server: &Server, plan: &str, parameters: Value) {
    let body = json!({"service_id": SERVICE_ID, "plan_id": plan, "parameters": parameters});
    let answer = server.ask("PATCH", &waiting(), Some(body)).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
}

async fn deprovision(server: &Server) {
    let answer = server.ask("DELETE", &waiting(), None).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
}

async fn end(server: &Server) -> String {
    eventually(async || {
        let path = format!("{INSTANCE}/last_operation");
        let last = server.ask("GET", &path, None).await?;
        match last.status {
            410 | 404 => Some("gone".to_owned()),
            _ => last.json()["state"].as_str().map(str::to_owned).filter(|it| it != "in progress"),
        }
    })
    .await
}

/// Asserts that the instance is ready and has exactly this number of processes.
async fn assert_runs(stage: &Stage, count: usize) {
    eventually(async || (stage.premises.processes().len() == count).then_some(())).await;
    eventually(async || stage.listens().then_some(())).await;
    assert_eq!(stage.premises.processes().len(), count);
}

#[actix_web::test]
async fn a_provision_interrupted_by_a_kill_creates_one_instance() {
    let there = |path: Option<PathBuf>, name: &str| {
        path.is_some_and(|folder: PathBuf| folder.join(name).exists())
    };
    let steps: [Step<'_>; 8] = [
        ("row", &|_| true),
        ("folder", &|stage| stage.replica(0).is_some()),
        ("configuration", &|stage| there(stage.replica(0), "prometheus.yml")),
        ("port", &|stage| there(stage.replica(0), "port")),
        ("process", &|stage| !stage.premises.processes().is_empty()),
        ("pid", &|stage| there(stage.replica(0), "pid")),
        ("data", &|stage| there(stage.replica(0), "data/wal")),
        ("listening", &Stage::listens),
    ];
    let stage = Stage::new();
    for (name, step) in steps {
        let server = stage.start();
        provision(&server, STANDARD).await;
        watch(|| step(&stage));
        server.signal("KILL");
        drop(server);
        let server = stage.start();
        assert_eq!(end(&server).await, "succeeded", "killed at {name}");
        assert_runs(&stage, 1).await;
        deprovision(&server).await;
        assert_eq!(end(&server).await, "gone", "killed at {name}");
        assert_eq!(stage.premises.processes(), Vec::<u32>::new(), "killed at {name}");
        assert_eq!(stage.premises.left(), Vec::<PathBuf>::new(), "killed at {name}");
    }
}

#[actix_web::test]
async fn an_update_interrupted_by_a_kill_is_completed() {
    let flag = |name: &str| {
        let pids = |stage: &Stage| stage.premises.processes();
        let named = name.to_owned();
        move |stage: &Stage| {
            let line = |pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            pids(stage).into_iter().any(|pid| line(pid).contains(&named))
        }
    };
    let retention = flag("retention.time=20d");
    let is_moved = |stage: &Stage| {
        let disk = Path::new("data");
        stage.premises.left().iter().any(|path| path.parent().unwrap().ends_with(disk))
    };
    let steps: [Step<'_>; 6] = [
        ("row", &|_| true),
        ("no process", &|stage| stage.premises.processes().is_empty()),
        ("new folder", &is_moved),
        ("new flags", &retention),
        ("two replicas", &|stage| stage.premises.processes().len() == 2),
        ("listening", &Stage::listens),
    ];
    let stage = Stage::new();
    for (name, step) in steps {
        let server = stage.start();
        provision(&server, SMALL).await;
        assert_eq!(end(&server).await, "succeeded");
        update(&server, HA, json!({"retention": "20d"})).await;
        watch(|| step(&stage));
        server.signal("KILL");
        drop(server);
        let server = stage.start();
        assert_eq!(end(&server).await, "succeeded", "killed at {name}");
        assert_runs(&stage, 2).await;
        assert!(retention(&stage) && is_moved(&stage), "killed at {name}");
        deprovision(&server).await;
        assert_eq!(end(&server).await, "gone", "killed at {name}");
        assert_eq!(stage.premises.processes(), Vec::<u32>::new(), "killed at {name}");
        assert_eq!(stage.premises.left(), Vec::<PathBuf>::new(), "killed at {name}");
    }
}

#[actix_web::test]
async fn a_deprovisioning_interrupted_by_a_kill_leaves_no_orphans() {
    let steps: [Step<'_>; 3] = [
        ("row", &|_| true),
        ("no process", &|stage| stage.premises.processes().is_empty()),
        ("no folder", &|stage| stage.premises.left().is_empty()),
    ];
    let stage = Stage::new();
    for (name, step) in steps {
        let server = stage.start();
        provision(&server, STANDARD).await;
        assert_eq!(end(&server).await, "succeeded");
        deprovision(&server).await;
        watch(|| step(&stage));
        server.signal("KILL");
        drop(server);
        let server = stage.start();
        assert_eq!(end(&server).await, "gone", "killed at {name}");
        assert_eq!(stage.premises.processes(), Vec::<u32>::new(), "killed at {name}");
        assert_eq!(stage.premises.left(), Vec::<PathBuf>::new(), "killed at {name}");
    }
}

#[actix_web::test]
async fn processes_are_adopted_after_a_kill_and_stopped_by_a_graceful_stop() {
    let stage = Stage::new();
    let server = stage.start();
    provision(&server, STANDARD).await;
    assert_eq!(end(&server).await, "succeeded");
    let processes = stage.premises.processes();
    server.signal("KILL");
    drop(server);
    assert_eq!(stage.premises.processes(), processes, "Prometheus keeps running");

    let mut server = stage.start();
    // The program listens on another port now. The configuration of Prometheus must contain it.
    let own = format!("http://{}/sd", server.address);
    let knows = async || stage.file("prometheus.yml")?.contains(&own).then_some(());
    eventually(knows).await;
    let ready = async || {
        let metrics = send("GET", &format!("http://{}/metrics", server.address), &[], None).await;
        let ready = "scrapebroker_prometheus_instances{state=\"ready\"} 1";
        metrics.text().contains(ready).then_some(())
    };
    eventually(ready).await;
    assert_eq!(stage.premises.processes(), processes, "Prometheus was not restarted");
    server.signal("TERM");
    assert_eq!(server.exit_code().await, Some(0));
    assert_eq!(stage.premises.processes(), Vec::<u32>::new());
    assert_eq!(stage.premises.left().len(), 1, "the stored samples are kept");

    let server = stage.start();
    assert_runs(&stage, 1).await;
    // A killed child process is restarted.
    let killed = stage.premises.processes().first().unwrap().to_string();
    std::process::Command::new("kill").args(["-9", &killed]).status().unwrap();
    eventually(async || (stage.premises.processes().first()?.to_string() != killed).then_some(()))
        .await;
    deprovision(&server).await;
    assert_eq!(end(&server).await, "gone");
    assert_eq!(stage.premises.left(), Vec::<PathBuf>::new());
}
