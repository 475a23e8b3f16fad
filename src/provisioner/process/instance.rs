//! One instance: makes its replicas like they should be, and removes them.

use super::{
    ProcessContext,
    cgroup::Cgroup,
    data,
    file_lock::{FileLock, FileLockGuard},
    files::ConfigFiles,
    folder::ReplicaFolder,
    launch::LaunchSpec,
    log_file,
    policy::program,
    replica_handle::{self, ReplicaHandle},
    search::{self, FoundProcess},
    supervisor::Supervisor,
};
use crate::{
    domain::prometheus::{Replica, Storage},
    provisioner::{DesiredInstance, Failure},
};
use futures_util::future::{join_all, try_join_all};
use rustix::process::Signal;
use std::{cell::RefCell, collections::BTreeMap, path::PathBuf, rc::Rc, time::Duration};
use tokio::{task::AbortHandle, time::Instant};

/// How often is looked whether a reload took.
const LOOK: Duration = Duration::from_millis(50);

/// All replicas of an instance.
#[derive(Debug)]
pub(super) struct ProcessInstance {
    slug: String,
    context: Rc<ProcessContext>,
    pub(super) file_lock: FileLock,
    handles: RefCell<BTreeMap<ReplicaFolder, Rc<ReplicaHandle>>>,
    supervisors: RefCell<BTreeMap<ReplicaFolder, AbortHandle>>,
}

/// What one replica should be like.
#[derive(Clone)]
struct ReplicaPlan {
    handle: Rc<ReplicaHandle>,
    launch: Rc<LaunchSpec>,
    files: ConfigFiles,
}

impl ProcessInstance {
    pub(super) fn new(slug: String, context: Rc<ProcessContext>) -> Self {
        Self {
            slug,
            context,
            file_lock: FileLock::default(),
            handles: RefCell::default(),
            supervisors: RefCell::default(),
        }
    }

    pub(super) fn observe(&self) -> Vec<Replica> {
        let mut replicas: Vec<_> =
            self.handles.borrow().values().map(|handle| handle.replica()).collect();
        replicas.sort_by_key(|replica| replica.number);
        replicas
    }

    pub(super) async fn apply(&self, desired: &DesiredInstance) -> Result<Vec<Replica>, Failure> {
        let turn = self.file_lock.take().await;
        self.halt();
        let paths = &self.context.paths;
        let program = program(paths).map_err(Failure::permanent)?;
        let (home, other) = match desired.spec.storage {
            Storage::Disk => (&paths.data_dir, &paths.tmpfs_dir),
            Storage::Tmpfs => (&paths.tmpfs_dir, &paths.data_dir),
        };
        let folder = |number| ReplicaFolder::new(home, &self.slug, number);
        let folders: Vec<_> = (0..desired.spec.replicas).map(folder).collect();
        self.find(&turn).await?;
        self.end(|handle| !folders.contains(&handle.folder)).await?;
        self.settle(&turn, folders.clone(), home.clone(), other.clone()).await?;

        let plan = |folder: &ReplicaFolder| {
            let files = ConfigFiles::render(desired, folder.number().unwrap_or_default())?;
            let launch = LaunchSpec::new(program.clone(), folder, desired, files.digest());
            Ok(ReplicaPlan { handle: self.handle(folder), launch: Rc::new(launch), files })
        };
        let plans = folders.iter().map(plan).collect::<Result<Vec<_>, Failure>>()?;
        let (stand, run): (Vec<ReplicaPlan>, Vec<ReplicaPlan>) =
            plans.iter().cloned().partition(|plan| plan.handle.identity().is_none());
        for plan in &stand {
            plan.write(&turn).await?;
            self.supervise(plan);
        }
        for plan in &run {
            plan.write(&turn).await?;
            if !plan.is_as_wanted(&self.context).await? {
                // The others answer meanwhile.
                try_join_all(self.supervised(&plans).iter().map(|handle| handle.settled())).await?;
                plan.handle.end(self.context.timeouts.end).await?;
            }
            self.supervise(plan);
        }
        try_join_all(plans.iter().map(|plan| plan.handle.settled())).await
    }

