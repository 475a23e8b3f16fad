//! Keeps one replica running until its task is aborted.
//!
//! The state is consistent at every await: a process is stored in its handle before the next await.
//! The files written in between are small.

use super::{
    ProcessContext,
    cgroup::Cgroup,
    child::RunningProcess,
    folder::{PORT, free_space},
    launch::LaunchSpec,
    log_file, memory,
    replica_handle::{self, ReplicaHandle},
    search::{self, listens},
};
use crate::{domain::prometheus::ReplicaState, provisioner::Failure};
use bytesize::ByteSize;
use std::{path::Path, rc::Rc, time::Duration};
use tokio::time::Instant;

/// Interval of readiness probes of a process that starts.
const STARTUP_PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// A disk with less free space than this is reported as full, in bytes.
const MIN_FREE_SPACE: u64 = 1 << 20;

/// Supervises one replica.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) handle: Rc<ReplicaHandle>,
    pub(super) launch: Rc<LaunchSpec>,
    pub(super) context: Rc<ProcessContext>,
}

/// The end of a process, or of a failed start.
struct ProcessEnd {
    /// A sentence for the user.
    reason: String,
    /// How long the process was ready; `None` if it never was.
    ready: Option<Duration>,
}

impl ProcessEnd {
    fn at_start(reason: String) -> Self {
        Self { reason, ready: None }
    }
}

impl Supervisor {
    pub(super) async fn supervise(self) {
        let timeouts = &self.context.timeouts;
        let (mut failures, mut was_ready) = (0, false);
        loop {
            let ended = self.run().await;
            if ended.ready.is_some_and(|ready| ready >= timeouts.failure_reset) {
                failures = 0;
            }
            was_ready |= ended.ready.is_some();
            failures += 1;
            let limit =
                if was_ready { timeouts.max_restart_failures } else { timeouts.max_start_failures };
            let folder = self.handle.folder.path().display();
            if failures >= limit {
                tracing::error!(%folder, reason = ended.reason, "prometheus given up");
                self.handle.set(ReplicaState::Failed, ended.reason);
                return;
            }
            tracing::warn!(%folder, reason = ended.reason, "prometheus ended; restarting");
            self.handle.set(ReplicaState::Starting, ended.reason);
            let doubled = 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
            let pause = timeouts.initial_backoff.saturating_mul(doubled);
            tokio::time::sleep(pause.min(timeouts.max_backoff)).await;
            self.end_unknown_processes().await;
            self.context.metrics.count_restart();
        }
    }

    /// Runs the process until it ends. Adopts it if it is already running.
    async fn run(&self) -> ProcessEnd {
        let log_start = log_file::length(&self.handle.folder);
        let port = match self.running_port() {
            Some(port) => port,
            None => match self.start().await {
                Ok(port) => port,
                Err(failure) => return ProcessEnd::at_start(failure.reason),
            },
        };
        if let Some(running) = self.handle.running.borrow().as_ref() {
            running.prefer_for_oom();
        }
        let url = self.launch.url(port);
        self.handle.set_url(&url);
        // Polled concurrently, because a server at its memory limit may not answer probes.
        let memory = self.until_too_large();
        tokio::pin!(memory);
        let ready = tokio::select! {
            ready = self.until_ready(&url, port, log_start) => ready,
            reason = &mut memory => Err(ProcessEnd::at_start(self.kill_with_reason(reason).await)),
        };
        if let Err(ended) = ready {
            return ended;
        }
        let since = Instant::now();
        self.handle.set(ReplicaState::Ready, "");
        let reason = tokio::select! {
            reason = self.while_ready(&url) => reason,
            reason = &mut memory => self.kill_with_reason(reason).await,
        };
        ProcessEnd { reason, ready: Some(since.elapsed()) }
    }

