//! The loop: finds orders, has each carried out, and writes down what comes of it.

use super::{
    Provisioner, Wanted,
    errand::{Age, Errand, Work},
    lease::Lease,
    office::{Office, Settings},
};
use crate::{
    domain::{InstanceId, OperationKind, OperationState, prometheus::Replica},
    secrets::Keys,
    store::{
        Operation, PrometheusInstance, ServiceInstance, StoreError, clock, instances, operations,
        prometheus, replicas, state,
    },
};
use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// How often is looked for orders of other replicas, and how instances do.
const LOOK: Duration = Duration::from_secs(1);

/// Carries out what is ordered, with one provisioner.
#[derive(Debug)]
pub struct Conductor {
    office: Rc<Office>,
    lease: Lease,
    ordered: Arc<Notify>,
    errands: HashMap<InstanceId, Running>,
    tasks: JoinSet<InstanceId>,
    /// Instances that were applied since we began to conduct.
    kept: HashSet<InstanceId>,
    /// What was last written of each.
    observed: HashMap<InstanceId, Vec<Replica>>,
    /// Which revision of the store was looked at.
    seen: Option<(String, i64)>,
    is_away: bool,
    /// Whether another holder of the lease runs instances elsewhere.
    is_elsewhere: bool,
}

#[derive(Debug)]
struct Running {
    /// The operation that it carries out; none if it only brings back what was there.
    operation_id: Option<String>,
    stop: CancellationToken,
    task: tokio::task::Id,
}

/// One look at the store.
#[derive(Debug)]
struct Orders {
    /// By the clock of the database.
    now: i64,
    operations: Vec<Operation>,
    wanted: HashMap<InstanceId, (ServiceInstance, PrometheusInstance)>,
}

impl Conductor {
    /// Ready to begin. `ordered` is notified when there is something to look for.
    pub fn new(
        lease: Lease,
        keys: Arc<Keys>,
        provisioner: Rc<dyn Provisioner>,
        settings: Settings,
        ordered: Arc<Notify>,
    ) -> Self {
        let store = lease.store().clone();
        let office = Rc::new(Office { store, keys, provisioner, settings });
        Self {
            office,
            lease,
            ordered,
            errands: HashMap::new(),
            tasks: JoinSet::new(),
            kept: HashSet::new(),
            observed: HashMap::new(),
            seen: None,
            is_away: false,
            is_elsewhere: false,
        }
    }

