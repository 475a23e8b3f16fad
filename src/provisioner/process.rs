//! Prometheus servers as child processes of ours, on loopback ports.
//!
//! ```text
//! data_dir/<slug>/<replica>/   prometheus.yml  web.yml  rules.yml   what it is told
//! (or tmpfs_dir)               port  pid                            where it is, and who
//!                              prometheus.log  prometheus.log.1     what it says
//!                              data/                                what it has stored
//! ```
//!
//! The folder of a replica is its working directory and stands on its command
//! line. So a process is found by its command line whatever we have noted of it,
//! and nothing that we lose can hide one from us.
//!
//! # What a kill leaves
//!
//! An apply goes through these steps, one replica after the other where they
//! run already, so that one of two goes on answering:
//!
//! | Step | Killed behind it, the next apply finds |
//! | --- | --- |
//! | look for processes by their command line | nothing has changed |
//! | end those that run elsewhere, or are too many | fewer processes |
//! | make the folder | an empty folder, which is filled |
//! | write `copy-id` into both folders | two equal ids and one `data`, which is copied again under a new id |
//! | copy `data` from the other storage to `data.draft` | a draft, which is thrown away and begun again |
//! | rename the draft to `data` | both, and equal ids: the copy is whole, and what was copied has not run since |
//! | rename what was copied to `data.gone`, remove it | a rest that nobody takes for data, which is removed |
//! | write the files, each by a rename | each file old or new; all are written again |
//! | SIGHUP, and see that it took | `pid` names what was loaded before: once more |
//! | end a process whose flags have changed | none; one is started |
//! | choose a port, write `port` | that port is tried first |
//! | spawn | a process that no `pid` names: it is replaced |
//! | write `pid` | a process to adopt: same start time, same flags |
//! | wait until it is ready | the same |
//!
//! A process is started in one storage only when nothing is left in the other;
//! this is why of two `data` with one `copy-id` each is whole, and the one where it is desired is
//! kept. Of two without a common id none is removed.
//!
//! A removal ends the processes, then removes the folders. Whatever is left of
//! either is found by the next removal in the same way.
//!
//! A future that is dropped leaves no more than a kill, except work on files that
//! runs on another thread: that holds the instance's turn until it is done.
//!
//! Two servers never use one `data`: Prometheus locks it.

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
mod supervisor;

#[cfg(test)]
mod tests;

pub use metrics::ProcessMetrics;
pub use policy::ProcessPolicy;

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

/// Where processes and their files go.
#[derive(Clone, Debug)]
pub struct ProcessPaths {
    /// The program: a path, or a name to be found in `search`.
    pub binary: PathBuf,
    /// Folders in which programs are looked for.
    pub search: Vec<PathBuf>,
    /// Instances that store on a disk.
    pub data_dir: PathBuf,
    /// Instances that store in memory.
    pub tmpfs_dir: PathBuf,
    /// Of the loopback interface, one for each replica.
    pub ports: RangeInclusive<u16>,
}

/// How long is waited for a process, and how often it is tried again.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// How many starts may fail before it was ready once.
    pub starts: u32,
    /// How many may fail after that.
    pub restarts: u32,
    /// Pause after the first failure; it doubles up to `longest_pause`.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Ready for this long, it has failed for no reason that still holds.
    pub settled: Duration,
    /// How often is looked at a process that runs.
    pub look: Duration,
    /// How often it is asked whether it is ready.
    pub ask: Duration,
    /// A running process that does not answer for this long is ended.
    pub silence: Duration,
    /// How long a reload may take.
    pub reload: Duration,
    /// How long a process may take to end by itself.
    pub end: Duration,
    /// A log of this size is put aside, in bytes. There are two.
    pub log_size: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            starts: 3,
            restarts: 10,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
            settled: Duration::from_secs(300),
            look: Duration::from_secs(2),
            ask: Duration::from_secs(30),
            silence: Duration::from_secs(90),
            reload: Duration::from_secs(20),
            end: Duration::from_secs(8),
            log_size: 4 << 20,
        }
    }
}

/// Makes them. Must live where `spawn_local` works.
#[derive(Debug)]
pub struct ProcessProvisioner {
    context: Rc<ProcessContext>,
    instances: RefCell<HashMap<InstanceId, Rc<ProcessInstance>>>,
    /// Whether we were asked for anything; who only stands by touches nothing.
    has_begun: Cell<bool>,
}

/// What all instances share.
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
    /// Where replicas get cgroups; none where they cannot. FoundProcess at the first use, since a process
    /// that only stands by touches nothing.
    fn cgroups(&self) -> Option<&Cgroups> {
        let open = || match Cgroups::open() {
            Ok(cgroups) => {
                let directory = cgroups.directory().display();
                tracing::info!(%directory, "Prometheus servers get cgroups of their own");
                Some(cgroups)
            }
            Err(reason) => {
                tracing::info!(
                    %reason,
                    "Prometheus servers get no cgroups; their memory is watched instead"
                );
                None
            }
        };
        self.cgroups.get_or_init(open).as_ref()
    }
}

impl ProcessProvisioner {
    /// Ready to make some. Looks which ports those before us have chosen.
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
            has_begun: Cell::new(false),
        }
    }

    fn instance(&self, id: &InstanceId) -> Rc<ProcessInstance> {
        self.has_begun.set(true);
        let mut instances = self.instances.borrow_mut();
        let new = || Rc::new(ProcessInstance::new(slug(id), Rc::clone(&self.context)));
        Rc::clone(instances.entry(id.clone()).or_insert_with(new))
    }
}

impl ProcessPaths {
    /// A relative path would be another one in the working directory of a child.
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
            if !self.has_begun.get() {
                return;
            }
            let instances: Vec<_> = self.instances.borrow_mut().drain().collect();
            let known = instances.iter().map(|(_, instance)| instance.stop());
            join_all(known).await;
            // Those that we have not come to since our own start.
            search::end_all(&self.context).await;
            self.context.metrics.observe([]);
        })
    }
}
