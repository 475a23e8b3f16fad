//! One Prometheus process, started by this Scrapebroker or by an earlier one.
//!
//! The start time distinguishes a process of an earlier Scrapebroker from a later process with the
//! same PID. Such a process is signalled through a pidfd. The PID of a child cannot be reused until
//! the child is reaped.

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

/// Added to `oom_score_adj` of a child, so that the kernel ends it rather than Scrapebroker when
/// memory runs out; the highest value is 1000.
const OOM_SCORE_ADJ: i32 = 500;

/// PID and start time, in clock ticks since boot.
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
    /// Digest of the loaded configuration
    /// ([`ConfigFiles::digest`](super::files::ConfigFiles::digest)).
    pub(super) loaded: String,
}

/// A process that may have ended.
#[derive(Debug)]
pub(super) struct RunningProcess {
    identity: ProcessIdentity,
    /// `None` if the process was adopted.
    child: Option<Child>,
    /// Of an adopted process; `None` if the kernel does not support pidfds.
    pidfd: Option<OwnedFd>,
    status: Option<ExitStatus>,
    memory: Option<ProcessMemory>,
    /// `None` if cgroups cannot be used.
    cgroup: Option<Cgroup>,
}

impl ProcessIdentity {
    /// `None` if the process has ended or is a zombie.
    pub(super) fn of(process: &Process) -> Option<Self> {
        let stat = process.stat().ok()?;
        let has_ended = matches!(stat.state, 'Z' | 'X' | 'x');
        (!has_ended).then_some(Self { pid: stat.pid, start_time: stat.starttime })
    }

    fn is_running(self) -> bool {
        Process::new(self.pid).ok().as_ref().and_then(Self::of) == Some(self)
    }
}

impl RunningProcess {
    pub(super) fn adopted(identity: ProcessIdentity, cgroup: Option<Cgroup>) -> Self {
        // The PID may have been reused before the pidfd was opened. `has_ended` compares the start
        // time later.
        let pid = Pid::from_raw(identity.pid);
        let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let memory = ProcessMemory::of(identity.pid);
        Self { identity, child: None, pidfd, status: None, memory, cgroup }
    }

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

    /// Whether the process has ended. Reaps a child.
    pub(super) fn has_ended(&mut self) -> bool {
        match &mut self.child {
            None => !self.identity.is_running(),
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

    /// Exit status in parentheses, to be appended to "Prometheus ended". Empty if it is unknown.
    pub(super) fn exit_status(&self) -> String {
        self.status.map_or_else(String::new, |status| format!(" ({status})"))
    }

    /// Whether the kernel has killed the process at the memory limit of its cgroup.
    pub(super) fn was_killed_for_memory(&self) -> bool {
        self.cgroup.as_ref().is_some_and(Cgroup::has_killed)
    }

    /// Sends a signal. Does nothing if the process has ended.
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

    /// Memory that counts against the limit of the plan, in bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        self.memory.as_ref()?.anonymous()
    }

    /// Makes the kernel prefer this process when memory runs out. Raising the value requires no
    /// privilege.
    pub(super) fn prefer_for_oom(&self) {
        let path = format!("/proc/{}/oom_score_adj", self.identity.pid);
        let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<i32>().ok();
        let value = (read("/proc/self/oom_score_adj").unwrap_or(0) + OOM_SCORE_ADJ).min(1000);
        if read(&path).is_some_and(|now| now >= value) {
            return;
        }
        if let Err(error) = fs::write(path, value.to_string()) {
            tracing::warn!(%error, pid = self.identity.pid, "oom_score_adj not raised");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_later_process_with_the_same_pid_is_not_signalled() {
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
    fn a_child_has_a_higher_oom_score_than_scrapebroker() {
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
