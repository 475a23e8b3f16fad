//! One operation on one instance, from its row to its end.

use super::{Failure, Wanted, WantedError, office::Office, redaction::Redaction};
use crate::{
    domain::{InstanceId, OperationKind, OperationState, prometheus::Replica},
    store::{
        Operation, PrometheusInstance, StoreError, Tx, instances, operations, prometheus, replicas,
    },
};
use std::{rc::Rc, time::Duration};
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

/// How long ago an operation was ordered. The database's clock says both times, and our own only
/// measures what has passed since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    when_read: Duration,
    read_at: Instant,
}

impl Age {
    /// Both in milliseconds since 1970.
    pub(super) fn new(started_at: i64, now: i64) -> Self {
        let age = u64::try_from(now.saturating_sub(started_at)).unwrap_or(0);
        Self { when_read: Duration::from_millis(age), read_at: Instant::now() }
    }

    /// How long the operation may still take. After a restart it gets a part of the time again,
    /// however long we were away.
    fn left_of(self, timeout: Duration) -> Duration {
        let age = self.when_read.saturating_add(self.read_at.elapsed());
        timeout.saturating_sub(age).clamp(timeout / 4, timeout)
    }
}

/// Somebody who does it.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) office: Rc<Office>,
    pub(super) id: InstanceId,
    pub(super) work: Work,
    pub(super) age: Age,
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
        let applied = self.office.provisioner.apply(wanted).await;
        applied.map_err(|Failure { reason, retry }| {
            let reason = Redaction::of(wanted).apply(&reason).into_owned();
            Failure { reason, retry }
        })
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
            if operations::update_state(tx, &operation.operation_id, OperationState::Failed, &why)
                .await?
            {
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
        let left = self.age.left_of(self.office.settings.operation_timeout);
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
                    tracing::warn!(%error, instance.id = %self.id, "result of an operation not stored");
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
    operations::update_state(tx, &operation.operation_id, state, description).await.map(drop)
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
