//! The demo: the printed commands and pages work, the output fits into a terminal, and no files or
//! processes remain.

use super::scrapebroker;
use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};
use tempfile::TempDir;

/// Id of the demo's Prometheus.
const PROMETHEUS: &str = "c51d6f0a-2e94-4b7e-8a3c-71f5d9b0e642";

/// The last words of the summary.
const LAST: &str = "Ctrl-C stops it.";

/// A running demo with its files in a temporary folder.
struct Demo {
    process: Child,
    folder: TempDir,
    /// The summary.
    printed: Vec<String>,
    /// Standard error until the summary was complete.
    progress: String,
}

impl Demo {
    /// Starts the demo and reads its output.
    fn start(path: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut process = scrapebroker(&["demo", "--listen", "127.0.0.1:0"])
            .env("PATH", path)
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(File::create(log.path()).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
        let mut printed = Vec::new();
        for line in lines {
            let is_last = line == LAST;
            printed.push(line);
            if is_last {
                break;
            }
        }
        let progress = std::fs::read_to_string(log.path()).unwrap();
        Self { process, folder, printed, progress }
    }

    /// User name and password of the first line, as curl expects them.
    fn login(&self) -> String {
        let (_, login) = self.printed[0].split_once("user ").unwrap();
        login.replace(", password ", ":")
    }

    /// The URLs of pages, in the order of the summary.
    fn pages(&self) -> Vec<&str> {
        let lines = self.printed.iter().filter(|line| !line.contains("curl "));
        lines.flat_map(|line| line.split(' ')).filter(|word| word.starts_with("http://")).collect()
    }

    /// The shell commands.
    fn commands(&self) -> Vec<&str> {
        let lines = self.printed.iter();
        lines.filter_map(|line| line.find("curl ").map(|start| &line[start..])).collect()
    }

    /// The response to a browser in which a person has logged in.
    fn open(&self, url: &str) -> String {
        curl(&format!("curl -gu {} -H 'Accept: text/html' '{url}'", self.login()))
    }

    /// URL of the dedicated Prometheus.
    fn prometheus(&self) -> String {
        let base = self.pages()[0].strip_suffix("/?details").unwrap();
        format!("{base}/prometheus/{PROMETHEUS}")
    }

    /// Asserts that the page of the app says why an instance fails, and what to do.
    fn assert_the_failure_is_explained(&self) {
        let page = self.open(self.pages()[1]);
        for text in ["status_5xx", "500 Internal Server Error", "The app failed", "What to do"] {
            assert!(page.contains(text), "{text}: {page}");
        }
    }

    /// The first series that matches a query, in the dedicated Prometheus.
    fn query(&self, query: &str) -> Value {
        first_series(&self.open(&format!("{}/api/v1/query?query={query}", self.prometheus())))
    }

    /// Stops the demo and asserts that no files or processes remain.
    fn stop(mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
        assert_no_remains(&self.folder);
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn assert_no_remains(folder: &TempDir) {
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files remain");
    let folder = folder.path().to_str().unwrap();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        assert!(!command.contains(folder), "still running: {command}");
    }
}

/// Runs a command with curl, and returns the body of a successful response.
fn curl(command: &str) -> String {
    let options = "curl --fail --silent --show-error --retry 20 --retry-delay 1";
    let command = command.replacen("curl", options, 1);
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

/// The labels of the first series in the answer to a query. It is a series of the demo's app.
fn first_series(answer: &str) -> Value {
    let answer: Value = serde_json::from_str(answer).unwrap();
    let labels = &answer["data"]["result"][0]["metric"];
    assert_eq!((&labels["app_name"], &labels["space_name"]), (&"shop".into(), &"demo".into()));
    labels.clone()
}

#[test]
fn all_commands_and_pages_that_the_demo_prints_work() {
    let demo = Demo::start(std::env!("PATH"));
    assert!(demo.printed[0].starts_with("Open http://127.0.0.1:"), "{:?}", demo.printed);
    let commands = demo.commands();
    assert_eq!(commands.len(), 4, "{:?}", demo.printed);
    for command in commands {
        let out = curl(command);
        if command.contains("route_url") {
            let up = |end: &str| {
                let lines = out.lines().filter(|line| line.starts_with("scrapebroker_instance_up"));
                lines.filter(|line| line.ends_with(end)).count()
            };
            assert_eq!((up(" 1"), up(" 0")), (2, 1), "{out}");
            assert!(out.contains("demo_http_requests_total{"), "{out}");
            assert!(out.contains(r#",error="status_5xx"} 1"#), "{out}");
        }
        if command.contains("/v1/apps/acme/demo/shop") {
            assert!(out.contains("status_5xx") && out.contains("500 Internal"), "{out}");
        }
        if command.contains("/api/v1/query") {
            first_series(&out);
        }
    }

    demo.query("demo_http_requests_total");
    demo.query("last_over_time(events_to_metrics[5m])");
    let alert = demo.query("ALERTS");
    assert_eq!((&alert["alertname"], &alert["index"]), (&"InstanceFailing".into(), &"2".into()));
    assert_eq!(alert["alertstate"], "firing");

    let pages = demo.pages();
    assert_eq!(pages.len(), 6, "{:?}", demo.printed);
    for url in &pages {
        let page = demo.open(url);
        assert!(page.contains("</h1>"), "{url}: {page}");
    }
    demo.assert_the_failure_is_explained();
    let exposed = demo.open(pages[2]);
    assert!(exposed.contains("demo_job_duration_seconds"), "{exposed}");
    let events = demo.open(pages[3]);
    assert!(events.contains("version=1"), "{events}");
    // The demo scrapes the queue, and the next scrape confirms the one before.
    let is_delivered = (0..60).any(|_| {
        sleep(Duration::from_millis(500));
        demo.open(pages[3]).contains("</span> delivered</span>")
    });
    assert!(is_delivered, "{}", demo.open(pages[3]));
    let prometheus = demo.open(&format!("{}/", demo.prometheus()));
    assert!(prometheus.contains("InstanceFailing"), "{prometheus}");
    demo.stop();
}

#[test]
fn without_prometheus_the_demo_prints_how_to_install_it() {
    let demo = Demo::start("/nowhere");
    let printed = demo.printed.join("\n");
    assert!(printed.contains("apt-get install prometheus"), "{printed}");
    assert!(!printed.contains("/api/v1/query") && !printed.contains("/prometheus"), "{printed}");
    assert_eq!(demo.progress.lines().count(), 1, "{}", demo.progress);

    // The demo scrapes the app itself.
    let description = curl(demo.commands()[1]);
    let description: Value = serde_json::from_str(&description).unwrap();
    let instances = description["apps"][0]["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 3);
    assert!(instances.iter().all(|one| one["last_scrape"].is_object()), "{description}");
    demo.assert_the_failure_is_explained();
    demo.stop();
}

/// A program that stands for `cargo build` and reports this build of the program.
const FAKE_CARGO: &str = concat!(
    "#!/bin/sh\n",
    r#"echo '{"reason":"compiler-artifact","executable":""#,
    env!("CARGO_BIN_EXE_scrapebroker"),
    "\"}'\n"
);

#[test]
fn a_signal_during_the_start_is_not_an_error() {
    for milliseconds in [0, 20, 50, 100, 200, 400, 800] {
        let folder = tempfile::tempdir().unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut process = scrapebroker(&["demo", "--listen", "127.0.0.1:0"])
            .env("TMPDIR", folder.path())
            .stdout(Stdio::null())
            .stderr(File::create(log.path()).unwrap())
            .spawn()
            .unwrap();
        let printed = || std::fs::read_to_string(log.path()).unwrap();
        while !printed().contains("Starting") {
            sleep(Duration::from_millis(5));
        }
        sleep(Duration::from_millis(milliseconds));
        let pid = process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let code = process.wait().unwrap().code();
        assert_eq!(code, Some(0), "after {milliseconds} ms: {}", printed());
        assert_no_remains(&folder);
    }
}

/// The number of lines that output takes on a terminal of 80 columns.
fn lines_on_terminal(output: &str) -> usize {
    let width = |line: &str| {
        // A carriage return overwrites the line.
        let parts = line.split('\r').map(|part| part.replace("\u{1b}[K", "").chars().count());
        parts.max().unwrap_or_default()
    };
    output.lines().map(|line| width(line).div_ceil(80).max(1)).sum()
}

#[test]
fn the_whole_output_fits_into_a_terminal_of_80_columns_and_24_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (cargo, temporary) = (folder.path().join("cargo"), folder.path().join("tmp"));
    std::fs::write(&cargo, FAKE_CARGO).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let scripts = folder.path().join("scripts");
    std::fs::create_dir(&scripts).unwrap();
    std::fs::create_dir(&temporary).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/run-demo");
    std::fs::copy(script, scripts.join("run-demo")).unwrap();

    // `script` gives it a terminal.
    let run = "stty cols 80; exec scripts/run-demo --listen 127.0.0.1:0";
    let mut terminal = Command::new("script")
        .args(["-qec", run, "/dev/null"])
        .current_dir(&folder)
        .env("PATH", format!("{}:{}", folder.path().display(), env!("PATH")))
        .env("TMPDIR", &temporary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = terminal.stdout.take().unwrap();
    let mut shown = Vec::new();
    while !shown.ends_with(LAST.as_bytes()) {
        let mut byte = [0; 1];
        let length = output.read(&mut byte).unwrap();
        assert_eq!(length, 1, "it ended after: {}", String::from_utf8_lossy(&shown));
        shown.extend(byte);
    }
    let shown = String::from_utf8(shown).unwrap();
    // The key combination, which the terminal sends as a signal.
    terminal.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    assert!(terminal.wait().unwrap().success());
    assert!(shown.contains("Built in") && shown.contains("Starting: Scrapebroker"), "{shown}");
    // Two lines are left, for the installation of Prometheus and for its failure.
    assert!(lines_on_terminal(&shown) <= 22, "{shown}");
    assert_eq!(std::fs::read_dir(temporary).unwrap().count(), 0, "files remain");
}
