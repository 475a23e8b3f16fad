//! Cgroups of replicas, where cgroup v2 permits to create them.
//!
//! ```text
//! delegated cgroup/            the own cgroup, or its parent if systemd delegated it
//!     scrapebroker-<slug>-0/   memory.max: the plan's limit; cgroup.procs: one Prometheus
//! ```
//!
//! The kernel kills a server at the memory limit of its plan, however fast it grows. The supervisor
//! polls the memory as well: this is the only limit where cgroups cannot be used, or if a process
//! cannot be moved into its cgroup.
//!
//! Scrapebroker never moves itself to another cgroup. A cgroup that contains processes cannot
//! enable the memory controller for its children, so the own cgroup is usable only at the root of
//! the hierarchy. Otherwise the parent is used if it is delegated (`Delegate=yes` with
//! `DelegateSubgroup=` of systemd).

use procfs::process::Process;
use rustix::{fs::getxattr, process::geteuid};
use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Prefix of the names of cgroups.
const PREFIX: &str = "scrapebroker-";
/// Extended attributes that systemd sets on a delegated cgroup.
const DELEGATED: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// The parent of the cgroups of replicas.
#[derive(Debug)]
pub(super) struct Cgroups {
    directory: PathBuf,
}

/// The cgroup of one replica. It is removed on drop unless it contains a process.
#[derive(Debug)]
pub(super) struct Cgroup {
    directory: PathBuf,
    /// OOM kills in this cgroup before the current process was added.
    killed_before: u64,
}

/// Why cgroups cannot be used.
#[derive(Debug)]
pub(super) struct CgroupsUnavailable(String);