    /// Ends processes in the folder of the replica that are not in the handle. They hold the lock
    /// of `data`, so the next start would fail.
    async fn end_unknown_processes(&self) {
        let folders: Vec<_> =
            self.handle.folder.path().parent().map(Into::into).into_iter().collect();
        let find = tokio::task::spawn_blocking(move || search::in_folders(&folders));
        for found in find.await.unwrap_or_default() {
            let is_unknown = self.handle.identity() != Some(found.identity);
            if found.folder == self.handle.folder && is_unknown {
                let ended =
                    replica_handle::end(found.identity, self.context.timeouts.end_timeout).await;
                let pid = found.identity.pid;
                tracing::warn!(
                    pid,
                    is_ended = ended.is_ok(),
                    "unknown process in the folder of a replica ended"
                );
            }
        }
    }

    fn running_port(&self) -> Option<u16> {
        let has_ended =
            self.handle.running.borrow_mut().as_mut().is_none_or(RunningProcess::has_ended);
        match has_ended {
            true => None,
            false => self.launch.port_of(self.handle.identity()?.pid),
        }
    }

    async fn start(&self) -> Result<u16, Failure> {
        let (handle, context) = (&self.handle, &self.context);
        handle.end(context.timeouts.end_timeout).await?;
        let cannot = |what: &str, error: std::io::Error| {
            tracing::error!(%error, folder = %handle.folder.path().display(), what, "prometheus not started");
            Failure::transient(format!("the broker cannot {what}: {}", error.kind()))
        };
        let no_port = || Failure::transient("no port is free (prometheus.ports)");
        let port = context.ports.choose(&handle.folder).ok_or_else(no_port)?;
        if log_file::is_full(&handle.folder, context.timeouts.max_log_size) {
            log_file::rename(&handle.folder).map_err(|error| cannot("write its log", error))?;
        }
        let noted = handle.folder.write(PORT, &format!("{port}\n"));
        noted.map_err(|error| cannot("write its files", error))?;
        let cgroup = self.new_cgroup();
        let child = self.launch.spawn(port).map_err(|error| cannot("start Prometheus", error))?;
        let cgroup =
            cgroup.filter(|cgroup| cgroup.add(child.id()).inspect_err(log_cgroup_error).is_ok());
        handle.running.replace(Some(RunningProcess::own(child, cgroup)));
        if let Err(error) = handle.note(&self.launch.digest) {
            handle.end(context.timeouts.end_timeout).await?;
            return Err(cannot("write its files", error));
        }
        Ok(port)
    }

    /// `None` if cgroups cannot be used. Then only the supervisor limits the memory.
    fn new_cgroup(&self) -> Option<Cgroup> {
        let (limit, cgroups) = (self.launch.cgroup_limit?, self.context.cgroups()?);
        let name = self.handle.folder.unique_name();
        let cgroup = name.and_then(|name| cgroups.create(&name, limit));
        cgroup.inspect_err(log_cgroup_error).ok()
    }

    /// There is no timeout, because replaying the write-ahead log may take minutes.
    async fn until_ready(&self, url: &str, port: u16, log_start: u64) -> Result<(), ProcessEnd> {
        loop {
            if let Some(reason) = self.has_ended(log_start) {
                // If another process has taken the port, the next start chooses another one.
                return Err(ProcessEnd::at_start(reason));
            }
            let Some(identity) = self.handle.identity() else { continue };
            let listens = tokio::task::spawn_blocking(move || listens(identity, port)).await;
            if listens.unwrap_or(false)
                && self.context.health_probe.is_ready(url, &self.launch.password).await
            {
                return Ok(());
            }
            tokio::time::sleep(STARTUP_PROBE_INTERVAL).await;
        }
    }

