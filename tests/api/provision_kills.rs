//! The program is killed at each observable step of an operation. The restarted program completes
//! the operation and leaves no orphans.

use crate::{dedicated_prometheus::InstanceDirs, server_process::*};
use serde_json::{Value, json};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use support::*;

const SERVICE_ID: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a02";
const STANDARD: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a22";
const HA: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a23";
const SMALL: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a21";
const INSTANCE: &str = "/v2/service_instances/odd:id%20%2F$";

/// A folder in which the program can be restarted.
struct Fixture {
    folder: tempfile::TempDir,
    instance_dirs: InstanceDirs,
    settings: Vec<(String, String)>,
}

impl Fixture {
    fn new() -> Self {
        let instance_dirs = InstanceDirs::new();
        let settings = instance_dirs.settings().into_iter();
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
        Self { folder, instance_dirs, settings }
    }

    fn start(&self) -> Server {
        let settings: Vec<_> =
            self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Server::start_with(self.folder.path(), &settings)
    }

    /// The folder of a replica, if it exists.
    fn replica(&self, number: u8) -> Option<PathBuf> {
        let folder = self.instance_dirs.remaining_paths().first()?.join(number.to_string());
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
type Step<'a> = (&'a str, &'a dyn Fn(&Fixture) -> bool);

/// Polls at a short interval, so that a step is not missed.
fn wait_for_step(step: impl Fn() -> bool) {
    let started = Instant::now();
    while !step() && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn instance_path() -> String {
    format!("{INSTANCE}?accepts_incomplete=true&service_id={SERVICE_ID}&plan_id={STANDARD}")
}

async fn provision(server: &Server, plan: &str) {
    let body = json!({
        "service_id": SERVICE_ID, "plan_id": plan, "organization_guid": "o", "space_guid": "s",
    });
    let answer = server.broker_request("PUT", &instance_path(), Some(body)).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
}

async fn update(server: &Server, plan: &str, parameters: Value) {
    let body = json!({"service_id": SERVICE_ID, "plan_id": plan, "parameters": parameters});
    let answer = server.broker_request("PATCH", &instance_path(), Some(body)).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
}

async fn deprovision(server: &Server) {
    let answer = server.broker_request("DELETE", &instance_path(), None).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
}

async fn end_of_operation(server: &Server) -> String {
    eventually(async || {
        let path = format!("{INSTANCE}/last_operation");
        let last = server.broker_request("GET", &path, None).await?;
        match last.status {
            410 | 404 => Some("gone".to_owned()),
            _ => last.json()["state"].as_str().map(str::to_owned).filter(|it| it != "in progress"),
        }
    })
    .await
}

/// Asserts that the instance is ready and has exactly this number of processes.
async fn assert_runs(fixture: &Fixture, count: usize) {
    eventually(async || (fixture.instance_dirs.processes().len() == count).then_some(())).await;
    eventually(async || fixture.listens().then_some(())).await;
    assert_eq!(fixture.instance_dirs.processes().len(), count);
}

#[actix_web::test]
async fn a_server_may_write_its_samples_although_a_scrape_was_aborted() {
    let hanging = Instance::start(|_| Reply::Hang).await;
    let routes = RouteFile::of_app([&hanging]);
    let mut fixture = Fixture::new();
    let settings = [routes.setting(), ("SHUTDOWN_GRACE", "200ms".to_owned())];
    let settings = settings.map(|(key, value)| (format!("SCRAPEBROKER__{key}"), value));
    fixture.settings.extend(settings);
    let mut server = fixture.start();
    provision(&server, STANDARD).await;
    assert_eq!(end_of_operation(&server).await, "succeeded");
    let url = format!("http://{}/v1/apps/app-guid/metrics", server.address);
    let scrape = actix_web::rt::spawn(async move { send("GET", &url, &[], None).await });
    eventually(async || (hanging.open_connections() > 0).then_some(())).await;
    // The server reacts late, as one with much to write.
    let [process] = fixture.instance_dirs.processes()[..] else { panic!("one process") };
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &process.to_string()]).status();
        assert!(sent.unwrap().success());
    };
    signal("-STOP");
    server.signal("TERM");
    eventually(async || server.logged("request aborted: ").pop()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!server.exited());
    signal("-CONT");
    assert_eq!(server.exit_code().await, Some(0));
    scrape.abort();
    assert!(fixture.file("prometheus.log").unwrap().contains("See you next time!"));
}

#[actix_web::test]
async fn a_provision_interrupted_by_a_kill_creates_one_instance() {
    let there = |path: Option<PathBuf>, name: &str| {
        path.is_some_and(|folder: PathBuf| folder.join(name).exists())
    };
    let steps: [Step<'_>; 8] = [
        ("row", &|_| true),
        ("folder", &|fixture| fixture.replica(0).is_some()),
        ("configuration", &|fixture| there(fixture.replica(0), "prometheus.yml")),
        ("port", &|fixture| there(fixture.replica(0), "port")),
        ("process", &|fixture| !fixture.instance_dirs.processes().is_empty()),
        ("pid", &|fixture| there(fixture.replica(0), "pid")),
        ("data", &|fixture| there(fixture.replica(0), "data/wal")),
        ("listening", &Fixture::listens),
    ];
    let fixture = Fixture::new();
    for (name, step) in steps {
        let server = fixture.start();
        provision(&server, STANDARD).await;
        wait_for_step(|| step(&fixture));
        server.signal("KILL");
        drop(server);
        let server = fixture.start();
        assert_eq!(end_of_operation(&server).await, "succeeded", "killed at {name}");
        assert_runs(&fixture, 1).await;
        deprovision(&server).await;
        assert_eq!(end_of_operation(&server).await, "gone", "killed at {name}");
        assert_eq!(fixture.instance_dirs.processes(), Vec::<u32>::new(), "killed at {name}");
        assert_eq!(
            fixture.instance_dirs.remaining_paths(),
            Vec::<PathBuf>::new(),
            "killed at {name}"
        );
    }
}

