//! One operation on one instance, from its row to its end.

use super::{Failure, Wanted, WantedError, office::Office};
use crate::{
    domain::{InstanceId, OperationKind, OperationState, prometheus::Replica},
    store::{
        Operation, PrometheusInstance, StoreError, Tx, instances, operations, prometheus, replicas,
    },
};
use std::{
    rc::Rc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// The first pause after a failure that may pass, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// How often is tried again to write down what was done.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    /// What somebody waits for.
    Order(Operation),
    /// What was there before we started is brought back.
    Keep,
}

/// Somebody who does it.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) office: Rc<Office>,
    pub(super) id: InstanceId,
    pub(super) work: Work,
    pub(super) wanted: Result<Wanted, WantedError>,
}

impl Errand {
    pub(super) async fn carry_out(self) {
        match &self.work {
            Work::Keep => self.keep().await,
            Work::Order(operation) => {
                let (kind, id) = (operation.kind, &operation.operation_id);
                tracing::info!(instance.id = %self.id, operation.id = id, "{kind} begins");
                match kind {
                    OperationKind::Provision | OperationKind::Update => self.make(operation).await,
                    OperationKind::Deprovision => self.remove(operation).await,
                }
                tracing::info!(instance.id = %self.id, operation.id = id, "{kind} has ended");
            }
        }
    }

    /// Brings back what was there; nobody waits for it, so it is never given up.
    async fn keep(&self) {
        let mut pause = PAUSES.0;
        loop {
            match self.apply().await {
                Ok(replicas) => {
                    self.write(async |tx| replicas::replace(tx, &self.id, &replicas).await).await;
                    return;
                }
                Err(failure) => {
                    tracing::error!(instance.id = %self.id, %failure, "an instance is not back yet");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(4 * PAUSES.1);
        }
    }

    async fn apply(&self) -> Result<Vec<Replica>, Failure> {
        let wanted = self.wanted.as_ref().map_err(|error| Failure::lasting(error.to_string()))?;
        self.office.provisioner.apply(wanted).await
    }

    async fn make(&self, operation: &Operation) {
        let made = self.until_deadline(operation, async || self.apply().await).await;
        let failure = match made {
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
        tracing::error!(instance.id = %self.id, %failure, "{} failed", operation.kind);
        if operation.kind == OperationKind::Provision {
            let removed = self.until_deadline(operation, async || self.take_away().await).await;
            let left = removed.err().map(|left| {
                tracing::error!(instance.id = %self.id, failure = %left, "something of it is left");
                " (something of it is left, and goes when it is deleted)"
            });
            let why = format!("{failure}{}", left.unwrap_or_default());
            self.write(async |tx| {
                replicas::replace(tx, &self.id, &[]).await?;
                note(tx, operation, OperationState::Failed, &why).await
            })
            .await;
            return;
        }
        let why = format!("{failure}; the instance stays as it was");
        self.write(async |tx| {
            if operations::note(tx, &operation.operation_id, OperationState::Failed, &why).await? {
                go_back(tx, operation).await?;
            }
            Ok(())
        })
        .await;
    }

    async fn remove(&self, operation: &Operation) {
        match self.until_deadline(operation, async || self.take_away().await).await {
            Ok(()) => {
                // Last of all, so that whoever is killed before finds the order again.
                // If somebody else has conducted meanwhile, an instance with this id is another one.
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
                tracing::error!(instance.id = %self.id, %failure, "an instance is not removed");
                self.write(async |tx| note(tx, operation, OperationState::Failed, &why).await)
                    .await;
            }
        }
    }

    async fn take_away(&self) -> Result<(), Failure> {
        self.office.provisioner.remove(&self.id).await
    }

    /// Tries until it is done, cannot be done, or takes too long.
    async fn until_deadline<T>(
        &self,
        operation: &Operation,
        work: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let left = left_of(operation, self.office.settings.operation_timeout);
        let deadline = Instant::now() + left;
        let (mut pause, mut last) = (PAUSES.0, None);
        loop {
            let failure = match tokio::time::timeout_at(deadline, work()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    let late = "it took too long".to_owned();
                    return Err(Failure::lasting(last.unwrap_or(late)));
                }
            };
            if !failure.retry || Instant::now() + pause >= deadline {
                return Err(failure);
            }
            tracing::warn!(instance.id = %self.id, %failure, "{} is tried again", operation.kind);
            let said = failure.reason.clone();
            if last.as_ref() != Some(&said) {
                let noted = format!("trying again: {said}");
                self.write(async |tx| {
                    note(tx, operation, OperationState::InProgress, &noted).await
                })
                .await;
            }
            last = Some(said);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Writes down what was done, as soon as the database is there.
    async fn write(&self, work: impl AsyncFn(&mut Tx) -> Result<(), StoreError>) {
        loop {
            let written = async {
                let mut tx = self.office.store.begin_write().await?;
                tx.lock(self.id.as_str()).await?;
                work(&mut tx).await?;
                tx.commit().await
            };
            match written.await {
                Ok(()) => return,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, instance.id = %self.id, "cannot write what was done: {error}");
                }
            }
            tokio::time::sleep(WRITE_AGAIN).await;
        }
    }
}

async fn note(
    tx: &mut Tx,
    operation: &Operation,
    state: OperationState,
    description: &str,
) -> Result<(), StoreError> {
    // Of one that was superseded nobody asks any more.
    operations::note(tx, &operation.operation_id, state, description).await.map(drop)
}

/// Undoes what an update has stored.
async fn go_back(tx: &mut Tx, operation: &Operation) -> Result<(), StoreError> {
    let id = &operation.instance_id;
    let Some(before) = &operation.before else { return Ok(()) };
    let (instance, row) = (instances::find(tx, id).await?, prometheus::find(tx, id).await?);
    let (Some(mut instance), Some(row)) = (instance, row) else { return Ok(()) };
    instance.plan_id = before.plan_id.clone();
    instance.parameters.clone_from(&before.parameters);
    instances::update(tx, &instance).await?;
    let row = PrometheusInstance { replicas: before.replicas, spec: before.spec.clone(), ..row };
    prometheus::put(tx, &row).await
}

/// How long an operation may still take. After a restart it gets a part of the
/// time again, however long we were away.
fn left_of(operation: &Operation, timeout: Duration) -> Duration {
    let started = u64::try_from(operation.started_at).unwrap_or(0);
    let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(started) + timeout;
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    left.clamp(timeout / 4, timeout)
}