    /// Runs checks and probes until the process is not ready any more. Returns the reason.
    async fn while_ready(&self, url: &str) -> String {
        let timeouts = &self.context.timeouts;
        let (mut last_success, mut last_probe) = (Instant::now(), Instant::now());
        loop {
            tokio::time::sleep(timeouts.check_interval).await;
            if let Some(reason) = self.has_ended(0) {
                return reason;
            }
            self.rotate_log().await;
            if last_probe.elapsed() < timeouts.probe_interval {
                continue;
            }
            last_probe = Instant::now();
            if self.context.health_probe.is_ready(url, &self.launch.password).await {
                last_success = Instant::now();
                self.handle.set(ReplicaState::Ready, "");
                continue;
            }
            let reason = "Prometheus does not answer";
            if last_success.elapsed() >= timeouts.unresponsive_limit {
                return self.end_with_reason(reason.to_owned()).await;
            }
            self.handle.set(ReplicaState::Starting, reason);
        }
    }

    fn has_ended(&self, log_start: u64) -> Option<String> {
        let mut running = self.handle.running.borrow_mut();
        if !running.as_mut().is_none_or(RunningProcess::has_ended) {
            return None;
        }
        let how = running.as_ref().map(RunningProcess::exit_status).unwrap_or_default();
        let is_too_large = running.as_ref().is_some_and(RunningProcess::was_killed_for_memory);
        *running = None;
        if is_too_large {
            return Some(self.memory_limit_exceeded());
        }
        let message = log_file::last_error(&self.handle.folder, log_start, &self.launch.redaction);
        let message = message.map(|message| format!(": {message}")).unwrap_or_default();
        let hint = match is_full(self.handle.folder.path()) {
            true => "; no space is left where its samples are stored",
            false => "",
        };
        Some(format!("Prometheus ended{how}{message}{hint}"))
    }

    /// Polls the memory of the process. Sends SIGKILL when it exceeds the limit, and returns the
    /// reason.
    async fn until_too_large(&self) -> String {
        let (limit, longest) = (self.launch.memory_limit, self.context.timeouts.check_interval);
        loop {
            let memory = self.handle.running.borrow().as_ref().and_then(RunningProcess::memory);
            let memory = memory.unwrap_or(0);
            if memory > limit {
                // Not SIGTERM: Prometheus writes its head block on SIGTERM, and its memory grows
                // meanwhile.
                self.handle.send_kill();
                return self.memory_limit_exceeded();
            }
            let pause = memory::pause(memory, limit, longest);
            tokio::time::sleep(memory::aligned(self.context.started.elapsed(), pause)).await;
        }
    }

    fn memory_limit_exceeded(&self) -> String {
        let limit = ByteSize(self.launch.memory_limit).display().iec();
        format!("Prometheus was stopped: it took more memory than its plan allows ({limit})")
    }

    async fn kill_with_reason(&self, reason: String) -> String {
        if let Err(failure) = self.handle.kill(self.context.timeouts.end_timeout).await {
            tracing::error!(%failure, folder = %self.handle.folder.path().display(), "prometheus not stopped");
        }
        reason
    }

    async fn end_with_reason(&self, reason: String) -> String {
        if let Err(failure) = self.handle.end(self.context.timeouts.end_timeout).await {
            tracing::error!(%failure, folder = %self.handle.folder.path().display(), "prometheus not stopped");
        }
        reason
    }

    async fn rotate_log(&self) {
        let size = self.context.timeouts.max_log_size;
        if !log_file::is_full(&self.handle.folder, size) {
            return;
        }
        let folder = self.handle.folder.clone();
        let path = folder.path().display().to_string();
        let rotated = tokio::task::spawn_blocking(move || log_file::rotate(&folder, size)).await;
        if let Ok(Err(error)) = rotated {
            tracing::warn!(%error, folder = path, "log not rotated completely");
        }
    }
}

fn log_cgroup_error(error: &std::io::Error) {
    tracing::warn!(%error, "no cgroup for a Prometheus server; its memory is polled");
}

/// The error that Prometheus logs does not always say that the disk is full.
fn is_full(path: &Path) -> bool {
    free_space(path).is_ok_and(|room| room < MIN_FREE_SPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_free_space_is_full() {
        // procfs has no size.
        assert!(is_full(Path::new("/proc")));
        assert!(!is_full(&std::env::temp_dir()));
    }
}