#[actix_web::test]
async fn an_update_interrupted_by_a_kill_is_completed() {
    let flag = |name: &str| {
        let pids = |fixture: &Fixture| fixture.instance_dirs.processes();
        let named = name.to_owned();
        move |fixture: &Fixture| {
            let line = |pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            pids(fixture).into_iter().any(|pid| line(pid).contains(&named))
        }
    };
    let retention = flag("retention.time=20d");
    let is_moved = |fixture: &Fixture| {
        let disk = Path::new("data");
        fixture
            .instance_dirs
            .remaining_paths()
            .iter()
            .any(|path| path.parent().unwrap().ends_with(disk))
    };
    let steps: [Step<'_>; 6] = [
        ("row", &|_| true),
        ("no process", &|fixture| fixture.instance_dirs.processes().is_empty()),
        ("new folder", &is_moved),
        ("new flags", &retention),
        ("two replicas", &|fixture| fixture.instance_dirs.processes().len() == 2),
        ("listening", &Fixture::listens),
    ];
    let fixture = Fixture::new();
    for (name, step) in steps {
        let server = fixture.start();
        provision(&server, SMALL).await;
        assert_eq!(end_of_operation(&server).await, "succeeded");
        update(&server, HA, json!({"retention": "20d"})).await;
        wait_for_step(|| step(&fixture));
        server.signal("KILL");
        drop(server);
        let server = fixture.start();
        assert_eq!(end_of_operation(&server).await, "succeeded", "killed at {name}");
        assert_runs(&fixture, 2).await;
        assert!(retention(&fixture) && is_moved(&fixture), "killed at {name}");
        deprovision(&server).await;
        assert_eq!(end_of_operation(&server).await, "gone", "killed at {name}");
        assert_eq!(fixture.instance_dirs.processes(), Vec::<u32>::new(), "killed at {name}");
        assert_eq!(
            fixture.instance_dirs.remaining_paths(),
            Vec::<PathBuf>::new(),
            "killed at {name}"
        );
    }
}

#[actix_web::test]
async fn a_deprovisioning_interrupted_by_a_kill_leaves_no_orphans() {
    let steps: [Step<'_>; 3] = [
        ("row", &|_| true),
        ("no process", &|fixture| fixture.instance_dirs.processes().is_empty()),
        ("no folder", &|fixture| fixture.instance_dirs.remaining_paths().is_empty()),
    ];
    let fixture = Fixture::new();
    for (name, step) in steps {
        let server = fixture.start();
        provision(&server, STANDARD).await;
        assert_eq!(end_of_operation(&server).await, "succeeded");
        deprovision(&server).await;
        wait_for_step(|| step(&fixture));
        server.signal("KILL");
        drop(server);
        let server = fixture.start();
        assert_eq!(end_of_operation(&server).await, "gone", "killed at {name}");
        assert_eq!(fixture.instance_dirs.processes(), Vec::<u32>::new(), "killed at {name}");
        assert_eq!(
            fixture.instance_dirs.remaining_paths(),
            Vec::<PathBuf>::new(),
            "killed at {name}"
        );
    }
}

#[actix_web::test]
async fn processes_are_adopted_after_a_kill_and_stopped_by_a_graceful_stop() {
    let fixture = Fixture::new();
    let server = fixture.start();
    provision(&server, STANDARD).await;
    assert_eq!(end_of_operation(&server).await, "succeeded");
    let processes = fixture.instance_dirs.processes();
    server.signal("KILL");
    drop(server);
    assert_eq!(fixture.instance_dirs.processes(), processes, "Prometheus keeps running");

    let mut server = fixture.start();
    // The program listens on another port now. The configuration of Prometheus must contain it.
    let own = format!("http://{}/sd", server.address);
    let knows = async || fixture.file("prometheus.yml")?.contains(&own).then_some(());
    eventually(knows).await;
    let ready = async || {
        let metrics = send("GET", &format!("http://{}/metrics", server.address), &[], None).await;
        let ready = "scrapebroker_prometheus_instances{state=\"ready\"} 1";
        metrics.text().contains(ready).then_some(())
    };
    eventually(ready).await;
    assert_eq!(fixture.instance_dirs.processes(), processes, "Prometheus was not restarted");
    server.signal("TERM");
    assert_eq!(server.exit_code().await, Some(0));
    assert_eq!(fixture.instance_dirs.processes(), Vec::<u32>::new());
    assert_eq!(fixture.instance_dirs.remaining_paths().len(), 1, "the stored samples are kept");

    let server = fixture.start();
    assert_runs(&fixture, 1).await;
    // A killed child process is restarted.
    let killed = fixture.instance_dirs.processes().first().unwrap().to_string();
    Command::new("kill").args(["-9", &killed]).status().unwrap();
    eventually(async || {
        (fixture.instance_dirs.processes().first()?.to_string() != killed).then_some(())
    })
    .await;
    deprovision(&server).await;
    assert_eq!(end_of_operation(&server).await, "gone");
    assert_eq!(fixture.instance_dirs.remaining_paths(), Vec::<PathBuf>::new());
}
