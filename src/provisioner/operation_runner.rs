//! Runs one operation on one instance and records its outcome.

use super::{
    Failure, Provisioner,
    desired::{DesiredInstance, DesiredInstanceError, OwnAddress, RemoteWrites},
    redaction::Redaction,
};
use crate::{
    domain::{
        InstanceId, OperationKind, OperationState,
        prometheus::{Replica, StoredPrometheus},
    },
    secrets::Keys,
    store::{Operation, Store, StoreError, Tx, instances, operations, prometheus, replicas},
};
use std::{rc::Rc, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Pause after the first failure that may be transient. It doubles up to [`MAX_BACKOFF`].
const INITIAL_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(15);

/// Interval at which a failed write to the database is retried.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Settings of the reconciler.
#[derive(Debug)]
pub struct ReconcilerSettings {
    /// The configured remote write targets.
    pub remote_writes: RemoteWrites,
    /// The addresses of Scrapebroker.
    pub own: OwnAddress,
    /// An operation fails when it takes longer.
    pub operation_timeout: Duration,
}

/// Dependencies shared by running operations.
#[derive(Debug)]
pub(super) struct ProvisionContext {
    pub(super) store: Store,
    pub(super) keys: Arc<Keys>,
    pub(super) provisioner: Rc<dyn Provisioner>,
    pub(super) settings: ReconcilerSettings,
}

/// The task of an [`OperationRunner`].
#[derive(Debug)]
pub(super) enum Task {
    /// An operation that a user requested.
    Operation(Operation),
    /// Starts an instance again that existed before this process started.
    Restore,
}

/// Age of an operation. Both times come from the database's clock; the local clock only measures
/// the time that has passed since they were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    when_read: Duration,
    read_at: Instant,
}

impl Age {
    /// Both times are in milliseconds since 1970.
    pub(super) fn new(started_at: i64, now: i64) -> Self {
        let age = u64::try_from(now.saturating_sub(started_at)).unwrap_or(0);
        Self { when_read: Duration::from_millis(age), read_at: Instant::now() }
    }

    /// How long the operation may still take. At least a quarter of `timeout`, so that an operation
    /// can succeed after a long downtime of Scrapebroker.
    fn left_of(self, timeout: Duration) -> Duration {
        let age = self.when_read.saturating_add(self.read_at.elapsed());
        timeout.saturating_sub(age).clamp(timeout / 4, timeout)
    }
}

/// Runs a [`Task`] on one instance.
#[derive(Debug)]
pub(super) struct OperationRunner {
    pub(super) context: Rc<ProvisionContext>,
    pub(super) id: InstanceId,
    pub(super) task: Task,
    pub(super) age: Age,
    pub(super) desired: Result<DesiredInstance, DesiredInstanceError>,
}

impl OperationRunner {
    pub(super) async fn run(self) {
        match &self.task {
            Task::Restore => self.restore().await,
            Task::Operation(operation) => {
                let (kind, id) = (operation.kind, &operation.operation_id);
                tracing::info!(instance.id = %self.id, operation.id = id, kind = %kind, "operation started");
                match kind {
                    OperationKind::Provision | OperationKind::Update => {
                        self.provision_or_update(operation).await
                    }
                    OperationKind::Deprovision => self.remove(operation).await,
                }
                tracing::info!(instance.id = %self.id, operation.id = id, kind = %kind, "operation ended");
            }
        }
    }

