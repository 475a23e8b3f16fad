//! Start of the program: required files, log lines and warnings.

use crate::test_app::*;
use serde_json::json;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};
use support::*;

pub(crate) struct Server {
    child: Child,
    log: mpsc::Receiver<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(crate) fn start(program: &Path, folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program)
            .arg("serve")
            .env_clear()
            .current_dir(folder)
            .env("SCRAPEBROKER__LISTEN", "127.0.0.1:0")
            .env("SCRAPEBROKER__BROKER__USERNAME", USER)
            .env("SCRAPEBROKER__BROKER__PASSWORD", PASSWORD)
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, log }
    }

    /// The log lines up to and including the line that contains `text`.
    pub(crate) fn lines_until(&self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.contains(text)) {
            let line = self.log.recv_timeout(Duration::from_secs(60));
            lines.push(line.unwrap_or_else(|error| panic!("no {text:?} ({error}) in {lines:#?}")));
        }
        lines
    }
}

pub(crate) fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("{line}"));
    rest.split(' ').next().unwrap().trim_matches('"')
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_scrapebroker"))
}

/// According to the README, the program needs no other files.
#[actix_web::test]
async fn a_copied_program_runs_in_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("scrapebroker");
    std::fs::copy(program(), &copy).unwrap();
    let work = folder.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let server = Server::start(&copy, &work, &[]);
    let lines = server.lines_until("listening ");
    let address = field(lines.last().unwrap(), "address").to_owned();
    for path in ["/", "/doc", "/style.css", "/-/ready", "/metrics"] {
        let answer = send("GET", &format!("http://{address}{path}"), &[], None).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let authorization = basic(USER, PASSWORD);
    let headers = [("Authorization", &*authorization), ("X-Broker-Api-Version", "2.15")];
    let catalog = send("GET", &format!("http://{address}/broker/v2/catalog"), &headers, None).await;
    assert_eq!(catalog.json()["services"][0]["name"], "metrics");
}

#[actix_web::test]
async fn the_start_logs_one_line_and_warnings() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("settings.yml"), "database_url: sqlite://my.db\n").unwrap();
    std::fs::write(folder.path().join("broker-catalog.json"), "{}").unwrap();
    let settings = [
        ("SCRAPEBROKER_CONFIG", "settings.yml"),
        ("SCRAPEBROKER__LISTEN", "0.0.0.0:0"),
        ("SCRAPEBROKER__HEALTH_LISTEN", "127.0.0.1:0"),
        ("SCRAPEBROKER__PROMETHEUS__BINARY", "/no/such/prometheus"),
        ("VCAP_APPLICATION", "{}"),
    ];
    let server = Server::start(program(), folder.path(), &settings);
    let lines = server.lines_until("listening ");
    let line = lines.last().unwrap();
    assert_eq!(field(line, "version"), env!("CARGO_PKG_VERSION"));
    assert!(field(line, "commit").chars().all(|c| c.is_ascii_alphanumeric()), "{line}");
    for (name, value) in [("tls", "false"), ("http2", "false"), ("users", "0")] {
        assert_eq!(field(line, name), value);
    }
    assert_eq!(field(line, "configuration"), "settings.yml");
    assert_eq!(field(line, "database"), "sqlite://my.db");
    assert!(field(line, "address").starts_with("0.0.0.0:"), "{line}");
    assert!(field(line, "health_address").starts_with("127.0.0.1:"), "{line}");
    for warning in [
        "no route source is configured",
        "scrape.access is open",
        "prometheus.binary is not found",
        "bindings and events are kept in SQLite on a disk",
        "broker-catalog.json in the working folder is not used",
    ] {
        let found = lines.iter().filter(|line| line.contains(warning));
        assert_eq!(found.count(), 1, "{warning}: {lines:#?}");
    }
    let is_foreign =
        |line: &&String| line.contains(" INFO ") && !line.contains(" INFO scrapebroker");
    assert_eq!(lines.iter().filter(is_foreign).count(), 0, "log lines of libraries: {lines:#?}");
}

#[actix_web::test]
async fn each_route_source_logs_its_first_table_or_its_failure_once() {
    let instance = Instance::with_metrics("a 1\n").await;
    let routes = RouteFile::of_app([&instance, &instance]);
    let (_, file) = routes.setting();
    let folder = tempfile::tempdir().unwrap();
    // The gorouter URL lacks the path `/routes`. The NATS server refuses connections.
    let router = Instance::start(|_| Reply::Http(404, vec![], vec![])).await;
    let routers = json!([{"url": format!("http://{}", router.address)}]).to_string();
    let settings = [
        ("SCRAPEBROKER__ROUTES__FILE", &*file),
        ("SCRAPEBROKER__ROUTES__GOROUTERS", &*routers),
        ("SCRAPEBROKER__ROUTES__NATS__SERVERS", "[\"nats://127.0.0.1:1\"]"),
        ("SCRAPEBROKER__SCRAPE__ACCESS", "token"),
    ];
    let server = Server::start(program(), folder.path(), &settings);
    // This thread serves the router, so another thread waits for the log lines.
    let (server, lines) = actix_web::web::block(move || {
        let mut lines = server.lines_until("ready without");
        lines.extend(server.lines_until("ready without"));
        (server, lines)
    })
    .await
    .unwrap();
    drop(server);
    let with = |text: &str| lines.iter().filter(|line| line.contains(text)).collect::<Vec<_>>();
    let first = with("first route table");
    assert_eq!(first.len(), 1, "{lines:#?}");
    assert_eq!((field(first[0], "endpoints"), field(first[0], "apps")), ("1", "1"));
    let failed = with("route source failed");
    assert_eq!(failed.len(), 2, "{lines:#?}");
    let router = failed.iter().find(|line| line.contains("gorouter ")).unwrap();
    assert!(router.contains("shows its routes at /routes"), "{router}");
    let nats = failed.iter().find(|line| line.contains("nats ")).unwrap();
    assert!(nats.contains("127.0.0.1:1: Connection refused"), "{nats}");
    assert_eq!(nats.matches("onnection refused").count(), 1, "{nats}");
    let keys: Vec<_> = with("ready without").iter().map(|line| field(line, "key")).collect();
    assert_eq!(keys, ["routes.gorouters[0]", "routes.nats"]);
}

#[test]
fn a_dropped_endpoint_is_logged_with_app_route_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let bad = |address: &str, app: &str| json!({"address": address, "tags": {"app_id": app}});
    let table = json!({
        "a.example.com": [bad("cell-1.internal:61001", "app-a")],
        "b.example.com": [bad("10.0.0.1:0", "app-b"), 5],
        "system.example.com": [{"address": "uaa.internal:80", "tags": null}],
    });
    std::fs::write(folder.path().join("routes.json"), table.to_string()).unwrap();
    let settings = [("SCRAPEBROKER__ROUTES__FILE", "routes.json")];
    let server = Server::start(program(), folder.path(), &settings);
    let lines = server.lines_until("first route table");
    let dropped: Vec<_> = lines.iter().filter(|line| line.contains("endpoint dropped")).collect();
    assert_eq!(dropped.len(), 3, "{lines:#?}");
    assert_eq!((field(dropped[0], "app"), field(dropped[0], "route")), ("app-a", "a.example.com"));
    assert!(dropped[0].contains("reason=the address is not an IP address and a port"));
    assert_eq!((field(dropped[1], "app"), field(dropped[1], "route")), ("app-b", "b.example.com"));
    assert!(dropped[2].contains("reason=the endpoint is not an object"), "{dropped:#?}");
}
