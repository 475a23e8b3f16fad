//! Reconcile loop: runs pending operations and records the outcome.

use super::{
    DesiredInstance, Provisioner,
    lease::Lease,
    operation_runner::{Age, OperationRunner, ProvisionContext, ReconcilerSettings, Task},
};
use crate::{
    domain::{
        InstanceId, OperationKind, OperationState, ServiceInstance,
        prometheus::{Replica, StoredPrometheus},
    },
    secrets::Keys,
    store::{Operation, StoreError, clock, operations, prometheus, replicas, state},
};
use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Interval at which the database is checked for operations of other replicas, and the provisioner
/// for the state of instances.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the pending operations with one provisioner, while this process holds the lease.
#[derive(Debug)]
pub struct Reconciler {
    context: Rc<ProvisionContext>,
    lease: Lease,
    operations_changed: Arc<Notify>,
    running: HashMap<InstanceId, RunningTask>,
    tasks: JoinSet<InstanceId>,
    /// Instances that were applied since this process became the leader.
    applied: HashSet<InstanceId>,
    /// The replicas of each instance as they were last written to the database.
    stored_replicas: HashMap<InstanceId, Vec<Replica>>,
    /// The store and the revision of it that was read last.
    revision_read: Option<(String, i64)>,
    is_store_unavailable: bool,
    /// Whether the holder of the lease runs its instances at another location.
    has_other_location: bool,
}

#[derive(Debug)]
struct RunningTask {
    /// `None` for a [`Task::Restore`].
    operation_id: Option<String>,
    stop: CancellationToken,
    task: tokio::task::Id,
}

/// The operations and the desired instances at one revision of the store.
#[derive(Debug)]
struct PendingOperations {
    /// Time of the database, in milliseconds since 1970.
    now: i64,
    operations: Vec<Operation>,
    desired: HashMap<InstanceId, (ServiceInstance, StoredPrometheus)>,
}

impl Reconciler {
    /// `operations_changed` is notified after an operation was stored by this process.
    pub fn new(
        lease: Lease,
        keys: Arc<Keys>,
        provisioner: Rc<dyn Provisioner>,
        settings: ReconcilerSettings,
        operations_changed: Arc<Notify>,
    ) -> Self {
        let store = lease.store().clone();
        let context = Rc::new(ProvisionContext { store, keys, provisioner, settings });
        Self {
            context,
            lease,
            operations_changed,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            applied: HashSet::new(),
            stored_replicas: HashMap::new(),
            revision_read: None,
            is_store_unavailable: false,
            has_other_location: false,
        }
    }

