//! One instance: makes its replicas like they should be, and removes them.

use super::{
    Tools,
    admission::program,
    cgroup::Cgroup,
    data,
    files::Files,
    folder::Folder,
    launch::Launch,
    log_file,
    search::{self, Found},
    slot::{self, Slot},
    supervisor::Supervisor,
    turn::{Turn, Turns},
};
use crate::{
    domain::prometheus::{Replica, Storage},
    provision::{Failure, Wanted},
};
use futures_util::future::{join_all, try_join_all};
use rustix::process::Signal;
use std::{cell::RefCell, collections::BTreeMap, path::PathBuf, rc::Rc, time::Duration};
use tokio::{task::AbortHandle, time::Instant};

/// How often is looked whether a reload took.
const LOOK: Duration = Duration::from_millis(50);

/// All replicas of an instance.
#[derive(Debug)]
pub(super) struct Instance {
    slug: String,
    tools: Rc<Tools>,
    pub(super) turns: Turns,
    slots: RefCell<BTreeMap<Folder, Rc<Slot>>>,
    supervisors: RefCell<BTreeMap<Folder, AbortHandle>>,
}

/// What one replica should be like.
#[derive(Clone)]
struct Plan {
    slot: Rc<Slot>,
    launch: Rc<Launch>,
    files: Files,
}

impl Instance {
    pub(super) fn new(slug: String, tools: Rc<Tools>) -> Self {
        Self {
            slug,
            tools,
            turns: Turns::default(),
            slots: RefCell::default(),
            supervisors: RefCell::default(),
        }
    }

    pub(super) fn observe(&self) -> Vec<Replica> {
        let mut replicas: Vec<_> =
            self.slots.borrow().values().map(|slot| slot.replica()).collect();
        replicas.sort_by_key(|replica| replica.number);
        replicas
    }

    pub(super) async fn apply(&self, wanted: &Wanted) -> Result<Vec<Replica>, Failure> {
        let turn = self.turns.take().await;
        self.halt();
        let places = &self.tools.places;
        let program = program(places).map_err(Failure::lasting)?;
        let (home, other) = match wanted.spec.storage {
            Storage::Disk => (&places.data_dir, &places.tmpfs_dir),
            Storage::Tmpfs => (&places.tmpfs_dir, &places.data_dir),
        };
        let folder = |number| Folder::new(home, &self.slug, number);
        let folders: Vec<_> = (0..wanted.spec.replicas).map(folder).collect();
        self.find(&turn).await?;
        self.end(|slot| !folders.contains(&slot.folder)).await?;
        self.settle(&turn, folders.clone(), home.clone(), other.clone()).await?;

        let plan = |folder: &Folder| {
            let files = Files::render(wanted, folder.number().unwrap_or_default())?;
            let launch = Launch::new(program.clone(), folder, wanted, files.digest());
            Ok(Plan { slot: self.slot(folder), launch: Rc::new(launch), files })
        };
        let plans = folders.iter().map(plan).collect::<Result<Vec<_>, Failure>>()?;
        let (stand, run): (Vec<Plan>, Vec<Plan>) =
            plans.iter().cloned().partition(|plan| plan.slot.identity().is_none());
        for plan in &stand {
            plan.write(&turn).await?;
            self.supervise(plan);
        }
        for plan in &run {
            plan.write(&turn).await?;
            if !plan.is_as_wanted(&self.tools).await? {
                // The others answer meanwhile.
                try_join_all(self.supervised(&plans).iter().map(|slot| slot.settled())).await?;
                plan.slot.end(self.tools.patience.end).await?;
            }
            self.supervise(plan);
        }
        try_join_all(plans.iter().map(|plan| plan.slot.settled())).await
    }

    pub(super) async fn remove(&self) -> Result<(), Failure> {
        let turn = self.turns.take().await;
        self.halt();
        self.find(&turn).await?;
        self.end(|_| true).await?;
        let places = &self.tools.places;
        let paths = [&places.data_dir, &places.tmpfs_dir].map(|root| root.join(&self.slug));
        turn.work("remove the folder of the instance", move |_| {
            paths.iter().try_for_each(|path| data::remove_instance(path))
        })
        .await
    }

    /// Ends all processes; what is stored stays.
    pub(super) async fn stop(&self) {
        self.halt();
        // All of them before one is waited for: we may be given little time.
        self.slots.borrow().values().for_each(|slot| slot.ask_to_end());
        if let Err(failure) = self.end(|_| true).await {
            tracing::error!(%failure, slug = self.slug, "a Prometheus goes on without us");
        }
    }

    /// Nobody but the caller works on it from now on.
    fn halt(&self) {
        let supervisors = std::mem::take(&mut *self.supervisors.borrow_mut());
        supervisors.values().for_each(AbortHandle::abort);
    }

    fn slot(&self, folder: &Folder) -> Rc<Slot> {
        let mut slots = self.slots.borrow_mut();
        let new = || Rc::new(Slot::new(folder.clone()));
        Rc::clone(slots.entry(folder.clone()).or_insert_with(new))
    }

