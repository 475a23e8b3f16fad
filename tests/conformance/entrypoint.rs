//! `deploy/tsuru/prometheus/entrypoint.sh` with a real Prometheus, in dash and in busybox.
//!
//! Needs `prometheus` and `busybox`. The official image of Prometheus has only the shell and tools
//! of busybox.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use scrapebroker::{
    domain::{
        InstanceNames,
        prometheus::{Spec, Storage},
    },
    provisioner::{
        DesiredInstance, OwnAddress,
        config_file::{RULES_FILE, flags, render, web_config},
    },
};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/tsuru/prometheus/entrypoint.sh");
const INSTANCE: &str = "tsuru:prometheus:$shop's \"own\" — é";
const RULES: &str =
    "groups:\n- name: 'it''s \"quoted\" $(touch pwned) `touch pwned` \\n'\n  rules: []\n";

/// A shell, and the folder with the tools in its `PATH`.
struct Shell {
    command: Vec<String>,
    folder: TempDir,
}

impl Shell {
    fn dash() -> Self {
        let shell = Self { command: vec!["dash".to_owned()], folder: tempfile::tempdir().unwrap() };
        shell.link(&["prometheus", "mktemp", "mkdir"]);
        shell
    }

    /// Busybox provides the shell and all tools.
    fn busybox() -> Self {
        let command = vec!["busybox".to_owned(), "sh".to_owned()];
        let shell = Self { command, folder: tempfile::tempdir().unwrap() };
        shell.link(&["prometheus"]);
        for applet in ["mktemp", "mkdir"] {
            let busybox = installed("busybox");
            std::os::unix::fs::symlink(busybox, shell.tools().join(applet)).unwrap();
        }
        shell
    }

    fn tools(&self) -> std::path::PathBuf {
        self.folder.path().join("tools")
    }

    fn link(&self, names: &[&str]) {
        fs::create_dir(self.tools()).unwrap();
        for name in names {
            std::os::unix::fs::symlink(installed(name), self.tools().join(name)).unwrap();
        }
    }

    /// The entrypoint without environment variables.
    fn entrypoint(&self) -> Command {
        let temporary = self.folder.path().join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let mut command = Command::new(installed(&self.command[0]));
        command.args(&self.command[1..]).arg(SCRIPT).env_clear();
        command.env("PATH", self.tools()).env("TMPDIR", temporary).current_dir(&self.folder);
        command.env("PROMETHEUS_STORAGE_PATH", self.folder.path().join("data"));
        command
    }
}

pub(super) fn installed(name: &str) -> String {
    let folders = ["/usr/bin", "/bin", "/usr/local/bin"];
    let paths = folders.iter().map(|folder| format!("{folder}/{name}"));
    let found = paths.into_iter().find(|path| Path::new(path).exists());
    found.unwrap_or_else(|| panic!("{name}: scripts/install-test-tools installs it"))
}

/// A process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn desired() -> DesiredInstance {
    let own = "http://127.0.0.1:9".parse().unwrap();
    DesiredInstance {
        instance_id: INSTANCE.parse().unwrap(),
        organization_guid: "tsuru:checkout".parse().unwrap(),
        space_guid: "tsuru:checkout/pool-a".parse().unwrap(),
        names: InstanceNames::default(),
        spec: Spec {
            retention: "2d".parse().unwrap(),
            retention_size: Some(4 << 20),
            storage: Storage::Disk,
            replicas: 2,
            memory_limit: 256 << 20,
            scrape_interval: "2s".parse().unwrap(),
            sample_limit: 1000,
            remote_write: None,
            rules: Some(RULES.to_owned()),
            alertmanager_url: None,
        },
        remote_write: None,
        scraper_token: "t0k\"en".into(),
        web_password: "web $password".into(),
        own: OwnAddress {
            base_url: "https://broker.example.com".parse().unwrap(),
            scrape_url: own,
        },
    }
}

fn get(port: u16, path: &str, password: Option<&str>) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let credentials = password.map(|password| {
        let user = DesiredInstance::WEB_USER;
        let token = BASE64_STANDARD.encode(format!("{user}:{password}"));
        format!("Authorization: Basic {token}\r\n")
    });
    let credentials = credentials.unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n{credentials}\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

