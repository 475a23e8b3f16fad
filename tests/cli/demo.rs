//! The demo: the printed commands work, and no files or processes remain.

use super::scrapebroker;
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// A running demo with its files in a temporary folder, and its output.
struct Demo(Child, tempfile::TempDir, Vec<String>);

impl Demo {
    /// Starts the demo and reads its output.
    fn start(path: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut demo = scrapebroker(&["demo", "--listen", "127.0.0.1:0"])
            .env("PATH", path)
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(demo.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
        let mut printed = Vec::new();
        for line in lines {
            let is_last = line.starts_with("Ctrl-C");
            printed.push(line);
            if is_last {
                break;
            }
        }
        Self(demo, folder, printed)
    }

    /// Stops the demo and asserts that no files or processes remain.
    fn stop(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
        assert_eq!(std::fs::read_dir(self.1.path()).unwrap().count(), 0, "files remain");
        let folder = self.1.path().to_str().unwrap();
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).into_owned();
            assert!(!command.contains(folder), "still running: {command}");
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs each command that the demo prints.
#[test]
fn all_commands_that_the_demo_prints_work() {
    let demo = Demo::start(std::env!("PATH"));
    let curl = |line: &String| line.find("curl ").map(|at| line[at..].to_owned());
    let commands: Vec<_> = demo.2.iter().filter_map(curl).collect();
    assert!(commands.len() >= 6, "{:?}", demo.2);
    for command in &commands {
        let command = command.replacen(
            "curl",
            "curl --fail --silent --show-error --retry 20 --retry-delay 1",
            1,
        );
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {err}");
        let out = String::from_utf8(output.stdout).unwrap();
        if command.contains("route_url") {
            let up = out.lines().filter(|line| line.starts_with("scrapebroker_instance_up{"));
            assert_eq!(up.filter(|line| line.ends_with(" 1")).count(), 3, "{out}");
            assert!(out.contains("api_http_requests_total{"), "{out}");
        }
        if command.contains("/api/v1/query") {
            let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
            let labels = &answer["data"]["result"][0]["metric"];
            assert_eq!(
                (&labels["app_name"], &labels["space_name"]),
                (&"shop".into(), &"demo".into())
            );
        }
    }
    let queries = commands.iter().filter(|command| command.contains("/api/v1/query"));
    assert_eq!(queries.count(), 3, "the Prometheus, its events and the pool: {:?}", demo.2);
    demo.stop();
}

#[test]
fn without_prometheus_the_demo_prints_how_to_install_it() {
    let demo = Demo::start("/nowhere");
    let printed = demo.2.join("\n");
    assert!(printed.contains("apt-get install prometheus"), "{printed}");
    assert!(!printed.contains("/api/v1/query"), "{printed}");
    demo.stop();
}
