//! The command line of a replica.

use super::{
    folder::{CONFIG, DATA, LOG, ReplicaFolder, WEB},
    search::CONFIG_FILE_FLAG,
};
use crate::{
    domain::prometheus::Storage,
    provisioner::{DesiredInstance, config_file, redaction::Redaction},
};
use procfs::process::Process;
use secrecy::SecretString;
use std::{
    ffi::OsStr,
    fs::OpenOptions,
    io,
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// Soft memory limit of the Go runtime.
const GO_MEMORY_LIMIT: &str = "GOMEMLIMIT";
/// Percentage of the plan's limit. The rest is for memory that Go does not count, and for
/// allocations during a garbage collection.
const SOFT_LIMIT_PERCENT: u64 = 90;
const ADDRESS: &str = "--web.listen-address=127.0.0.1:";

/// How a replica is started and queried.
#[derive(Debug)]
pub(super) struct LaunchSpec {
    pub(super) program: PathBuf,
    folder: ReplicaFolder,
    arguments: Vec<String>,
    /// Memory limit of the plan, in bytes.
    pub(super) memory_limit: u64,
    /// Memory limit of the cgroup. `None` with storage `tmpfs`, because the kernel counts samples
    /// in tmpfs as memory.
    pub(super) cgroup_limit: Option<u64>,
    /// Path prefix of requests.
    path: String,
    pub(super) password: SecretString,
    /// Masks secrets in log lines.
    pub(super) redaction: Redaction,
    /// Digest of the configuration that it loads at its start.
    pub(super) digest: String,
}

impl LaunchSpec {
    pub(super) fn new(
        program: PathBuf,
        folder: &ReplicaFolder,
        desired: &DesiredInstance,
        digest: String,
    ) -> Self {
        let route_prefix = desired.route_prefix();
        let flags = config_file::flags(desired, &route_prefix);
        let file = |name: &str| folder.file(name).display().to_string();
        let mut arguments = vec![
            format!("{CONFIG_FILE_FLAG}{}", file(CONFIG)),
            format!("--storage.tsdb.path={}", file(DATA)),
            format!("--web.config.file={}", file(WEB)),
            "--log.format=logfmt".to_owned(),
        ];
        arguments.extend(flags.into_iter().map(|(name, value)| format!("--{name}={value}")));
        Self {
            program,
            folder: folder.clone(),
            arguments,
            memory_limit: desired.spec.memory_limit,
            cgroup_limit: (desired.spec.storage == Storage::Disk)
                .then_some(desired.spec.memory_limit),
            // Prometheus compares the prefix with the decoded path, so `%` has to be encoded once
            // more.
            path: route_prefix.trim_end_matches('/').replace('%', "%25"),
            password: desired.web_password.clone(),
            redaction: Redaction::of(desired),
            digest,
        }
    }

    /// URL of the replica, without a trailing slash.
    pub(super) fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}{}", self.path)
    }

    fn arguments(&self, port: u16) -> impl Iterator<Item = String> {
        self.arguments.iter().cloned().chain([format!("{ADDRESS}{port}")])
    }

    fn soft_limit(&self) -> String {
        (self.memory_limit / 100 * SOFT_LIMIT_PERCENT).to_string()
    }

    /// Starts the process in its own process group, so that signals of a terminal do not reach it.
    /// Its environment is empty, because that of Scrapebroker may contain secrets.
    pub(super) fn spawn(&self, port: u16) -> io::Result<Child> {
        let log =
            OpenOptions::new().append(true).create(true).mode(0o600).open(self.folder.file(LOG))?;
        Command::new(&self.program)
            .args(self.arguments(port))
            .current_dir(self.folder.path())
            .env_clear()
            .env(GO_MEMORY_LIMIT, self.soft_limit())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
    }

    /// The port of a process that was started with the same arguments and environment.
    pub(super) fn port_of(&self, pid: i32) -> Option<u16> {
        let process = Process::new(pid).ok()?;
        let is = process.cmdline().ok()?;
        let port = is.iter().find_map(|it| it.strip_prefix(ADDRESS))?.parse().ok()?;
        let should: Vec<_> = self.arguments(port).collect();
        let environment = process.environ().ok()?;
        let limit = environment.get(OsStr::new(GO_MEMORY_LIMIT))?;
        // The program, and its interpreter if it is a script, come before the arguments.
        let is_same = is.ends_with(&should) && *limit == *self.soft_limit();
        is_same.then_some(port)
    }
}
