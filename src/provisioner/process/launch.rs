//! The command line of a replica.

use super::{
    folder::{CONFIG, DATA, LOG, ReplicaFolder, WEB},
    search::CONFIG_FILE,
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

/// How Go is told to collect garbage in time.
const MEMORY_LIMIT: &str = "GOMEMLIMIT";
/// Of the plan's limit, in percent. The rest is for what Go does not count, and
/// for the moment in which it notices.
const SOFT_LIMIT: u64 = 90;
const ADDRESS: &str = "--web.listen-address=127.0.0.1:";

/// How a replica is started, and asked.
#[derive(Debug)]
pub(super) struct LaunchSpec {
    pub(super) program: PathBuf,
    folder: ReplicaFolder,
    arguments: Vec<String>,
    /// In bytes.
    pub(super) memory_limit: u64,
    /// The same for a cgroup. None where samples are in memory: the kernel would count them.
    pub(super) cgroup_limit: Option<u64>,
    /// The path below which it answers.
    path: String,
    pub(super) password: SecretString,
    /// Removes its secrets from what it writes into its log.
    pub(super) redaction: Redaction,
    /// What it loads at its start.
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
            format!("{CONFIG_FILE}{}", file(CONFIG)),
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
            // It compares the prefix with a decoded path, so encoded characters in
            // it have to be encoded once more.
            path: route_prefix.trim_end_matches('/').replace('%', "%25"),
            password: desired.web_password.clone(),
            redaction: Redaction::of(desired),
            digest,
        }
    }

    /// Where it answers, without a slash at its end.
    pub(super) fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}{}", self.path)
    }

    fn arguments(&self, port: u16) -> impl Iterator<Item = String> {
        self.arguments.iter().cloned().chain([format!("{ADDRESS}{port}")])
    }

    fn soft_limit(&self) -> String {
        (self.memory_limit / 100 * SOFT_LIMIT).to_string()
    }

    /// Starts it in a group of its own: what a terminal sends to us is not for it.
    /// It sees none of our environment, in which secrets may stand.
    pub(super) fn spawn(&self, port: u16) -> io::Result<Child> {
        let log =
            OpenOptions::new().append(true).create(true).mode(0o600).open(self.folder.file(LOG))?;
        Command::new(&self.program)
            .args(self.arguments(port))
            .current_dir(self.folder.path())
            .env_clear()
            .env(MEMORY_LIMIT, self.soft_limit())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
    }

    /// The port of a process that was started in just this way.
    pub(super) fn port_of(&self, pid: i32) -> Option<u16> {
        let process = Process::new(pid).ok()?;
        let is = process.cmdline().ok()?;
        let port = is.iter().find_map(|it| it.strip_prefix(ADDRESS))?.parse().ok()?;
        let should: Vec<_> = self.arguments(port).collect();
        let environment = process.environ().ok()?;
        let limit = environment.get(OsStr::new(MEMORY_LIMIT))?;
        // Before them stands the program, or who interprets it.
        let is_same = is.ends_with(&should) && *limit == *self.soft_limit();
        is_same.then_some(port)
    }
}
