//! Keeps one replica running until it is aborted.
//!
//! What it does between two awaits is whole: a process that was started is in
//! its handle. The files that it writes then are tiny.

use super::{
    ProcessContext,
    cgroup::Cgroup,
    child::RunningProcess,
    folder::{PORT, room},
    launch::LaunchSpec,
    log_file, memory,
    replica_handle::{self, ReplicaHandle},
    search::{self, listens},
};
use crate::{domain::prometheus::ReplicaState, provisioner::Failure};
use bytesize::ByteSize;
use std::{path::Path, rc::Rc, time::Duration};
use tokio::time::Instant;

/// How often is looked at a process that starts.
const LOOK_AT_START: Duration = Duration::from_millis(50);

/// With less room than this nothing can be stored, in bytes.
const LEAST_ROOM: u64 = 1 << 20;

/// One replica, and all that is needed to start it.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) handle: Rc<ReplicaHandle>,
    pub(super) launch: Rc<LaunchSpec>,
    pub(super) context: Rc<ProcessContext>,
}

/// A process, or the try to start one, has ended.
struct ProcessEnd {
    /// Reads as a sentence.
    why: String,
    /// How long it was ready, if it was.
    ready: Option<Duration>,
}

impl ProcessEnd {
    fn at_start(why: String) -> Self {
        Self { why, ready: None }
    }
}

impl Supervisor {
    pub(super) async fn supervise(self) {
        let timeouts = &self.context.timeouts;
        let (mut failures, mut was_ready) = (0, false);
        loop {
            let ended = self.run().await;
            if ended.ready.is_some_and(|ready| ready >= timeouts.settled) {
                failures = 0;
            }
            was_ready |= ended.ready.is_some();
            failures += 1;
            let limit = if was_ready { timeouts.restarts } else { timeouts.starts };
            let folder = self.handle.folder.path().display();
            if failures >= limit {
                tracing::error!(%folder, problem = ended.why, "a Prometheus is given up");
                self.handle.set(ReplicaState::Failed, ended.why);
                return;
            }
            tracing::warn!(%folder, problem = ended.why, "a Prometheus is started again");
            self.handle.set(ReplicaState::Starting, ended.why);
            let doubled = 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
            let pause = timeouts.first_pause.saturating_mul(doubled);
            tokio::time::sleep(pause.min(timeouts.longest_pause)).await;
            self.end_strangers().await;
            self.context.metrics.count_restart();
        }
    }