impl fmt::Display for CgroupsUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Cgroups {
    /// Finds a usable parent cgroup.
    pub(super) fn open() -> Result<Self, CgroupsUnavailable> {
        let own = own_directory()?;
        let mut problem = None;
        for directory in candidates(&own) {
            match Self::at(directory) {
                Ok(cgroups) => return Ok(cgroups),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        Err(problem
            .unwrap_or_else(|| CgroupsUnavailable("there is no cgroup of our own".to_owned())))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Enables the memory controller for children of `directory`.
    fn at(directory: PathBuf) -> Result<Self, CgroupsUnavailable> {
        let unavailable = |what: &str, error: io::Error| {
            CgroupsUnavailable(format!("{what} {}: {error}", directory.display()))
        };
        let has_memory = |file: &str| -> io::Result<bool> {
            let text = fs::read_to_string(directory.join(file))?;
            Ok(text.split_ascii_whitespace().any(|controller| controller == "memory"))
        };
        let controllers = has_memory("cgroup.controllers");
        if !controllers.map_err(|error| unavailable("cgroup.controllers of", error))? {
            let directory = directory.display();
            return Err(CgroupsUnavailable(format!("{directory} has no memory controller")));
        }
        let control = "cgroup.subtree_control";
        let enable = || match has_memory(control)? {
            true => Ok(()),
            false => set(&directory.join(control), "+memory"),
        };
        enable().map_err(|error| unavailable("cgroup.subtree_control of", error))?;
        // Creating and limiting a cgroup is tested now, not at the first server.
        let cgroups = Self { directory: directory.clone() };
        let tried = cgroups.make(&format!("try-{}", std::process::id()));
        let tried = tried.and_then(|cgroup| cgroup.limit(u64::MAX >> 1));
        tried.map_err(|error| unavailable("a new cgroup below", error))?;
        cgroups.remove_stale();
        Ok(cgroups)
    }

    /// Creates a cgroup with a memory limit.
    pub(super) fn create(&self, name: &str, memory_limit: u64) -> io::Result<Cgroup> {
        self.remove_stale();
        let cgroup = self.make(name)?;
        cgroup.limit(memory_limit)?;
        Ok(cgroup)
    }

    /// The cgroup with this name, if it contains the process.
    pub(super) fn of(&self, name: &str, pid: i32) -> Option<Cgroup> {
        let directory = self.path(name);
        let processes = fs::read_to_string(directory.join("cgroup.procs")).ok()?;
        let is_in_it = processes.lines().any(|line| line.parse() == Ok(pid));
        is_in_it.then(|| Cgroup::new(directory))
    }

    fn make(&self, name: &str) -> io::Result<Cgroup> {
        let directory = self.path(name);
        match fs::create_dir(&directory) {
            // The cgroup of a server that has ended.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        Ok(Cgroup::new(directory))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{PREFIX}{name}"))
    }

    /// Removes empty cgroups, also those of an earlier Scrapebroker. A cgroup could not be removed
    /// on drop if threads of its server had not ended yet. The kernel keeps cgroups that contain
    /// processes.
    pub(super) fn remove_stale(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

impl Cgroup {
    fn new(directory: PathBuf) -> Self {
        let mut cgroup = Self { directory, killed_before: 0 };
        cgroup.killed_before = cgroup.killed();
        cgroup
    }

    fn limit(&self, memory: u64) -> io::Result<()> {
        set(&self.directory.join("memory.max"), &memory.to_string())?;
        // memory.oom.group exists since Linux 4.19, and memory.swap.max only with swap accounting.
        for (file, value) in [("memory.oom.group", "1"), ("memory.swap.max", "0")] {
            match set(&self.directory.join(file), value) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                written => written?,
            }
        }
        Ok(())
    }

    /// Moves a process into the cgroup. Memory that it has allocated before counts in its previous
    /// cgroup.
    pub(super) fn add(&self, pid: u32) -> io::Result<()> {
        set(&self.directory.join("cgroup.procs"), &pid.to_string())
    }

    /// Whether the kernel has killed the process at the memory limit.
    pub(super) fn has_killed(&self) -> bool {
        self.killed() > self.killed_before
    }

    fn killed(&self) -> u64 {
        let events = fs::read_to_string(self.directory.join("memory.events")).unwrap_or_default();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Fails if it contains a process. It is then adopted by its name, or removed later.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Writes to an existing file of the kernel.
fn set(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// The directory of the own cgroup in the cgroup v2 hierarchy.
fn own_directory() -> Result<PathBuf, CgroupsUnavailable> {
    let process = Process::myself().map_err(|error| CgroupsUnavailable(error.to_string()))?;
    let cgroups = process.cgroups().map_err(|error| CgroupsUnavailable(error.to_string()))?;
    let path = cgroups.into_iter().find(|it| it.hierarchy == 0).map(|it| it.pathname);
    let mounts = process.mountinfo().map_err(|error| CgroupsUnavailable(error.to_string()))?;
    let mounts = mounts.into_iter().filter(|mount| mount.fs_type == "cgroup2");
    let mounts = mounts.map(|mount| (mount.root, mount.mount_point));
    path.and_then(|path| directory_of(&path, mounts))
        .ok_or_else(|| CgroupsUnavailable("cgroup v2 is not mounted".to_owned()))
}

/// The directory of a cgroup. `mounts` are pairs of the cgroup at the root of a mount and the mount
/// point.
fn directory_of(
    path: &str,
    mut mounts: impl Iterator<Item = (String, PathBuf)>,
) -> Option<PathBuf> {
    // The path of a process outside of the cgroup namespace contains `..`.
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    mounts.find_map(|(root, mount_point)| {
        let below = Path::new(path).strip_prefix(&root).ok()?;
        // Joining an empty path would add a slash.
        Some(below.components().fold(mount_point, |directory, part| directory.join(part)))
    })
}

/// Possible parent cgroups: the own cgroup, and its parent if that is delegated.
fn candidates(own: &Path) -> Vec<PathBuf> {
    let parent = own.parent().filter(|parent| is_delegated(parent));
    [Some(own), parent].into_iter().flatten().map(Path::to_owned).collect()
}

/// Root can write to every cgroup, so for root only the attribute of systemd counts.
fn is_delegated(directory: &Path) -> bool {
    let is_marked = DELEGATED.iter().any(|name| {
        let mut value = [0; 8];
        getxattr(directory, *name, &mut value[..])
            .is_ok_and(|length| value.get(..length) == Some(b"1"))
    });
    let user = geteuid().as_raw();
    let is_owner = || fs::metadata(directory).is_ok_and(|it| it.uid() == user);
    is_marked || (user != 0 && is_owner())
}

#[cfg(test)]
mod tests;