    /// Retries without a deadline, because no operation reports a failure.
    async fn restore(&self) {
        let mut pause = INITIAL_BACKOFF;
        loop {
            match self.apply().await {
                Ok(replicas) => {
                    self.write(async |tx| replicas::replace(tx, &self.id, &replicas).await).await;
                    return;
                }
                Err(failure) => {
                    tracing::error!(instance.id = %self.id, %failure, "instance not restored; retrying");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(4 * MAX_BACKOFF);
        }
    }

    async fn apply(&self) -> Result<Vec<Replica>, Failure> {
        let desired =
            self.desired.as_ref().map_err(|error| Failure::permanent(error.to_string()))?;
        let applied = self.context.provisioner.apply(desired).await;
        applied.map_err(|Failure { reason, retry }| {
            let reason = Redaction::of(desired).apply(&reason).into_owned();
            Failure { reason, retry }
        })
    }

    async fn provision_or_update(&self, operation: &Operation) {
        let applied = self.until_deadline(operation, async || self.apply().await).await;
        let failure = match applied {
            Ok(replicas) => {
                self.write(async |tx| {
                    replicas::replace(tx, &self.id, &replicas).await?;
                    note(tx, operation, OperationState::Succeeded, "ready").await
                })
                .await;
                return;
            }
            Err(failure) => failure,
        };
        tracing::error!(instance.id = %self.id, %failure, kind = %operation.kind, "operation failed");
        if operation.kind == OperationKind::Provision {
            let removed =
                self.until_deadline(operation, async || self.remove_instance().await).await;
            let leftover = removed.err().map(|failure| {
                tracing::error!(instance.id = %self.id, %failure, "failed instance not removed completely");
                " (it was not removed completely; delete the instance to remove the rest)"
            });
            let why = format!("{failure}{}", leftover.unwrap_or_default());
            self.write(async |tx| {
                replicas::replace(tx, &self.id, &[]).await?;
                note(tx, operation, OperationState::Failed, &why).await
            })
            .await;
            return;
        }
        let why = format!("{failure}; the instance stays as it was");
        self.write(async |tx| {
            if operations::update_state(tx, &operation.operation_id, OperationState::Failed, &why)
                .await?
            {
                restore_before(tx, operation).await?;
            }
            Ok(())
        })
        .await;
    }

    async fn remove(&self, operation: &Operation) {
        match self.until_deadline(operation, async || self.remove_instance().await).await {
            Ok(()) => {
                // The row is deleted last: if the process is killed before, the operation is
                // still pending. The comparison protects a new instance with the same id that
                // another leader has provisioned meanwhile.
                self.write(async |tx| match operations::find(tx, &self.id).await? {
                    Some(last) if last.operation_id == operation.operation_id => {
                        instances::delete(tx, &self.id).await
                    }
                    _ => Ok(()),
                })
                .await;
                tracing::info!(instance.id = %self.id, "instance deprovisioned");
            }
            Err(failure) => {
                let why = failure.to_string();
                tracing::error!(instance.id = %self.id, %failure, "instance not deprovisioned");
                self.write(async |tx| note(tx, operation, OperationState::Failed, &why).await)
                    .await;
            }
        }
    }

    async fn remove_instance(&self) -> Result<(), Failure> {
        self.context.provisioner.remove(&self.id).await
    }

    /// Retries until `work` succeeds, fails permanently or exceeds the operation timeout.
    async fn until_deadline<T>(
        &self,
        operation: &Operation,
        work: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let remaining = self.age.left_of(self.context.settings.operation_timeout);
        let deadline = Instant::now() + remaining;
        let (mut pause, mut last) = (INITIAL_BACKOFF, None);
        loop {
            let failure = match tokio::time::timeout_at(deadline, work()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    let late = "it took too long".to_owned();
                    return Err(Failure::permanent(last.unwrap_or(late)));
                }
            };
            if !failure.retry || Instant::now() + pause >= deadline {
                return Err(failure);
            }
            tracing::warn!(instance.id = %self.id, %failure, kind = %operation.kind, "operation failed; retrying");
            let reason = failure.reason.clone();
            if last.as_ref() != Some(&reason) {
                let noted = format!("trying again: {reason}");
                self.write(async |tx| {
                    note(tx, operation, OperationState::InProgress, &noted).await
                })
                .await;
            }
            last = Some(reason);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_BACKOFF);
        }
    }

    /// Runs `work` in a transaction; retries until the database is available.
    async fn write(&self, work: impl AsyncFn(&mut Tx) -> Result<(), StoreError>) {
        loop {
            let written = async {
                let mut tx = self.context.store.begin_write().await?;
                tx.lock(self.id.as_str()).await?;
                work(&mut tx).await?;
                tx.commit().await
            };
            match written.await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, instance.id = %self.id, "outcome of an operation not stored; retrying");
                }
            }
            tokio::time::sleep(STORE_RETRY_INTERVAL).await;
        }
    }
}

async fn note(
    tx: &mut Tx,
    operation: &Operation,
    state: OperationState,
    description: &str,
) -> Result<(), StoreError> {
    // The result is ignored: a superseded operation has no row.
    operations::update_state(tx, &operation.operation_id, state, description).await.map(drop)
}

/// Restores the instance as it was stored before an update.
async fn restore_before(tx: &mut Tx, operation: &Operation) -> Result<(), StoreError> {
    let id = &operation.instance_id;
    let Some(before) = &operation.before else { return Ok(()) };
    let (instance, row) = (instances::find(tx, id).await?, prometheus::find(tx, id).await?);
    let (Some(mut instance), Some(row)) = (instance, row) else { return Ok(()) };
    instance.plan_id = before.plan_id.clone();
    instance.parameters.clone_from(&before.parameters);
    instances::update(tx, &instance).await?;
    let row = StoredPrometheus { replicas: before.replicas, spec: before.spec.clone(), ..row };
    prometheus::put(tx, &row).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_operation_is_as_old_as_the_database_says() {
        let timeout = Duration::from_secs(100);
        let hour = 3_600_000;
        for (started_at, now, left) in [
            (5 * hour, 5 * hour, 100),
            (5 * hour, 5 * hour + 30_000, 70),
            (5 * hour, 5 * hour + 90_000, 25),
            (5 * hour, 9 * hour, 25),
            // The database's clock was set back.
            (5 * hour, 4 * hour, 100),
            (i64::MAX, i64::MIN, 100),
            (i64::MIN, i64::MAX, 25),
        ] {
            let left_now = Age::new(started_at, now).left_of(timeout).as_secs();
            assert_eq!(left_now, left, "{started_at} {now}");
        }
        let age = Age::new(0, 10_000);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(age.left_of(timeout).as_secs(), 70);
    }
}
