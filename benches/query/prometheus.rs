//! Real Prometheus servers.

use crate::client;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    error::Error,
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use support::programs::{Process, free_address, start};
use tempfile::TempDir;

const PROGRAM: &str = "prometheus";
const START_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn is_installed() -> bool {
    let mut command = Command::new(PROGRAM);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A server that is killed when dropped.
pub(crate) struct PrometheusServer {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    process: Option<Process>,
}

impl PrometheusServer {
    /// Starts two servers that scrape each other every second.
    pub(crate) fn start_two() -> Result<[Self; 2], Box<dyn Error>> {
        let [a, b] = [free_address(), free_address()];
        let servers = [Self::start(a, b)?, Self::start(b, a)?];
        for server in &servers {
            server.wait_until_ready()?;
            wait(|| {
                client::get(server.address, "/api/v1/query?query=up%3E0", "").is_ok_and(has_samples)
            })?;
        }
        Ok(servers)
    }

    fn start(address: SocketAddr, target: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: replica, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        fs::write(folder.path().join("prometheus.yml"), config)?;
        let mut server = Self { address, folder, process: None };
        server.restart();
        Ok(server)
    }

    /// Kills the process, if it runs.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the process with the data that it had before.
    pub(crate) fn restart(&mut self) {
        let folder = self.folder.path();
        let arguments = [
            format!("--config.file={}", folder.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address={}", self.address),
        ];
        self.process = Some(start(PROGRAM, &arguments));
    }

    pub(crate) fn wait_until_ready(&self) -> Result<(), Box<dyn Error>> {
        wait(|| client::get(self.address, "/-/ready", "").is_ok())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Box<dyn Error>> {
        let process = self.process.as_ref().ok_or("it does not run")?;
        let pid = Pid::from_raw(process.id().try_into()?).ok_or("not a process id")?;
        Ok(kill_process(pid, signal)?)
    }
}

fn has_samples(response: String) -> bool {
    response.contains("\"value\":")
}

fn wait(is_done: impl Fn() -> bool) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    while !is_done() {
        if start.elapsed() > START_TIMEOUT {
            return Err("prometheus did not become ready".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