    pub(super) async fn remove(&self) -> Result<(), Failure> {
        let turn = self.file_lock.take().await;
        self.halt();
        self.find(&turn).await?;
        self.end(|_| true).await?;
        let paths = &self.context.paths;
        let paths = [&paths.data_dir, &paths.tmpfs_dir].map(|root| root.join(&self.slug));
        turn.work("remove the folder of the instance", move |_| {
            paths.iter().try_for_each(|path| data::remove_instance(path))
        })
        .await
    }

    /// Ends all processes; what is stored stays.
    pub(super) async fn stop(&self) {
        self.halt();
        // All of them before one is waited for: we may be given little time.
        self.handles.borrow().values().for_each(|handle| handle.ask_to_end());
        if let Err(failure) = self.end(|_| true).await {
            tracing::error!(%failure, slug = self.slug, "a Prometheus goes on without us");
        }
    }

    /// Nobody but the caller works on it from now on.
    fn halt(&self) {
        let supervisors = std::mem::take(&mut *self.supervisors.borrow_mut());
        supervisors.values().for_each(AbortHandle::abort);
    }

    fn handle(&self, folder: &ReplicaFolder) -> Rc<ReplicaHandle> {
        let mut handles = self.handles.borrow_mut();
        let new = || Rc::new(ReplicaHandle::new(folder.clone()));
        Rc::clone(handles.entry(folder.clone()).or_insert_with(new))
    }

    /// Gives each process that runs in a folder of ours its handle.
    async fn find(&self, turn: &FileLockGuard) -> Result<(), Failure> {
        let paths = &self.context.paths;
        let roots = [&paths.data_dir, &paths.tmpfs_dir].map(|root| root.join(&self.slug));
        let find = move |_: &_| Ok(search::in_folders(&roots));
        let found: Vec<FoundProcess> = turn.work("look for its processes", find).await?;
        for handle in self.handles.borrow().values() {
            let mut running = handle.running.borrow_mut();
            if running.as_mut().is_some_and(super::child::RunningProcess::has_ended) {
                *running = None;
            }
        }
        for found in found {
            let handle = self.handle(&found.folder);
            match handle.identity() {
                None => {
                    let cgroup = self.cgroup_of(&found);
                    handle.adopt(found.identity, cgroup);
                }
                Some(known) if known == found.identity => {}
                // Prometheus locks its data, so the second one is of no use.
                Some(_) => replica_handle::end(found.identity, self.context.timeouts.end).await?,
            }
        }
        Ok(())
    }

    /// The cgroup of a process that was started by an earlier Scrapebroker.
    fn cgroup_of(&self, found: &FoundProcess) -> Option<Cgroup> {
        let name = found.folder.unique_name().ok()?;
        self.context.cgroups()?.of(&name, found.identity.pid)
    }

    /// Ends the processes of some handles, which then are none any more.
    async fn end(&self, which: impl Fn(&ReplicaHandle) -> bool) -> Result<(), Failure> {
        let handles: Vec<_> =
            self.handles.borrow().values().filter(|handle| which(handle)).cloned().collect();
        let ended =
            join_all(handles.iter().map(|handle| handle.end(self.context.timeouts.end))).await;
        for (handle, ended) in handles.iter().zip(&ended) {
            if ended.is_ok() {
                self.handles.borrow_mut().remove(&handle.folder);
            }
        }
        ended.into_iter().collect()
    }

    /// Brings what is stored to where it should be, and removes replicas that are too many.
    async fn settle(
        &self,
        turn: &FileLockGuard,
        folders: Vec<ReplicaFolder>,
        home: PathBuf,
        other: PathBuf,
    ) -> Result<(), Failure> {
        let slug = self.slug.clone();
        turn.work("write the files of the instance", move |cancel| {
            data::check_apart(&home.join(&slug), &other.join(&slug))?;
            for folder in &folders {
                folder.make()?;
                let number = folder.number().unwrap_or_default();
                data::move_data(&ReplicaFolder::new(&other, &slug, number), folder, cancel)?;
            }
            for root in [&home, &other] {
                for folder in data::replicas(root, &slug)? {
                    if !folders.contains(&folder) && folder.exists()? {
                        data::remove_folder(&folder)?;
                    }
                }
            }
            Ok(())
        })
        .await
    }