    /// Runs until `shutdown`, then stops the provisioner and releases the lease.
    ///
    /// Requires a `LocalSet`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            self.reconcile().await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.operations_changed.notified() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                Some(ended) = self.tasks.join_next() => self.task_ended(ended),
            }
        }
        self.stop_all().await;
        if let Err(error) = self.lease.release().await {
            tracing::warn!(%error, "lease not released; another replica must wait until it expires");
        }
    }

    async fn reconcile(&mut self) {
        let pass = async {
            if !self.lease.renew().await? {
                return Ok(false);
            }
            self.start_pending().await?;
            self.store_replicas().await?;
            Ok::<_, StoreError>(true)
        };
        match pass.await {
            Ok(is_leader) => {
                if !is_leader && self.is_active() {
                    tracing::warn!("another replica is the leader now");
                    self.stop_all().await;
                }
                self.report_other_location();
                if std::mem::take(&mut self.is_store_unavailable) {
                    tracing::info!("pending operations can be read again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_store_unavailable, true) {
                    tracing::warn!(%error, "pending operations cannot be read");
                }
                if self.lease.has_expired() && self.is_active() {
                    self.stop_all().await;
                }
            }
        }
    }

    /// Logs that the leader runs its instances at another location.
    ///
    /// [`Lease::claim`] refuses this at the start. It still happens when the lease is lost while the
    /// database is unavailable.
    fn report_other_location(&mut self) {
        let other = self.lease.other_location();
        let was_elsewhere = std::mem::replace(&mut self.has_other_location, other.is_some());
        if let (Some(other), false) = (other, was_elsewhere) {
            tracing::error!(
                other,
                "another process with this database runs Prometheus servers that cannot be queried \
                 from here; stop one of the two"
            );
        }
    }

    /// Whether this process may have instances that the next leader would start as well.
    fn is_active(&self) -> bool {
        !self.applied.is_empty() || !self.running.is_empty()
    }

    /// Cancels all tasks and stops the provisioner.
    async fn stop_all(&mut self) {
        self.running.values().for_each(|running| running.stop.cancel());
        while self.tasks.join_next().await.is_some() {}
        self.running.clear();
        self.applied.clear();
        self.stored_replicas.clear();
        self.revision_read = None;
        self.context.provisioner.stop().await;
    }

    fn task_ended(&mut self, ended: Result<InstanceId, tokio::task::JoinError>) {
        // The next pass must read the store even if the revision is the same.
        self.revision_read = None;
        match ended {
            Ok(id) => drop(self.running.remove(&id)),
            // A task that panicked has logged that; its operation is still pending.
            Err(error) => self.running.retain(|_, running| running.task != error.id()),
        }
    }

    /// Starts pending operations and cancels those that a newer operation replaced.
    async fn start_pending(&mut self) -> Result<(), StoreError> {
        let Some(pending) = self.read().await? else { return Ok(()) };
        self.applied.retain(|id| pending.desired.contains_key(id));
        for operation in pending.operations {
            let id = operation.instance_id.clone();
            let is_open = operation.state == OperationState::InProgress;
            if let Some(running) = self.running.get(&id) {
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
            let Some((instance, row)) = pending.desired.get(&id) else { continue };
            let age = Age::new(operation.started_at, pending.now);
            let task = match is_open {
                true => Task::Operation(operation),
                false if was_made && !self.applied.contains(&id) => Task::Restore,
                false => continue,
            };
            let desired = DesiredInstance::read(
                instance.clone(),
                row,
                &self.context.keys,
                &self.context.settings.remote_writes,
                &self.context.settings.own,
            );
            self.start(id, task, age, desired);
        }
        Ok(())
    }

    fn start(
        &mut self,
        id: InstanceId,
        task: Task,
        age: Age,
        desired: Result<DesiredInstance, super::DesiredInstanceError>,
    ) {
        let stop = CancellationToken::new();
        let operation_id = match &task {
            Task::Operation(operation) => Some(operation.operation_id.clone()),
            Task::Restore => None,
        };
        let is_update = matches!(&task, Task::Operation(it) if it.kind == OperationKind::Update);
        let runner = OperationRunner {
            context: Rc::clone(&self.context),
            id: id.clone(),
            task,
            age,
            desired,
        };
        let (done, stopped) = (id.clone(), stop.clone());
        let handle = self.tasks.spawn_local(async move {
            stopped.run_until_cancelled(runner.run()).await;
            done
        });
        // An update that fails restores the previous spec in the database, which has to be applied.
        match is_update {
            true => drop(self.applied.remove(&id)),
            false => drop(self.applied.insert(id.clone())),
        }
        self.running.insert(id, RunningTask { operation_id, stop, task: handle.id() });
    }

    async fn read(&mut self) -> Result<Option<PendingOperations>, StoreError> {
        let mut tx = self.context.store.begin_read().await?;
        let state = state::read(&mut tx).await?;
        let revision = Some((state.store_id, state.revision));
        if self.revision_read == revision {
            return Ok(None);
        }
        let stored = prometheus::all(&mut tx).await?.into_iter();
        let desired = stored.map(|both| (both.1.instance_id.clone(), both)).collect();
        let operations = operations::all(&mut tx).await?;
        let now = clock::now(&mut tx).await?;
        self.revision_read = revision;
        Ok(Some(PendingOperations { now, operations, desired }))
    }

    /// Stores the replicas of each instance where they changed.
    async fn store_replicas(&mut self) -> Result<(), StoreError> {
        let now = self.context.provisioner.observe();
        let changed: Vec<_> = now
            .iter()
            .filter(|(id, replicas)| self.stored_replicas.get(*id) != Some(*replicas))
            .collect();
        if !changed.is_empty() {
            let mut tx = self.context.store.begin_write().await?;
            for (id, replicas) in changed {
                replicas::replace(&mut tx, id, replicas).await?;
            }
            tx.commit().await?;
        }
        self.stored_replicas = now;
        Ok(())
    }
}
