//! Installed programs, which stop when the test ends, and ports for them.

use crate::{eventually, send};
use serde_json::Value;
use std::{
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

pub struct Prometheus {
    pub address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts a Prometheus with these `scrape_configs` and a scrape interval of one second.
    pub fn start(scrape_configs: &str) -> Self {
        Self::start_with(&[], scrape_configs)
    }

    /// Like [`Prometheus::start`], with these feature flags enabled.
    pub fn start_with(features: &[&str], scrape_configs: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        let mut config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\n".to_owned();
        write!(config, "scrape_configs:\n{scrape_configs}").unwrap();
        std::fs::write(&file, config).unwrap();
        let address = free_address();
        let process = start(
            "prometheus",
            &[
                format!("--config.file={}", file.display()),
                format!("--storage.tsdb.path={}", folder.path().join("data").display()),
                format!("--web.listen-address={address}"),
                format!("--enable-feature={}", features.join(",")),
            ],
        );
        Self { address, _process: process, _folder: folder }
    }

    /// The first non-empty result of a query.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.poll_api(&format!("query?query={query}"), |data| &data["result"]).await
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
