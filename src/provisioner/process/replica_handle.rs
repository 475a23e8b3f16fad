//! Handle of one replica: its process and health. It outlives the tasks that use it, so that no
//! process is lost when such a task is dropped.

use super::{
    cgroup::Cgroup,
    child::{PidFile, ProcessIdentity, RunningProcess},
    folder::{PID, ReplicaFolder},
};
use crate::{
    domain::prometheus::{Replica, ReplicaState},
    provisioner::Failure,
};
use rustix::process::Signal;
use std::{
    cell::RefCell,
    io,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Interval at which the end of a process is checked.
const END_POLL_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct ReplicaHandle {
    pub(super) folder: ReplicaFolder,
    pub(super) running: RefCell<Option<RunningProcess>>,
    /// Digest of the configuration that the process has loaded ([`PidFile::loaded`]); empty if
    /// unknown.
    loaded: RefCell<String>,
    replica: watch::Sender<Replica>,
}

impl ReplicaHandle {
    pub(super) fn new(folder: ReplicaFolder) -> Self {
        let number = folder.number().unwrap_or_default();
        let replica = Replica {
            number,
            url: String::new(),
            state: ReplicaState::Starting,
            problem: String::new(),
        };
        Self {
            folder,
            running: RefCell::default(),
            loaded: RefCell::default(),
            replica: watch::Sender::new(replica),
        }
    }

    /// Stores a process that an earlier Scrapebroker has started.
    pub(super) fn adopt(&self, identity: ProcessIdentity, cgroup: Option<Cgroup>) {
        let noted = self.folder.read(PID);
        let noted = noted.and_then(|text| serde_json::from_str::<PidFile>(&text).ok());
        let noted = noted.filter(|noted| noted.identity == identity);
        self.loaded.replace(noted.map(|noted| noted.loaded).unwrap_or_default());
        self.running.replace(Some(RunningProcess::adopted(identity, cgroup)));
    }

    pub(super) fn identity(&self) -> Option<ProcessIdentity> {
        self.running.borrow().as_ref().map(RunningProcess::identity)
    }

    pub(super) fn loaded(&self) -> String {
        self.loaded.borrow().clone()
    }

    /// Records the digest of the loaded configuration, in `pid` as well.
    pub(super) fn note(&self, loaded: &str) -> io::Result<()> {
        loaded.clone_into(&mut self.loaded.borrow_mut());
        let Some(identity) = self.identity() else { return Ok(()) };
        let noted = PidFile { identity, loaded: loaded.to_owned() };
        let text = serde_json::to_string(&noted).map_err(io::Error::other)?;
        self.folder.write(PID, &text).map(drop)
    }

    pub(super) fn replica(&self) -> Replica {
        self.replica.borrow().clone()
    }

    pub(super) fn set(&self, state: ReplicaState, problem: impl Into<String>) {
        let problem = problem.into();
        self.replica.send_if_modified(|replica| {
            let is_new = replica.state != state || replica.problem != problem;
            replica.state = state;
            replica.problem = problem;
            is_new
        });
    }

    /// Resets the state when a supervisor starts, also after the replica was given up.
    pub(super) fn reset(&self) {
        let runs = self.running.borrow().is_some();
        if !runs || self.replica.borrow().state != ReplicaState::Ready {
            self.set(ReplicaState::Starting, "");
        }
    }

    pub(super) fn set_url(&self, url: &str) {
        self.replica.send_modify(|replica| url.clone_into(&mut replica.url));
    }

    /// Waits until the replica is ready or has failed.
    pub(super) async fn ready_or_failed(&self) -> Result<Replica, Failure> {
        let mut changes = self.replica.subscribe();
        let settled = changes.wait_for(|it| it.state != ReplicaState::Starting).await;
        let replica = settled.map_err(|error| Failure::transient(error.to_string()))?.clone();
        match replica.state {
            ReplicaState::Failed => Err(Failure::permanent(replica.problem)),
            _ => Ok(replica),
        }
    }

    /// Ends the process with SIGTERM, and with SIGKILL after `limit`.
    pub(super) async fn end(&self, limit: Duration) -> Result<(), Failure> {
        self.end_by(&[Signal::TERM, Signal::KILL], limit).await
    }

    /// Ends the process with SIGKILL. Its write-ahead log survives that.
    pub(super) async fn kill(&self, limit: Duration) -> Result<(), Failure> {
        self.end_by(&[Signal::KILL], limit).await
    }

    async fn end_by(&self, signals: &[Signal], limit: Duration) -> Result<(), Failure> {
        end_process(&self.running, signals, limit).await?;
        self.loaded.borrow_mut().clear();
        // A stale `pid` is harmless, because no process has its start time.
        let _ = self.folder.remove(PID);
        Ok(())
    }

    /// Sends SIGKILL without waiting for the end of the process.
    pub(super) fn send_kill(&self) {
        if let Some(running) = self.running.borrow_mut().as_mut()
            && let Err(error) = running.signal(Signal::KILL)
        {
            tracing::error!(%error, "signal not sent to prometheus");
        }
    }

    /// Sends SIGTERM without waiting for the end of the process.
    pub(super) fn send_term(&self) {
        if let Some(running) = self.running.borrow_mut().as_mut() {
            // The caller waits for the end, so an error shows there.
            let _ = running.signal(Signal::TERM);
        }
    }
}

/// Ends a process that is in no handle.
pub(super) async fn end(identity: ProcessIdentity, limit: Duration) -> Result<(), Failure> {
    let slot = RefCell::new(Some(RunningProcess::adopted(identity, None)));
    end_process(&slot, &[Signal::TERM, Signal::KILL], limit).await
}

/// The process stays in `slot` until it has ended, because this future may be dropped.
async fn end_process(
    slot: &RefCell<Option<RunningProcess>>,
    signals: &[Signal],
    limit: Duration,
) -> Result<(), Failure> {
    for signal in signals {
        let sent = slot.borrow_mut().as_mut().map(|running| running.signal(*signal));
        if let Some(Err(error)) = sent {
            tracing::error!(%error, "signal not sent to prometheus");
        }
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let has_ended = slot.borrow_mut().as_mut().is_none_or(RunningProcess::has_ended);
            if has_ended {
                slot.replace(None);
                return Ok(());
            }
            tokio::time::sleep(END_POLL_INTERVAL).await;
        }
    }
    Err(Failure::transient("a Prometheus process cannot be ended"))
}
