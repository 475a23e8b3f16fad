//! A process, started by us or by those before us.
//!
//! Whatever was started elsewhere is told from a later process with the same
//! number by its start time, and signalled by a file descriptor that stands for
//! this process only. One of our own keeps its number until we have asked
//! how it ended, so it cannot be mistaken, and is no zombie for long.

use super::{cgroup::Cgroup, memory::ProcessMemory};
use procfs::process::Process;
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    os::fd::OwnedFd,
    process::{Child, ExitStatus},
};

/// By how much a child is preferred to us when the kernel has to end a process for want of
/// memory; the highest value is 1000.
const OOM_SCORE_ADJ: i32 = 500;

/// Which process: its number, and when it started, in ticks since the machine did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessIdentity {
    pub(super) pid: i32,
    pub(super) start_time: u64,
}

/// The file `pid`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PidFile {
    #[serde(flatten)]
    pub(super) identity: ProcessIdentity,
    /// What it has loaded, as [`ConfigFiles::digest`](super::files::ConfigFiles::digest) has it.
    pub(super) loaded: String,
}

/// One that may have ended.
#[derive(Debug)]
pub(super) struct RunningProcess {
    identity: ProcessIdentity,
    /// None if it was adopted.
    child: Option<Child>,
    /// Of one that was adopted; none where the kernel has no such descriptors.
    pidfd: Option<OwnedFd>,
    status: Option<ExitStatus>,
    memory: Option<ProcessMemory>,
    /// None where cgroups cannot be used.
    cgroup: Option<Cgroup>,
}

impl ProcessIdentity {
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

impl RunningProcess {
    pub(super) fn adopted(identity: ProcessIdentity, cgroup: Option<Cgroup>) -> Self {
        // Whose it is tells `has_ended`: it looks at the start time after this.
        let pid = Pid::from_raw(identity.pid);
        let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let memory = ProcessMemory::of(identity.pid);
        Self { identity, child: None, pidfd, status: None, memory, cgroup }
    }

    /// One that was just started.
    pub(super) fn own(child: Child, cgroup: Option<Cgroup>) -> Self {
        let pid = i32::try_from(child.id()).unwrap_or_default();
        let process = Process::new(pid).ok();
        let start_time = process.and_then(|process| process.stat().ok()).map(|it| it.starttime);
        let identity = ProcessIdentity { pid, start_time: start_time.unwrap_or_default() };
        let memory = ProcessMemory::of(pid);
        Self { identity, child: Some(child), pidfd: None, status: None, memory, cgroup }
    }

    pub(super) fn identity(&self) -> ProcessIdentity {
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

    /// Whether the kernel has killed it for taking more memory than its cgroup allows.
    pub(super) fn was_killed_for_memory(&self) -> bool {
        self.cgroup.as_ref().is_some_and(Cgroup::has_killed)
    }

    /// Does nothing when it has ended.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<(), Errno> {
        if self.has_ended() {
            return Ok(());
        }
        let sent = match (&self.pidfd, Pid::from_raw(self.identity.pid)) {
            (Some(pidfd), _) => pidfd_send_signal(pidfd, signal),
            (None, Some(pid)) => kill_process(pid, signal),
            (None, None) => Ok(()),
        };
        match sent {
            Err(Errno::SRCH) => Ok(()),
            sent => sent,
        }
    }

    /// What it takes of its plan's memory, in bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        self.memory.as_ref()?.anonymous()
    }

    /// Has the kernel end it rather than us when memory runs out. To raise the value needs no
    /// privilege.
    pub(super) fn prefer_for_oom(&self) {
        let path = format!("/proc/{}/oom_score_adj", self.identity.pid);
        let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<i32>().ok();
        let value = (read("/proc/self/oom_score_adj").unwrap_or(0) + OOM_SCORE_ADJ).min(1000);
        if read(&path).is_some_and(|now| now >= value) {
            return;
        }
        if let Err(error) = fs::write(path, value.to_string()) {
            tracing::warn!(%error, pid = self.identity.pid, "cannot raise oom_score_adj");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_later_process_with_the_same_number_is_not_signalled() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let identity = ProcessIdentity::of(&Process::new(pid).unwrap()).unwrap();
        let earlier = ProcessIdentity { start_time: identity.start_time - 1, ..identity };
        let mut gone = RunningProcess::adopted(earlier, None);
        gone.signal(Signal::KILL).unwrap();
        assert!(gone.has_ended());
        assert!(child.try_wait().unwrap().is_none());

        let mut adopted = RunningProcess::adopted(identity, None);
        assert!(adopted.pidfd.is_some() && !adopted.has_ended());
        adopted.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
        assert!(adopted.has_ended());
        adopted.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn a_child_is_ended_before_us_when_memory_runs_out() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut running = RunningProcess::own(child, None);
        running.prefer_for_oom();
        let read = |pid: &str| {
            let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
            text.trim().parse::<i32>().unwrap()
        };
        assert!(read(&running.identity.pid.to_string()) >= (read("self") + 500).min(1000));
        running.signal(Signal::KILL).unwrap();
    }
}