    fn supervise(&self, plan: &ReplicaPlan) {
        plan.handle.begin();
        let supervisor = Supervisor {
            handle: Rc::clone(&plan.handle),
            launch: Rc::clone(&plan.launch),
            context: Rc::clone(&self.context),
        };
        let task = tokio::task::spawn_local(supervisor.supervise());
        let before =
            self.supervisors.borrow_mut().insert(plan.handle.folder.clone(), task.abort_handle());
        if let Some(before) = before {
            before.abort();
        }
    }

    fn supervised(&self, plans: &[ReplicaPlan]) -> Vec<Rc<ReplicaHandle>> {
        let supervisors = self.supervisors.borrow();
        let handles = plans.iter().map(|plan| &plan.handle);
        handles.filter(|handle| supervisors.contains_key(&handle.folder)).cloned().collect()
    }
}

impl Drop for ProcessInstance {
    fn drop(&mut self) {
        self.halt();
    }
}

impl ReplicaPlan {
    async fn write(&self, turn: &FileLockGuard) -> Result<(), Failure> {
        let (files, folder) = (self.files.clone(), self.handle.folder.clone());
        turn.work("write the files of the instance", move |cancel| files.write(&folder, cancel))
            .await
    }

    /// Whether the process that runs can stay. Has it read its files again if they
    /// have changed.
    async fn is_as_wanted(&self, context: &ProcessContext) -> Result<bool, Failure> {
        let Some(identity) = self.handle.identity() else { return Ok(false) };
        let Some(port) = self.launch.port_of(identity.pid) else { return Ok(false) };
        if !context.paths.ports.contains(&port) {
            return Ok(false);
        }
        match self.handle.loaded() {
            loaded if loaded == self.launch.digest => return Ok(true),
            // Nobody knows how far it has come.
            loaded if loaded.is_empty() => return Ok(false),
            _ => {}
        }
        let (url, password) = (self.launch.url(port), &self.launch.password);
        // A hangup ends a Prometheus that has not come far enough to listen to it.
        if !context.health_probe.is_ready(&url, password).await {
            return Ok(false);
        }
        let Some(before) = context.health_probe.last_reload(&url, password).await else {
            return Ok(false);
        };
        // From here on it may have either, until it says so.
        self.note("")?;
        let log_start = log_file::length(&self.handle.folder);
        let sent = self.handle.running.borrow_mut().as_mut().map(|it| it.signal(Signal::HUP));
        if !matches!(sent, Some(Ok(()))) {
            return Ok(false);
        }
        let deadline = Instant::now() + context.timeouts.reload;
        while Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
            let Some(now) = context.health_probe.last_reload(&url, password).await else {
                continue;
            };
            if now.was_successful && now.at != before.at {
                self.note(&self.launch.digest)?;
                return Ok(true);
            }
            if before.was_successful && !now.was_successful {
                let redaction = &self.launch.redaction;
                let said = log_file::last_words(&self.handle.folder, log_start, redaction);
                let said = said.map(|said| format!(": {said}")).unwrap_or_default();
                return Err(Failure::permanent(format!(
                    "Prometheus refuses its configuration{said}"
                )));
            }
        }
        // It says why when it starts, or is well.
        Ok(false)
    }

    fn note(&self, loaded: &str) -> Result<(), Failure> {
        self.handle.note(loaded).map_err(|error| {
            tracing::error!(%error, folder = %self.handle.folder.path().display(), "cannot write pid");
            Failure::transient(format!("the broker cannot write its files: {}", error.kind()))
        })
    }
}