    /// Gives each process that runs in a folder of ours its slot.
    async fn find(&self, turn: &Turn) -> Result<(), Failure> {
        let places = &self.tools.places;
        let roots = [&places.data_dir, &places.tmpfs_dir].map(|root| root.join(&self.slug));
        let find = move |_: &_| Ok(search::in_folders(&roots));
        let found: Vec<Found> = turn.work("look for its processes", find).await?;
        for slot in self.slots.borrow().values() {
            let mut running = slot.running.borrow_mut();
            if running.as_mut().is_some_and(super::child::Running::has_ended) {
                *running = None;
            }
        }
        for found in found {
            let slot = self.slot(&found.folder);
            match slot.identity() {
                None => {
                    let cgroup = self.cgroup_of(&found);
                    slot.adopt(found.identity, cgroup);
                }
                Some(known) if known == found.identity => {}
                // Prometheus locks its data, so the second one is of no use.
                Some(_) => slot::end(found.identity, self.tools.patience.end).await?,
            }
        }
        Ok(())
    }

    /// The cgroup of a process that was started by an earlier Scrapebroker.
    fn cgroup_of(&self, found: &Found) -> Option<Cgroup> {
        let name = found.folder.unique_name().ok()?;
        self.tools.cgroups()?.of(&name, found.identity.pid)
    }

    /// Ends the processes of some slots, which then are none any more.
    async fn end(&self, which: impl Fn(&Slot) -> bool) -> Result<(), Failure> {
        let slots: Vec<_> =
            self.slots.borrow().values().filter(|slot| which(slot)).cloned().collect();
        let ended = join_all(slots.iter().map(|slot| slot.end(self.tools.patience.end))).await;
        for (slot, ended) in slots.iter().zip(&ended) {
            if ended.is_ok() {
                self.slots.borrow_mut().remove(&slot.folder);
            }
        }
        ended.into_iter().collect()
    }

    /// Brings what is stored to where it should be, and removes replicas that are too many.
    async fn settle(
        &self,
        turn: &Turn,
        folders: Vec<Folder>,
        home: PathBuf,
        other: PathBuf,
    ) -> Result<(), Failure> {
        let slug = self.slug.clone();
        turn.work("write the files of the instance", move |over| {
            data::check_apart(&home.join(&slug), &other.join(&slug))?;
            for folder in &folders {
                folder.make()?;
                let number = folder.number().unwrap_or_default();
                data::move_data(&Folder::new(&other, &slug, number), folder, over)?;
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

    fn supervise(&self, plan: &Plan) {
        plan.slot.begin();
        let supervisor = Supervisor {
            slot: Rc::clone(&plan.slot),
            launch: Rc::clone(&plan.launch),
            tools: Rc::clone(&self.tools),
        };
        let task = tokio::task::spawn_local(supervisor.supervise());
        let before =
            self.supervisors.borrow_mut().insert(plan.slot.folder.clone(), task.abort_handle());
        if let Some(before) = before {
            before.abort();
        }
    }

    fn supervised(&self, plans: &[Plan]) -> Vec<Rc<Slot>> {
        let supervisors = self.supervisors.borrow();
        let slots = plans.iter().map(|plan| &plan.slot);
        slots.filter(|slot| supervisors.contains_key(&slot.folder)).cloned().collect()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.halt();
    }
}

impl Plan {
    async fn write(&self, turn: &Turn) -> Result<(), Failure> {
        let (files, folder) = (self.files.clone(), self.slot.folder.clone());
        turn.work("write the files of the instance", move |over| files.write(&folder, over)).await
    }

    /// Whether the process that runs can stay. Has it read its files again if they
    /// have changed.
    async fn is_as_wanted(&self, tools: &Tools) -> Result<bool, Failure> {
        let Some(identity) = self.slot.identity() else { return Ok(false) };
        let Some(port) = self.launch.port_of(identity.pid) else { return Ok(false) };
        if !tools.places.ports.contains(&port) {
            return Ok(false);
        }
        match self.slot.loaded() {
            loaded if loaded == self.launch.digest => return Ok(true),
            // Nobody knows how far it has come.
            loaded if loaded.is_empty() => return Ok(false),
            _ => {}
        }
        let (url, password) = (self.launch.url(port), &self.launch.password);
        // A hangup ends a Prometheus that has not come far enough to listen to it.
        if !tools.asking.is_ready(&url, password).await {
            return Ok(false);
        }
        let Some(before) = tools.asking.last_reload(&url, password).await else { return Ok(false) };
        // From here on it may have either, until it says so.
        self.note("")?;
        let log_start = log_file::length(&self.slot.folder);
        let sent = self.slot.running.borrow_mut().as_mut().map(|it| it.signal(Signal::HUP));
        if !matches!(sent, Some(Ok(()))) {
            return Ok(false);
        }
        let deadline = Instant::now() + tools.patience.reload;
        while Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
            let Some(now) = tools.asking.last_reload(&url, password).await else { continue };
            if now.was_successful && now.at != before.at {
                self.note(&self.launch.digest)?;
                return Ok(true);
            }
            if before.was_successful && !now.was_successful {
                let redaction = &self.launch.redaction;
                let said = log_file::last_words(&self.slot.folder, log_start, redaction);
                let said = said.map(|said| format!(": {said}")).unwrap_or_default();
                return Err(Failure::lasting(format!(
                    "Prometheus refuses its configuration{said}"
                )));
            }
        }
        // It says why when it starts, or is well.
        Ok(false)
    }

    fn note(&self, loaded: &str) -> Result<(), Failure> {
        self.slot.note(loaded).map_err(|error| {
            tracing::error!(%error, folder = %self.slot.folder.path().display(), "cannot write pid");
            Failure::passing(format!("the broker cannot write its files: {}", error.kind()))
        })
    }
}
