//! Prometheus servers as child processes, on ports of the loopback interface.
//!
//! ```text
//! data_dir/<slug>/<replica>/   prometheus.yml  web.yml  rules.yml   configuration
//! (or tmpfs_dir)               port  pid                            port and process
//!                              prometheus.log  prometheus.log.1     logs
//!                              data/                                stored samples
//! ```
//!
//! The folder of a replica is its working directory and part of its command line. A process is found
//! by its command line, so it is found even if `port` or `pid` are lost.
//!
//! # Crash safety
//!
//! [`apply`](Provisioner::apply) goes through these steps. Replicas that run already are changed one
//! after the other, so that one of two always answers queries.
//!
//! | Step | State after a crash at the end of the step |
//! | --- | --- |
//! | find processes by their command line | nothing has changed |
//! | end processes in the other storage and surplus replicas | fewer processes |
//! | create the folder | an empty folder, which is filled |
//! | write `copy-id` into both folders | two equal ids and one `data`, which is copied again under a new id |
//! | copy `data` from the other storage to `data.draft` | a draft, which is deleted and copied again |
//! | rename the draft to `data` | two `data` with equal ids: the copy is complete, and no process has written to the original since |
//! | rename the original to `data.gone`, remove it | a `data.gone`, which is removed |
//! | write the files, each by a rename | each file is old or new; all are written again |
//! | send SIGHUP, wait for the reload | `pid` contains the previous digest: the reload is repeated |
//! | end a process whose flags have changed | no process; one is started |
//! | choose a port, write `port` | that port is tried first |
//! | start the process | a process that `pid` does not name: it is replaced |
//! | write `pid` | a process with the same start time and flags: it is adopted |
//! | wait until it is ready | the same |
//!
//! A process is started in one storage only when the other storage is empty. So if two `data` have
//! the same `copy-id`, both are complete, and the one in the desired storage is kept. Of two `data`
//! without a common id none is removed.
//!
//! A removal ends the processes and then removes the folders. After a crash the next removal finds
//! the remaining processes and folders in the same way.
//!
//! Dropping a future has the same effect as a crash, except for file operations on another thread:
//! they hold the file lock of the instance until they are finished.
//!
//! Two servers never use the same `data`, because Prometheus locks it.

mod cgroup;
mod child;
mod data;
mod file_lock;
mod files;
mod folder;
mod health_probe;
mod instance;
mod launch;
mod location;
mod log_file;
mod memory;
mod metrics;
mod policy;
mod ports;
mod replica_handle;
mod search;
mod stored_size;
mod supervisor;

#[cfg(test)]
mod tests;

pub use metrics::ProcessMetrics;
pub use policy::{ProcessPolicy, find_program};
pub use stored_size::StoredSizes;

use super::{DesiredInstance, Failure, Provisioner};
use crate::domain::{
    InstanceId,
    prometheus::{Replica, slug},
};
use cgroup::Cgroups;
use futures_util::future::{LocalBoxFuture, join_all};
use health_probe::HealthProbe;
use instance::ProcessInstance;
use ports::PortAllocator;
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    ops::RangeInclusive,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

/// Paths and ports of child processes.
#[derive(Clone, Debug)]
pub struct ProcessPaths {
    /// Path of Prometheus, or a name that is searched in `search`.
    pub binary: PathBuf,
    /// Folders of `PATH`.
    pub search: Vec<PathBuf>,
    /// Folder of instances with storage `disk`.
    pub data_dir: PathBuf,
    /// Folder of instances with storage `tmpfs`.
    pub tmpfs_dir: PathBuf,
    /// Ports of the loopback interface, one per replica.
    pub ports: RangeInclusive<u16>,
}

/// Timeouts and limits for the supervision of processes.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// Number of failures after which a replica that was never ready is given up.
    pub max_start_failures: u32,
    /// The same for a replica that was ready before.
    pub max_restart_failures: u32,
    /// Pause after the first failure. It doubles up to `max_backoff`.
    pub initial_backoff: Duration,
    pub max_backoff: Duration,
    /// The failure count resets when a process was ready for this long.
    pub failure_reset: Duration,
    /// Interval at which a running process is checked.
    pub check_interval: Duration,
    /// Interval of readiness probes of a running process.
    pub probe_interval: Duration,
    /// A running process is ended when its readiness probes fail for this long.
    pub unresponsive_limit: Duration,
    /// Timeout of a configuration reload.
    pub reload_timeout: Duration,
    /// Time between SIGTERM and SIGKILL, and between SIGKILL and a failure.
    pub end_timeout: Duration,
    /// A log is rotated at this size, in bytes. One rotated log is kept.
    pub max_log_size: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            max_start_failures: 3,
            max_restart_failures: 10,
            initial_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(60),
            failure_reset: Duration::from_secs(300),
            check_interval: Duration::from_secs(2),
            probe_interval: Duration::from_secs(30),
            unresponsive_limit: Duration::from_secs(90),
            reload_timeout: Duration::from_secs(20),
            end_timeout: Duration::from_secs(8),
            max_log_size: 4 << 20,
        }
    }
}

