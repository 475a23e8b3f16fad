//! Installed programs, which stop when the test ends, and ports for them.

use crate::{eventually, send};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// A process that is killed when the test ends.
pub struct Process(Child);

impl Process {
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal, for example `TERM`.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn start(program: &str, arguments: &[String]) -> Process {
    let child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; `make test` installs it"));
    Process(child)
}

/// A free address for a program that cannot select its port itself.
pub fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_ports(1)))
}

/// The first of `count` free consecutive ports that no other test uses.
///
/// The ports are below the ephemeral port range of the system. Therefore no outgoing connection
/// occupies one of them before the program listens.
pub fn free_ports(count: u16) -> u16 {
    const FIRST: u16 = 12_000;
    const END: u16 = 32_768;
    static NEXT: AtomicU16 = AtomicU16::new(FIRST);
    loop {
        let first = NEXT.fetch_add(count, Ordering::Relaxed);
        assert!(first + count <= END, "all ports for tests are used");
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (first..first + count).all(is_free) {
            return first;
        }
    }
}

/// A Prometheus, whose data is deleted when the test ends.
pub struct Prometheus {
    pub address: SocketAddr,
    arguments: Vec<String>,
    /// None while it is stopped.
    process: Option<Process>,
    _folder: TempDir,
}

/// A sample that a Prometheus has stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

impl Prometheus {
    /// Starts a Prometheus with these `scrape_configs` and a scrape interval of one second.
    pub fn start(scrape_configs: &str) -> Self {
        Self::start_with(&[], scrape_configs)
    }

    /// Like [`Prometheus::start`], with these feature flags enabled.
    pub fn start_with(features: &[&str], scrape_configs: &str) -> Self {
        Self::start_at(free_address(), features, scrape_configs)
    }

    /// Like [`Prometheus::start_with`], at this address.
    pub fn start_at(address: SocketAddr, features: &[&str], scrape_configs: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        let mut config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\n".to_owned();
        write!(config, "scrape_configs:\n{scrape_configs}").unwrap();
        std::fs::write(&file, config).unwrap();
        let arguments = vec![
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", folder.path().join("data").display()),
            format!("--web.listen-address={address}"),
            format!("--enable-feature={}", features.join(",")),
        ];
        let mut prometheus = Self { address, arguments, process: None, _folder: folder };
        prometheus.start_again();
        prometheus
    }

    /// Stops with SIGTERM. The data is kept.
    pub async fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        process.signal("TERM");
        eventually(async || process.0.try_wait().unwrap()).await;
    }

    /// Starts at the same address and with the same data after [`Prometheus::stop`].
    pub fn start_again(&mut self) {
        self.process = Some(start("prometheus", &self.arguments));
    }

    /// Suspends the process with SIGSTOP.
    pub fn pause(&self) {
        self.process.as_ref().unwrap().signal("STOP");
    }

    pub fn resume(&self) {
        self.process.as_ref().unwrap().signal("CONT");
    }

    /// The samples of the last `seconds` as they are stored, by series and time. Waits until there is
    /// one.
    pub async fn range(&self, selector: &str, seconds: u32) -> Vec<StoredSample> {
        let series = self.query(&format!("{selector}[{seconds}s]")).await;
        series.iter().flat_map(stored_samples).collect()
    }

    /// The first non-empty result of a query.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.poll_api(&format!("query?query={query}"), |data| &data["result"]).await
    }

    /// The error of a failed scrape of the first target, as its page shows it.
    pub async fn last_error(&self) -> String {
        eventually(async || {
            let targets = self.poll_api("targets", |data| &data["activeTargets"]).await;
            let error = targets[0]["lastError"].as_str()?;
            (!error.is_empty()).then(|| error.to_owned())
        })
        .await
    }

    /// The exemplars from one minute ago to one minute ahead.
    pub async fn exemplars(&self, query: &str) -> Vec<Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (start, end) = (now - 60, now + 60);
        let path = format!("query_exemplars?query={query}&start={start}&end={end}");
        self.poll_api(&path, |data| data).await
    }

    /// The first non-empty list that the API returns.
    async fn poll_api(&self, path: &str, list: impl Fn(&Value) -> &Value) -> Vec<Value> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        eventually(async || {
            tokio::net::TcpStream::connect(self.address).await.ok()?;
            let answer = send("GET", &url, &[], None).await;
            // Prometheus responds with 503 while it starts.
            if answer.status != 200 {
                return None;
            }
            let result = list(&answer.json()["data"]).as_array()?.clone();
            (!result.is_empty()).then_some(result)
        })
        .await
    }
}

/// The samples of a series of a matrix.
fn stored_samples(series: &Value) -> Vec<StoredSample> {
    let labels = series["metric"].as_object().unwrap().iter();
    let labels: BTreeMap<_, _> =
        labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    let samples = series["values"].as_array().unwrap().iter();
    samples
        .map(|sample| StoredSample {
            labels: labels.clone(),
            value: sample[1].as_str().unwrap().parse().unwrap(),
            timestamp: (sample[0].as_f64().unwrap() * 1000.0).round() as i64,
        })
        .collect()
}
