//! The complete program with one query pool.

use crate::{
    client::{self, Connection},
    load::QUERY,
    program::Program,
};
use serde_json::Value;
use std::{
    error::Error,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const START_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct PoolProgram {
    /// The listener of the pool.
    pub(crate) address: SocketAddr,
    program: Program,
    _folder: TempDir,
}

impl PoolProgram {
    /// Starts the program, and waits until all replicas are healthy.
    pub(crate) fn start(replicas: &[SocketAddr]) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let urls: Vec<_> = replicas.iter().map(|address| format!("http://{address}")).collect();
        let pools = serde_json::json!([{ "name": "bench", "locators": [{ "static": urls }] }]);
        let pools = pools.to_string();
        let settings = [("QUERY__LISTEN", "127.0.0.1:0"), ("QUERY__POOLS", &*pools)];
        let program = Program::start(folder.path(), &settings, Duration::from_secs(10))?;
        let address = program.address("query_address")?;
        let pool = Self { address, program, _folder: folder };
        pool.wait_until_healthy(replicas.len())?;
        Ok(pool)
    }

    fn wait_until_healthy(&self, count: usize) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        while self.healthy_replicas()? != count {
            if start.elapsed() > START_TIMEOUT {
                return Err("the replicas did not become healthy".into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn healthy_replicas(&self) -> Result<usize, Box<dyn Error>> {
        let status = client::get(self.address, "/mpp/status", "Accept: application/json\r\n")?;
        let status: Value = serde_json::from_str(&status)?;
        let replicas = status["replicas"].as_array().ok_or("no replicas")?;
        Ok(replicas.iter().filter(|it| it["health"] == "healthy").count())
    }

    /// The replica that answers queries now.
    pub(crate) fn answering_replica(&self) -> Result<SocketAddr, Box<dyn Error>> {
        let head = Connection::open(self.address)?.send(QUERY, "")?;
        Ok(head.replica.ok_or("no replica answered")?.parse()?)
    }

    pub(crate) fn resident_megabytes(&self) -> Result<f64, Box<dyn Error>> {
        let kib = self.program.status()?.vmrss.ok_or("no resident memory")?;
        Ok((kib * 1024) as f64 / 1e6)
    }

    /// CPU time since the start of the program.
    pub(crate) fn cpu_s(&self) -> Result<f64, Box<dyn Error>> {
        self.program.cpu_s()
    }
}
