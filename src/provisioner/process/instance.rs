//! One instance: applies the desired state to its replicas, and removes them.

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

/// Interval at which the result of a reload is read.
const RELOAD_POLL_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct ProcessInstance {
    slug: String,
    context: Rc<ProcessContext>,
    pub(super) file_lock: FileLock,
    handles: RefCell<BTreeMap<ReplicaFolder, Rc<ReplicaHandle>>>,
    supervisors: RefCell<BTreeMap<ReplicaFolder, AbortHandle>>,
}

/// The desired state of one replica.
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
        let lock = self.file_lock.lock().await;
        self.abort_supervisors();
        let paths = &self.context.paths;
        let program = program(paths).map_err(Failure::permanent)?;
        let (storage, other_storage) = match desired.spec.storage {
            Storage::Disk => (&paths.data_dir, &paths.tmpfs_dir),
            Storage::Tmpfs => (&paths.tmpfs_dir, &paths.data_dir),
        };
        let folder = |number| ReplicaFolder::new(storage, &self.slug, number);
        let folders: Vec<_> = (0..desired.spec.replicas).map(folder).collect();
        self.find_processes(&lock).await?;
        self.end(|handle| !folders.contains(&handle.folder)).await?;
        self.prepare_folders(&lock, folders.clone(), storage.clone(), other_storage.clone())
            .await?;

        let plan = |folder: &ReplicaFolder| {
            let files = ConfigFiles::render(desired, folder.number().unwrap_or_default())?;
            let launch = LaunchSpec::new(program.clone(), folder, desired, files.digest());
            Ok(ReplicaPlan { handle: self.handle(folder), launch: Rc::new(launch), files })
        };
        let plans = folders.iter().map(plan).collect::<Result<Vec<_>, Failure>>()?;
        let (stopped, running): (Vec<ReplicaPlan>, Vec<ReplicaPlan>) =
            plans.iter().cloned().partition(|plan| plan.handle.identity().is_none());
        for plan in &stopped {
            plan.write(&lock).await?;
            self.supervise(plan);
        }
        for plan in &running {
            plan.write(&lock).await?;
            if !plan.is_current_or_reloaded(&self.context).await? {
                // The other replicas answer queries meanwhile.
                try_join_all(self.supervised(&plans).iter().map(|handle| handle.ready_or_failed()))
                    .await?;
                plan.handle.end(self.context.timeouts.end_timeout).await?;
            }
            self.supervise(plan);
        }
        try_join_all(plans.iter().map(|plan| plan.handle.ready_or_failed())).await
    }

    pub(super) async fn remove(&self) -> Result<(), Failure> {
        let lock = self.file_lock.lock().await;
        self.abort_supervisors();
        self.find_processes(&lock).await?;
        self.end(|_| true).await?;
        let paths = &self.context.paths;
        let paths = [&paths.data_dir, &paths.tmpfs_dir].map(|root| root.join(&self.slug));
        lock.run_blocking("remove the folder of the instance", move |_| {
            paths.iter().try_for_each(|path| data::remove_instance(path))
        })
        .await
    }

    /// Ends all processes. Stored samples are kept.
    pub(super) async fn stop(&self) {
        self.abort_supervisors();
        // SIGTERM goes to all processes first, because the time for a shutdown may be short.
        self.handles.borrow().values().for_each(|handle| handle.send_term());
        if let Err(failure) = self.end(|_| true).await {
            tracing::error!(%failure, slug = self.slug, "prometheus not stopped at shutdown");
        }
    }

    /// Aborts the supervisors, so that only the caller changes the replicas.
    fn abort_supervisors(&self) {
        let supervisors = std::mem::take(&mut *self.supervisors.borrow_mut());
        supervisors.values().for_each(AbortHandle::abort);
    }

    fn handle(&self, folder: &ReplicaFolder) -> Rc<ReplicaHandle> {
        let mut handles = self.handles.borrow_mut();
        let new = || Rc::new(ReplicaHandle::new(folder.clone()));
        Rc::clone(handles.entry(folder.clone()).or_insert_with(new))
    }

    /// Adopts every process that runs in a folder of this instance.
    async fn find_processes(&self, lock: &FileLockGuard) -> Result<(), Failure> {
        let paths = &self.context.paths;
        let roots = [&paths.data_dir, &paths.tmpfs_dir].map(|root| root.join(&self.slug));
        let find = move |_: &_| Ok(search::in_folders(&roots));
        let found: Vec<FoundProcess> = lock.run_blocking("look for its processes", find).await?;
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
                // Prometheus locks its data, so a second process is useless.
                Some(_) => {
                    replica_handle::end(found.identity, self.context.timeouts.end_timeout).await?
                }
            }
        }
        Ok(())
    }

    /// The cgroup of a process that was started by an earlier Scrapebroker.
    fn cgroup_of(&self, found: &FoundProcess) -> Option<Cgroup> {
        let name = found.folder.unique_name().ok()?;
        self.context.cgroups()?.of(&name, found.identity.pid)
    }

    /// Ends the processes of the selected handles, and removes these handles.
    async fn end(&self, is_selected: impl Fn(&ReplicaHandle) -> bool) -> Result<(), Failure> {
        let handles: Vec<_> =
            self.handles.borrow().values().filter(|handle| is_selected(handle)).cloned().collect();
        let ended =
            join_all(handles.iter().map(|handle| handle.end(self.context.timeouts.end_timeout)))
                .await;
        for (handle, ended) in handles.iter().zip(&ended) {
            if ended.is_ok() {
                self.handles.borrow_mut().remove(&handle.folder);
            }
        }
        ended.into_iter().collect()
    }

    /// Moves stored samples to the desired storage, and removes surplus replicas.
    async fn prepare_folders(
        &self,
        lock: &FileLockGuard,
        folders: Vec<ReplicaFolder>,
        storage: PathBuf,
        other_storage: PathBuf,
    ) -> Result<(), Failure> {
        let slug = self.slug.clone();
        lock.run_blocking("write the files of the instance", move |cancel| {
            data::check_apart(&storage.join(&slug), &other_storage.join(&slug))?;
            for folder in &folders {
                folder.make()?;
                let number = folder.number().unwrap_or_default();
                data::move_data(
                    &ReplicaFolder::new(&other_storage, &slug, number),
                    folder,
                    cancel,
                )?;
            }
            for root in [&storage, &other_storage] {
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
        plan.handle.reset();
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
        self.abort_supervisors();
    }
}

impl ReplicaPlan {
    async fn write(&self, lock: &FileLockGuard) -> Result<(), Failure> {
        let (files, folder) = (self.files.clone(), self.handle.folder.clone());
        lock.run_blocking("write the files of the instance", move |cancel| {
            files.write(&folder, cancel)
        })
        .await
    }

    /// Whether the running process can be kept. Reloads its configuration if that has changed.
    async fn is_current_or_reloaded(&self, context: &ProcessContext) -> Result<bool, Failure> {
        let Some(identity) = self.handle.identity() else { return Ok(false) };
        let Some(port) = self.launch.port_of(identity.pid) else { return Ok(false) };
        if !context.paths.ports.contains(&port) {
            return Ok(false);
        }
        match self.handle.loaded() {
            loaded if loaded == self.launch.digest => return Ok(true),
            // Unknown: a reload was interrupted.
            loaded if loaded.is_empty() => return Ok(false),
            _ => {}
        }
        let (url, password) = (self.launch.url(port), &self.launch.password);
        // SIGHUP would end a Prometheus that has not installed its signal handler yet.
        if !context.health_probe.is_ready(&url, password).await {
            return Ok(false);
        }
        let Some(before) = context.health_probe.last_reload(&url, password).await else {
            return Ok(false);
        };
        // Until the reload is confirmed the process may have the old or the new configuration.
        self.note("")?;
        let log_start = log_file::length(&self.handle.folder);
        let sent = self.handle.running.borrow_mut().as_mut().map(|it| it.signal(Signal::HUP));
        if !matches!(sent, Some(Ok(()))) {
            return Ok(false);
        }
        let deadline = Instant::now() + context.timeouts.reload_timeout;
        while Instant::now() < deadline {
            tokio::time::sleep(RELOAD_POLL_INTERVAL).await;
            let Some(now) = context.health_probe.last_reload(&url, password).await else {
                continue;
            };
            if now.was_successful && now.at != before.at {
                self.note(&self.launch.digest)?;
                return Ok(true);
            }
            if before.was_successful && !now.was_successful {
                let redaction = &self.launch.redaction;
                let message = log_file::last_error(&self.handle.folder, log_start, redaction);
                let message = message.map(|message| format!(": {message}")).unwrap_or_default();
                return Err(Failure::permanent(format!(
                    "Prometheus refuses its configuration{message}"
                )));
            }
        }
        // The restart either succeeds or logs the reason of the failure.
        Ok(false)
    }

    fn note(&self, loaded: &str) -> Result<(), Failure> {
        self.handle.note(loaded).map_err(|error| {
            tracing::error!(%error, folder = %self.handle.folder.path().display(), "pid file not written");
            Failure::transient(format!("the broker cannot write its files: {}", error.kind()))
        })
    }
}