    /// From the start of a process, unless it runs already, to its end.
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
        // A server that takes all memory may answer nothing, so its memory is watched beside that.
        let memory = self.until_too_large();
        tokio::pin!(memory);
        let ready = tokio::select! {
            ready = self.until_ready(&url, port, log_start) => ready,
            why = &mut memory => Err(ProcessEnd::at_start(self.killed_by_us(why).await)),
        };
        if let Err(ended) = ready {
            return ended;
        }
        let since = Instant::now();
        self.handle.set(ReplicaState::Ready, "");
        let why = tokio::select! {
            why = self.while_ready(&url) => why,
            why = &mut memory => self.killed_by_us(why).await,
        };
        ProcessEnd { why, ready: Some(since.elapsed()) }
    }

    /// Ends whoever has come to our folder unseen, and would stand in the way again.
    async fn end_strangers(&self) {
        let folders: Vec<_> =
            self.handle.folder.path().parent().map(Into::into).into_iter().collect();
        let find = tokio::task::spawn_blocking(move || search::in_folders(&folders));
        for found in find.await.unwrap_or_default() {
            let is_stranger = self.handle.identity() != Some(found.identity);
            if found.folder == self.handle.folder && is_stranger {
                let ended = replica_handle::end(found.identity, self.context.timeouts.end).await;
                let pid = found.identity.pid;
                tracing::warn!(pid, is_ended = ended.is_ok(), "another process was in the folder");
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
        handle.end(context.timeouts.end).await?;
        let cannot = |what: &str, error: std::io::Error| {
            tracing::error!(%error, folder = %handle.folder.path().display(), "cannot {what}");
            Failure::transient(format!("the broker cannot {what}: {}", error.kind()))
        };
        let no_port = || Failure::transient("no port is free (prometheus.ports)");
        let port = context.ports.choose(&handle.folder).ok_or_else(no_port)?;
        if log_file::is_full(&handle.folder, context.timeouts.log_size) {
            log_file::put_aside(&handle.folder).map_err(|error| cannot("write its log", error))?;
        }
        let noted = handle.folder.write(PORT, &format!("{port}\n"));
        noted.map_err(|error| cannot("write its files", error))?;
        let cgroup = self.new_cgroup();
        let child = self.launch.spawn(port).map_err(|error| cannot("start Prometheus", error))?;
        let cgroup =
            cgroup.filter(|cgroup| cgroup.add(child.id()).inspect_err(warn_of_cgroup).is_ok());
        handle.running.replace(Some(RunningProcess::own(child, cgroup)));
        if let Err(error) = handle.note(&self.launch.digest) {
            handle.end(context.timeouts.end).await?;
            return Err(cannot("write its files", error));
        }
        Ok(port)
    }

    /// None where cgroups cannot be used; then its memory is only watched.
    fn new_cgroup(&self) -> Option<Cgroup> {
        let (limit, cgroups) = (self.launch.cgroup_limit?, self.context.cgroups()?);
        let name = self.handle.folder.unique_name();
        let cgroup = name.and_then(|name| cgroups.create(&name, limit));
        cgroup.inspect_err(warn_of_cgroup).ok()
    }

    /// Reading what it has stored may take minutes, so only its end ends this.
    async fn until_ready(&self, url: &str, port: u16, log_start: u64) -> Result<(), ProcessEnd> {
        loop {
            if let Some(why) = self.has_ended(log_start) {
                // If somebody was quicker to take the port, the next try has another.
                return Err(ProcessEnd::at_start(why));
            }
            let Some(identity) = self.handle.identity() else { continue };
            let listens = tokio::task::spawn_blocking(move || listens(identity, port)).await;
            if listens.unwrap_or(false)
                && self.context.health_probe.is_ready(url, &self.launch.password).await
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AT_START).await;
        }
    }

    /// Why it is ready no more.
    async fn while_ready(&self, url: &str) -> String {
        let timeouts = &self.context.timeouts;
        let (mut answered, mut asked) = (Instant::now(), Instant::now());
        loop {
            tokio::time::sleep(timeouts.look).await;
            if let Some(why) = self.has_ended(0) {
                return why;
            }
            self.keep_log_small().await;
            if asked.elapsed() < timeouts.ask {
                continue;
            }
            asked = Instant::now();
            if self.context.health_probe.is_ready(url, &self.launch.password).await {
                answered = Instant::now();
                self.handle.set(ReplicaState::Ready, "");
                continue;
            }
            let why = "Prometheus does not answer";
            if answered.elapsed() >= timeouts.silence {
                return self.ended_by_us(why.to_owned()).await;
            }
            self.handle.set(ReplicaState::Starting, why);
        }
    }

    fn has_ended(&self, log_start: u64) -> Option<String> {
        let mut running = self.handle.running.borrow_mut();
        if !running.as_mut().is_none_or(RunningProcess::has_ended) {
            return None;
        }
        let how = running.as_ref().map(RunningProcess::how_it_ended).unwrap_or_default();
        let is_too_large = running.as_ref().is_some_and(RunningProcess::was_killed_for_memory);
        *running = None;
        if is_too_large {
            return Some(self.took_too_much());
        }
        let said = log_file::last_words(&self.handle.folder, log_start, &self.launch.redaction);
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        let place = match is_full(self.handle.folder.path()) {
            true => "; no space is left where its samples are stored",
            false => "",
        };
        Some(format!("Prometheus ended{how}{said}{place}"))
    }

    /// Resolves, with the reason, when it was sent SIGKILL for taking more memory than it may.
    async fn until_too_large(&self) -> String {
        let (limit, longest) = (self.launch.memory_limit, self.context.timeouts.look);
        loop {
            let memory = self.handle.running.borrow().as_ref().and_then(RunningProcess::memory);
            let memory = memory.unwrap_or(0);
            if memory > limit {
                // One that were asked to end would first write, and grow meanwhile.
                self.handle.send_kill();
                return self.took_too_much();
            }
            let pause = memory::pause(memory, limit, longest);
            tokio::time::sleep(memory::aligned(self.context.started.elapsed(), pause)).await;
        }
    }

    fn took_too_much(&self) -> String {
        let limit = ByteSize(self.launch.memory_limit).display().iec();
        format!("Prometheus was stopped: it took more memory than its plan allows ({limit})")
    }

    async fn killed_by_us(&self, why: String) -> String {
        if let Err(failure) = self.handle.kill(self.context.timeouts.end).await {
            tracing::error!(%failure, folder = %self.handle.folder.path().display(), "cannot stop it");
        }
        why
    }

    async fn ended_by_us(&self, why: String) -> String {
        if let Err(failure) = self.handle.end(self.context.timeouts.end).await {
            tracing::error!(%failure, folder = %self.handle.folder.path().display(), "cannot stop it");
        }
        why
    }

    async fn keep_log_small(&self) {
        let size = self.context.timeouts.log_size;
        if !log_file::is_full(&self.handle.folder, size) {
            return;
        }
        let folder = self.handle.folder.clone();
        let path = folder.path().display().to_string();
        let rotated = tokio::task::spawn_blocking(move || log_file::rotate(&folder, size)).await;
        if let Ok(Err(error)) = rotated {
            tracing::warn!(%error, folder = path, "a log cannot be kept whole");
        }
    }
}

fn warn_of_cgroup(error: &std::io::Error) {
    tracing::warn!(%error, "a Prometheus gets no cgroup; its memory is watched instead");
}

/// A Prometheus that cannot write says many things, but not always this.
fn is_full(path: &Path) -> bool {
    room(path).is_ok_and(|room| room < LEAST_ROOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_without_room_is_full() {
        // A file system of no size.
        assert!(is_full(Path::new("/proc")));
        assert!(!is_full(&std::env::temp_dir()));
    }
}
