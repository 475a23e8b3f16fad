//! One replica: who runs there, and how it does. Outlives the tasks that work on
//! it, so that whoever is dropped half-way loses nobody.

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

/// How often is looked whether a process has ended at last.
const LOOK: Duration = Duration::from_millis(10);

/// A place for one process.
#[derive(Debug)]
pub(super) struct ReplicaHandle {
    pub(super) folder: ReplicaFolder,
    pub(super) running: RefCell<Option<RunningProcess>>,
    /// What the process has loaded ([`PidFile::loaded`]); empty if that is not known.
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

    /// Takes a process that was found.
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

    /// Notes what the process has loaded; the file as well.
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

    /// Somebody sees to it from now on. What was given up begins anew.
    pub(super) fn begin(&self) {
        let runs = self.running.borrow().is_some();
        if !runs || self.replica.borrow().state != ReplicaState::Ready {
            self.set(ReplicaState::Starting, "");
        }
    }

    pub(super) fn set_url(&self, url: &str) {
        self.replica.send_modify(|replica| url.clone_into(&mut replica.url));
    }

    /// Resolves when it is ready, or was given up.
    pub(super) async fn settled(&self) -> Result<Replica, Failure> {
        let mut changes = self.replica.subscribe();
        let settled = changes.wait_for(|it| it.state != ReplicaState::Starting).await;
        let replica = settled.map_err(|error| Failure::transient(error.to_string()))?.clone();
        match replica.state {
            ReplicaState::Failed => Err(Failure::permanent(replica.problem)),
            _ => Ok(replica),
        }
    }

    /// Ends the process.
    pub(super) async fn end(&self, limit: Duration) -> Result<(), Failure> {
        self.end_by(&[Signal::TERM, Signal::KILL], limit).await
    }

    /// Ends the process without health_probe it. Its log of writes survives that.
    pub(super) async fn kill(&self, limit: Duration) -> Result<(), Failure> {
        self.end_by(&[Signal::KILL], limit).await
    }

    async fn end_by(&self, signals: &[Signal], limit: Duration) -> Result<(), Failure> {
        end_place(&self.running, signals, limit).await?;
        self.loaded.borrow_mut().clear();
        // Without a process of that start time it says nothing.
        let _ = self.folder.remove(PID);
        Ok(())
    }

    /// Sends SIGKILL; whoever waits for the end does so afterwards.
    pub(super) fn send_kill(&self) {
        if let Some(running) = self.running.borrow_mut().as_mut()
            && let Err(error) = running.signal(Signal::KILL)
        {
            tracing::error!(%error, "cannot send a signal to a Prometheus");
        }
    }

    /// Lets it begin to end.
    pub(super) fn ask_to_end(&self) {
        if let Some(running) = self.running.borrow_mut().as_mut() {
            // Whether it was heard is seen later.
            let _ = running.signal(Signal::TERM);
        }
    }
}

/// Ends a process that has no handle.
pub(super) async fn end(identity: ProcessIdentity, limit: Duration) -> Result<(), Failure> {
    let place = RefCell::new(Some(RunningProcess::adopted(identity, None)));
    end_place(&place, &[Signal::TERM, Signal::KILL], limit).await
}

/// The process stays in its place until it is gone, since this may be dropped.
async fn end_place(
    place: &RefCell<Option<RunningProcess>>,
    signals: &[Signal],
    limit: Duration,
) -> Result<(), Failure> {
    for signal in signals {
        let sent = place.borrow_mut().as_mut().map(|running| running.signal(*signal));
        if let Some(Err(error)) = sent {
            tracing::error!(%error, "cannot send a signal to a Prometheus");
        }
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let has_ended = place.borrow_mut().as_mut().is_none_or(RunningProcess::has_ended);
            if has_ended {
                place.replace(None);
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Err(Failure::transient("a Prometheus process cannot be ended"))
}