/// Runs Prometheus servers as child processes. Requires a `LocalSet`.
#[derive(Debug)]
pub struct ProcessProvisioner {
    context: Rc<ProcessContext>,
    instances: RefCell<HashMap<InstanceId, Rc<ProcessInstance>>>,
    /// Whether any instance was applied or removed. Until then this process may be a standby, and
    /// must not stop the processes of the leader.
    is_in_use: Cell<bool>,
}

/// Dependencies shared by all instances.
#[derive(Debug)]
struct ProcessContext {
    started: Instant,
    paths: ProcessPaths,
    timeouts: Timeouts,
    ports: PortAllocator,
    health_probe: HealthProbe,
    metrics: ProcessMetrics,
    cgroups: OnceCell<Option<Cgroups>>,
}

impl ProcessContext {
    /// The parent of the cgroups of replicas, or `None` if cgroups cannot be used. It is opened at
    /// the first use, because a standby must not change any cgroup.
    fn cgroups(&self) -> Option<&Cgroups> {
        let open = || match Cgroups::open() {
            Ok(cgroups) => {
                let directory = cgroups.directory().display();
                tracing::info!(%directory, "memory of Prometheus servers limited by cgroups");
                Some(cgroups)
            }
            Err(reason) => {
                tracing::info!(
                    %reason,
                    "cgroups unavailable; memory of Prometheus servers is polled"
                );
                None
            }
        };
        self.cgroups.get_or_init(open).as_ref()
    }
}

impl ProcessProvisioner {
    /// Reads the ports of the existing replicas.
    pub fn new(paths: ProcessPaths, timeouts: Timeouts, metrics: ProcessMetrics) -> Self {
        let paths = paths.absolute();
        let ports = PortAllocator::read(paths.ports.clone(), [&paths.data_dir, &paths.tmpfs_dir]);
        let (started, health_probe) = (Instant::now(), HealthProbe::new());
        let cgroups = OnceCell::new();
        let context =
            ProcessContext { started, paths, timeouts, ports, health_probe, metrics, cgroups };
        Self {
            context: Rc::new(context),
            instances: RefCell::default(),
            is_in_use: Cell::new(false),
        }
    }

    fn instance(&self, id: &InstanceId) -> Rc<ProcessInstance> {
        self.is_in_use.set(true);
        let mut instances = self.instances.borrow_mut();
        let new = || Rc::new(ProcessInstance::new(slug(id), Rc::clone(&self.context)));
        Rc::clone(instances.entry(id.clone()).or_insert_with(new))
    }
}

impl ProcessPaths {
    /// Whether the program `binary` can be started.
    pub fn has_program(&self) -> bool {
        find_program(&self.binary, &self.search).is_ok()
    }

    /// A relative path would be resolved against the working directory of a child.
    fn absolute(mut self) -> Self {
        for path in [&mut self.data_dir, &mut self.tmpfs_dir] {
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        }
        self
    }
}

impl Provisioner for ProcessProvisioner {
    fn apply<'a>(
        &'a self,
        desired: &'a DesiredInstance,
    ) -> LocalBoxFuture<'a, Result<Vec<Replica>, Failure>> {
        Box::pin(async move { self.instance(&desired.instance_id).apply(desired).await })
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> LocalBoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.instance(id).remove().await?;
            self.instances.borrow_mut().remove(id);
            Ok(())
        })
    }

    fn observe(&self) -> HashMap<InstanceId, Vec<Replica>> {
        let instances = self.instances.borrow();
        let now: HashMap<_, _> =
            instances.iter().map(|(id, instance)| (id.clone(), instance.observe())).collect();
        self.context.metrics.observe(now.values().flatten());
        now
    }

    fn stop(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            if !self.is_in_use.get() {
                return;
            }
            let instances: Vec<_> = self.instances.borrow_mut().drain().collect();
            let stops = instances.iter().map(|(_, instance)| instance.stop());
            join_all(stops).await;
            // Processes of instances that were not applied since the start of Scrapebroker.
            search::end_all(&self.context).await;
            self.context.metrics.observe([]);
        })
    }
}