fn assert_prometheus_starts(shell: &Shell) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let desired = desired();
    let mut command = shell.entrypoint();
    command.env("PROMETHEUS_CONFIG", render(&desired, 1));
    command.env("PROMETHEUS_WEB_CONFIG", web_config(&desired.web_password).unwrap());
    command.env("PROMETHEUS_RULES", RULES).env("PORT", port.to_string());
    command.env("PROMETHEUS_MEMORY_LIMIT", "256MiB");
    for (flag, value) in flags(&desired, "/") {
        let variable = match flag {
            "storage.tsdb.retention.time" => "PROMETHEUS_RETENTION_TIME",
            "storage.tsdb.retention.size" => "PROMETHEUS_RETENTION_SIZE",
            "web.external-url" => "PROMETHEUS_EXTERNAL_URL",
            "web.route-prefix" => "PROMETHEUS_ROUTE_PREFIX",
            "query.max-concurrency" => "PROMETHEUS_QUERY_MAX_CONCURRENCY",
            "query.max-samples" => "PROMETHEUS_QUERY_MAX_SAMPLES",
            "enable-feature" => "PROMETHEUS_FEATURES",
            other => panic!("{other} has no environment variable"),
        };
        command.env(variable, value);
    }
    let log = shell.folder.path().join("log");
    let prometheus = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    let mut prometheus = Running(prometheus);
    let deadline = Instant::now() + Duration::from_secs(60);
    while get(port, "/-/ready", Some("web $password")).is_none_or(|(status, _)| status != 200) {
        let log = fs::read_to_string(&log).unwrap();
        assert!(prometheus.0.try_wait().unwrap().is_none(), "{log}");
        assert!(Instant::now() < deadline, "{log}");
        thread::sleep(Duration::from_millis(50));
    }

    let (status, _) = get(port, "/-/ready", None).unwrap();
    assert_eq!(status, 401);
    let (status, _) = get(port, "/-/ready", Some("wrong")).unwrap();
    assert_eq!(status, 401);
    let (_, config) = get(port, "/api/v1/status/config", Some("web $password")).unwrap();
    assert!(config.contains("http://127.0.0.1:9/sd"), "{config}");
    assert!(
        config.contains(r#"prometheus_instance: tsuru:prometheus:$shop's \"own\" — é"#),
        "{config}"
    );
    assert!(!config.contains("t0k"), "{config}");
    let (_, flags) = get(port, "/api/v1/status/flags", Some("web $password")).unwrap();
    let external_url = format!(r#""web.external-url":"{}""#, desired.external_url());
    for flag in [
        r#""storage.tsdb.retention.time":"2d""#,
        r#""storage.tsdb.retention.size":"4MiB""#,
        external_url.as_str(),
        r#""web.route-prefix":"/""#,
        r#""query.max-concurrency":"2""#,
        r#""query.max-samples":"1048576""#,
        r#""web.enable-admin-api":"false""#,
        r#""web.enable-lifecycle":"false""#,
    ] {
        assert!(flags.contains(flag), "{flag}: {flags}");
    }
    let (_, rules) = get(port, "/api/v1/rules", Some("web $password")).unwrap();
    assert!(rules.contains(r#"it's \"quoted\" $(touch pwned) `touch pwned` \\n"#), "{rules}");

    // The process is Prometheus itself, and its environment contains no secrets.
    let id = prometheus.0.id();
    let environment = fs::read(format!("/proc/{id}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("GOMEMLIMIT=256MiB"), "{environment}");
    assert!(!environment.contains("t0k"), "{environment}");
    assert!(!shell.folder.path().join("pwned").exists());
    Command::new("kill").arg(id.to_string()).status().unwrap();
    assert!(prometheus.0.wait().unwrap().success());
}

fn assert_missing_variables_are_reported(shell: &Shell) {
    let run = |variables: &[(&str, &str)]| {
        let mut command = shell.entrypoint();
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Output { status, stderr, .. } = command.output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    };
    let config = ("PROMETHEUS_CONFIG", "secret: hunter2");
    let web = ("PROMETHEUS_WEB_CONFIG", "{}");
    for (variables, word) in [
        (&[web][..], "PROMETHEUS_CONFIG"),
        (&[config], "PROMETHEUS_WEB_CONFIG"),
        (&[config, web, ("PORT", "80; true")], "PORT"),
        (&[config, web, ("PROMETHEUS_STORAGE_PATH", "/proc/none")], "/proc/none"),
    ] {
        let (code, message) = run(variables);
        assert_eq!(code, Some(64), "{message}");
        assert!(message.contains(word) && !message.contains("hunter2"), "{message}");
    }
}

#[test]
fn the_entrypoint_in_dash_starts_prometheus_with_the_variables() {
    assert_prometheus_starts(&Shell::dash());
}

#[test]
fn the_entrypoint_in_busybox_starts_prometheus_with_the_variables() {
    assert_prometheus_starts(&Shell::busybox());
}

#[test]
fn missing_variables_are_reported_without_secrets() {
    assert_missing_variables_are_reported(&Shell::dash());
    assert_missing_variables_are_reported(&Shell::busybox());
}

#[test]
fn the_rules_file_has_the_path_in_the_configuration() {
    let script = fs::read_to_string(SCRIPT).unwrap();
    assert!(script.contains(&format!("\"$folder/{RULES_FILE}\"")));
}

#[test]
fn the_entrypoint_passes_shellcheck() {
    let output = Command::new("shellcheck").args(["--shell=sh", SCRIPT]).output();
    let output = output.expect("shellcheck: scripts/install-test-tools installs it");
    assert!(output.status.success(), "{}", String::from_utf8(output.stdout).unwrap());
}
