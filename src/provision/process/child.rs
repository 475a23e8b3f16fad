//! A process, started by us or by those before us.
//!
//! Whatever was started elsewhere is told from a later process with the same
//! number by its start time. One of our own keeps its number until we have asked
//! how it ended, so it cannot be mistaken, and is no zombie for long.

use procfs::process::Process;
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use serde::{Deserialize, Serialize};
use std::process::{Child, ExitStatus};

/// Which process: its number, and when it started, in ticks since the machine did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: i32,
    pub(super) start_time: u64,
}

/// The file `pid`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PidFile {
    #[serde(flatten)]
    pub(super) identity: Identity,
    /// What it has loaded, as [`Files::digest`](super::files::Files::digest) has it.
    pub(super) loaded: String,
}

/// One that may have ended.
#[derive(Debug)]
pub(super) struct Running {
    identity: Identity,
    /// None if it was adopted.
    child: Option<Child>,
    status: Option<ExitStatus>,
}

impl Identity {
    /// None if there is none, or nothing but a zombie.
    pub(super) fn of(process: &Process) -> Option<Self> {
        let stat = process.stat().ok()?;
        let is_over = matches!(stat.state, 'Z' | 'X' | 'x');
        (!is_over).then_some(Self { pid: stat.pid, start_time: stat.starttime })
    }

    fn is_there(self) -> bool {
        Process::new(self.pid).ok().as_ref().and_then(Self::of) == Some(self)
    }
}

impl Running {
    pub(super) fn adopted(identity: Identity) -> Self {
        Self { identity, child: None, status: None }
    }

    /// One that was just started.
    pub(super) fn own(child: Child) -> Self {
        let pid = i32::try_from(child.id()).unwrap_or_default();
        let process = Process::new(pid).ok();
        let start_time = process.and_then(|process| process.stat().ok()).map(|it| it.starttime);
        let identity = Identity { pid, start_time: start_time.unwrap_or_default() };
        Self { identity, child: Some(child), status: None }
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether it has ended. Reaps it.
    pub(super) fn has_ended(&mut self) -> bool {
        match &mut self.child {
            None => !self.identity.is_there(),
            Some(child) => match child.try_wait() {
                Ok(None) => false,
                Ok(status) => {
                    self.status = status;
                    true
                }
                Err(_) => true,
            },
        }
    }

    /// Reads after "Prometheus ended".
    pub(super) fn how_it_ended(&self) -> String {
        self.status.map_or_else(String::new, |status| format!(" ({status})"))
    }

    /// Does nothing when it has ended.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<(), Errno> {
        if self.has_ended() {
            return Ok(());
        }
        let Some(pid) = Pid::from_raw(self.identity.pid) else { return Ok(()) };
        match kill_process(pid, signal) {
            Err(Errno::SRCH) => Ok(()),
            sent => sent,
        }
    }

    /// Resident memory in bytes that is no part of a file: pages of stored samples
    /// are given back whenever somebody needs them, and count as its storage.
    pub(super) fn memory(&self) -> Option<u64> {
        let statm = Process::new(self.identity.pid).ok()?.statm().ok()?;
        Some(statm.resident.saturating_sub(statm.shared).saturating_mul(procfs::page_size()))
    }
}
