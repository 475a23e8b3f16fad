//! Tests with a real Prometheus, which `scripts/install-test-tools` installs.

mod changes;
mod failures;
mod folders;
mod kills;
mod life;

use super::*;
use crate::{
    domain::{
        InstanceNames,
        prometheus::{Period, ProvisionPolicy, ReplicaState, Spec, Storage},
    },
    provisioner::OwnAddress,
};
use folder::ReplicaFolder;
use rustix::process::{Pid, Signal, kill_process};
use search::FoundProcess;
use secrecy::ExposeSecret;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicU16, Ordering},
};
use tempfile::TempDir;
use tokio::task::LocalSet;

/// First port of the next test, below the ephemeral ports of the system.
static NEXT_PORT: AtomicU16 = AtomicU16::new(21_000);

/// No processes.
const NONE: [i32; 0] = [];

/// Folders of a test. Processes in them are killed on drop.
struct Fixture {
    folder: TempDir,
    paths: ProcessPaths,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let first = NEXT_PORT.fetch_add(10, Ordering::SeqCst);
        let paths = ProcessPaths {
            binary: "prometheus".into(),
            search: vec!["/usr/local/bin".into(), "/usr/bin".into()],
            data_dir: folder.path().join("disk"),
            tmpfs_dir: folder.path().join("memory"),
            ports: first..=first + 9,
        };
        Self { folder, paths }
    }

    /// Uses a shell script in place of Prometheus.
    fn with_script(script: &str) -> Self {
        let mut fixture = Self::new();
        fixture.paths.binary = fixture.folder.path().join("prometheus.sh");
        fixture.write_script(script);
        fixture
    }

    fn write_script(&self, script: &str) {
        // A file that is open for writing cannot be executed.
        let draft = self.folder.path().join("draft.sh");
        fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(draft, self.folder.path().join("prometheus.sh")).unwrap();
    }

    /// A new provisioner, as after a restart of Scrapebroker.
    fn open(&self) -> ProcessProvisioner {
        self.open_with(timeouts())
    }

    fn open_with(&self, timeouts: Timeouts) -> ProcessProvisioner {
        ProcessProvisioner::new(self.paths.clone(), timeouts, ProcessMetrics::default())
    }

    fn running(&self) -> Vec<FoundProcess> {
        search::below(&[self.paths.data_dir.clone(), self.paths.tmpfs_dir.clone()])
    }

    fn pids(&self) -> Vec<i32> {
        let mut pids: Vec<_> = self.running().iter().map(|found| found.identity.pid).collect();
        pids.sort_unstable();
        pids
    }

    fn only_pid(&self) -> i32 {
        let pids = self.pids();
        assert_eq!(pids.len(), 1, "{pids:?}");
        pids[0]
    }

    fn replica(&self, desired: &DesiredInstance, number: u8) -> ReplicaFolder {
        let root = match desired.spec.storage {
            Storage::Disk => &self.paths.data_dir,
            Storage::Tmpfs => &self.paths.tmpfs_dir,
        };
        ReplicaFolder::new(root, &desired.slug(), number)
    }

    fn assert_nothing_left(&self) {
        assert_eq!(self.pids(), NONE);
        for root in [&self.paths.data_dir, &self.paths.tmpfs_dir] {
            let left: Vec<_> = fs::read_dir(root).into_iter().flatten().collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        for pid in self.pids() {
            signal(pid, Signal::KILL);
        }
    }
}

fn signal(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// Short timeouts, so that a test can wait for them.
fn timeouts() -> Timeouts {
    Timeouts {
        initial_backoff: Duration::from_millis(20),
        check_interval: Duration::from_millis(50),
        probe_interval: Duration::from_millis(200),
        unresponsive_limit: Duration::from_secs(2),
        end_timeout: Duration::from_secs(4),
        ..Timeouts::default()
    }
}

/// This rule stores a sample every second without any target.
const RULES: &str = "groups: [{name: g, rules: [{record: probe, expr: vector(1)}]}]";

fn desired(id: &str) -> DesiredInstance {
    DesiredInstance {
        instance_id: id.parse().unwrap(),
        organization_guid: "o".parse().unwrap(),
        space_guid: "s".parse().unwrap(),
        names: InstanceNames::default(),
        spec: Spec {
            retention: Period::seconds(7200),
            retention_size: Some(64 << 20),
            storage: Storage::Disk,
            replicas: 1,
            memory_limit: 512 << 20,
            scrape_interval: Period::seconds(1),
            sample_limit: 0,
            remote_write: None,
            rules: Some(RULES.to_owned()),
            alertmanager_url: None,
        },
        remote_write: None,
        scraper_token: "sbt_scraper".into(),
        web_password: "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE".into(),
        own: OwnAddress {
            base_url: "https://broker.example.com/x".parse().unwrap(),
            scrape_url: "http://127.0.0.1:9".parse().unwrap(),
        },
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// Polls until `poll` returns a value; panics after 20 s.
async fn eventually<T>(mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(seen) = poll().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("condition not met within 20 s");
}

async fn get(url: &str, password: &str) -> (u16, String) {
    let request = awc::Client::builder().disable_redirects().finish().get(url).force_close();
    let mut response =
        request.basic_auth(DesiredInstance::WEB_USER, password).send().await.unwrap();
    let body = response.body().limit(16 << 20).await.unwrap();
    (response.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
}

/// Number of stored samples of the rule.
async fn samples(replica: &Replica, desired: &DesiredInstance) -> u64 {
    let url = format!("{}/api/v1/query?query=count_over_time(probe%5B1h%5D)", replica.url);
    // A loaded server may reject a query, which says nothing about its samples.
    let body = eventually(async || {
        let (status, body) = get(&url, desired.web_password.expose_secret()).await;
        (status == 200).then_some(body)
    });
    let body: serde_json::Value = serde_json::from_str(&body.await).unwrap();
    let count = body.pointer("/data/result/0/value/1").and_then(|it| it.as_str());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Waits for at min `min` samples.
async fn wait_for_samples(replica: &Replica, desired: &DesiredInstance, min: u64) {
    eventually(async || (samples(replica, desired).await >= min).then_some(())).await;
}

fn state(processes: &ProcessProvisioner, desired: &DesiredInstance) -> Vec<(ReplicaState, String)> {
    let mut all = processes.observe();
    let replicas = all.remove(&desired.instance_id).unwrap_or_default();
    replicas.into_iter().map(|it| (it.state, it.problem)).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