    /// Conducts until `shutdown`, then stops what must not go on without us.
    ///
    /// The caller must be where `tokio::task::spawn_local` works.
    pub async fn conduct(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            self.round().await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.ordered.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                Some(ended) = self.tasks.join_next() => self.end(ended),
            }
        }
        self.leave().await;
        if let Err(error) = self.lease.give_back().await {
            tracing::warn!(%error, "another replica has to wait before it can provision");
        }
    }

    async fn round(&mut self) {
        let round = async {
            if !self.lease.hold().await? {
                return Ok(false);
            }
            self.look().await?;
            self.observe().await?;
            Ok::<_, StoreError>(true)
        };
        match round.await {
            Ok(is_held) => {
                if !is_held && self.conducts() {
                    tracing::warn!("another replica provisions from now on");
                    self.leave().await;
                }
                self.report_other_home();
                if std::mem::take(&mut self.is_away) {
                    tracing::info!("pending operations can be read again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!(%error, "pending operations cannot be read");
                }
                if self.lease.has_run_out() && self.conducts() {
                    self.leave().await;
                }
            }
        }
    }

    /// The start refuses this; it happens when the lease was lost while the database was away.
    fn report_other_home(&mut self) {
        let other = self.lease.other_home();
        let was_elsewhere = std::mem::replace(&mut self.is_elsewhere, other.is_some());
        if let (Some(other), false) = (other, was_elsewhere) {
            tracing::error!(
                other,
                "another process provisions with this database elsewhere; queries to its Prometheus \
                 servers fail here; stop one of the two"
            );
        }
    }

    /// Whether something is there that another conductor would make, too.
    fn conducts(&self) -> bool {
        !self.kept.is_empty() || !self.errands.is_empty()
    }

    /// Ends all errands and what the provisioner has running.
    async fn leave(&mut self) {
        self.errands.values().for_each(|running| running.stop.cancel());
        while self.tasks.join_next().await.is_some() {}
        self.errands.clear();
        self.kept.clear();
        self.observed.clear();
        self.seen = None;
        self.office.provisioner.stop().await;
    }

    fn end(&mut self, ended: Result<InstanceId, tokio::task::JoinError>) {
        // What has changed is found by the next look, whatever the revision is.
        self.seen = None;
        match ended {
            Ok(id) => drop(self.errands.remove(&id)),
            // It said why; the order is still there.
            Err(error) => self.errands.retain(|_, running| running.task != error.id()),
        }
    }

    /// Begins what is ordered and not begun, ends what is no longer wanted.
    async fn look(&mut self) -> Result<(), StoreError> {
        let Some(orders) = self.read().await? else { return Ok(()) };
        self.kept.retain(|id| orders.wanted.contains_key(id));
        for operation in orders.operations {
            let id = operation.instance_id.clone();
            let is_open = operation.state == OperationState::InProgress;
            if let Some(running) = self.errands.get(&id) {
                let is_same = running.operation_id.as_ref() == Some(&operation.operation_id);
                if is_open && !is_same {
                    running.stop.cancel();
                }
                continue;
            }
            let was_made = match operation.kind {
                OperationKind::Provision => operation.state == OperationState::Succeeded,
                OperationKind::Update => true,
                OperationKind::Deprovision => false,
            };
            let Some((instance, row)) = orders.wanted.get(&id) else { continue };
            let age = Age::new(operation.started_at, orders.now);
            let work = match is_open {
                true => Work::Order(operation),
                false if was_made && !self.kept.contains(&id) => Work::Keep,
                false => continue,
            };
            let wanted = Wanted::read(
                instance.clone(),
                row,
                &self.office.keys,
                &self.office.settings.remote_writes,
                &self.office.settings.own,
            );
            self.begin(id, work, age, wanted);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        id: InstanceId,
        work: Work,
        age: Age,
        wanted: Result<Wanted, super::WantedError>,
    ) {
        let stop = CancellationToken::new();
        let operation_id = match &work {
            Work::Order(operation) => Some(operation.operation_id.clone()),
            Work::Keep => None,
        };
        let is_update = matches!(&work, Work::Order(it) if it.kind == OperationKind::Update);
        let errand = Errand { office: Rc::clone(&self.office), id: id.clone(), work, age, wanted };
        let (done, stopped) = (id.clone(), stop.clone());
        let task = self.tasks.spawn_local(async move {
            stopped.run_until_cancelled(errand.carry_out()).await;
            done
        });
        // An update that fails leaves what it was before, which has to be brought back.
        match is_update {
            true => drop(self.kept.remove(&id)),
            false => drop(self.kept.insert(id.clone())),
        }
        self.errands.insert(id, Running { operation_id, stop, task: task.id() });
    }

    async fn read(&mut self) -> Result<Option<Orders>, StoreError> {
        let mut tx = self.office.store.begin_read().await?;
        let state = state::read(&mut tx).await?;
        let revision = Some((state.store_id, state.revision));
        if self.seen == revision {
            return Ok(None);
        }
        let rows = readable(prometheus::all(&mut tx).await?);
        let mut rows: HashMap<_, _> =
            rows.into_iter().map(|row| (row.instance_id.clone(), row)).collect();
        let instances = readable(instances::of_prometheus(&mut tx).await?).into_iter();
        let wanted = instances.filter_map(|instance| {
            let row = rows.remove(&instance.instance_id)?;
            Some((instance.instance_id.clone(), (instance, row)))
        });
        let wanted = wanted.collect();
        let operations = readable(operations::all(&mut tx).await?);
        let now = clock::now(&mut tx).await?;
        self.seen = revision;
        Ok(Some(Orders { now, operations, wanted }))
    }

    /// Writes down how the replicas do, where that has changed.
    async fn observe(&mut self) -> Result<(), StoreError> {
        let now = self.office.provisioner.observe();
        let changed: Vec<_> =
            now.iter().filter(|(id, replicas)| self.observed.get(*id) != Some(*replicas)).collect();
        if !changed.is_empty() {
            let mut tx = self.office.store.begin_write().await?;
            for (id, replicas) in changed {
                replicas::replace(&mut tx, id, replicas).await?;
            }
            tx.commit().await?;
        }
        self.observed = now;
        Ok(())
    }
}

fn readable<T>(rows: Vec<Result<T, StoreError>>) -> Vec<T> {
    let readable = |row: Result<T, StoreError>| {
        row.inspect_err(|error| tracing::error!(%error, "an order cannot be read")).ok()
    };
    rows.into_iter().filter_map(readable).collect()
}
