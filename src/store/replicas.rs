//! Replicas of Prometheus instances and their health.

use super::{StoreError, Tx, instances::id, operations::word, prometheus::number, state};
use crate::domain::{
    InstanceId,
    prometheus::{Replica, ReplicaState},
};
use sqlx::{Row, any::AnyRow};

/// Replaces the replicas of an instance.
pub async fn replace(
    tx: &mut Tx,
    instance: &InstanceId,
    replicas: &[Replica],
) -> Result<(), StoreError> {
    state::bump(tx).await?;
    sqlx::query("DELETE FROM prometheus_replicas WHERE instance_id = $1")
        .bind(instance.as_str())
        .execute(tx.connection())
        .await?;
    for replica in replicas {
        // The instance may have been deleted in the meantime.
        sqlx::query(
            "INSERT INTO prometheus_replicas (instance_id, replica, url, state, problem) \
             SELECT instance_id, $2, $3, $4, $5 FROM prometheus_instances WHERE instance_id = $1",
        )
        .bind(instance.as_str())
        .bind(i64::from(replica.number))
        .bind(&replica.url)
        .bind(replica.state.as_str())
        .bind(&replica.problem)
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}

/// Returns all replicas with their instances, ordered by number.
pub async fn all(tx: &mut Tx) -> Result<Vec<(InstanceId, Replica)>, StoreError> {
    let rows = sqlx::query(
        "SELECT instance_id, replica, url, state, problem FROM prometheus_replicas \
         ORDER BY instance_id, replica",
    )
    .fetch_all(tx.connection())
    .await?;
    rows.iter().map(replica).collect()
}

fn replica(row: &AnyRow) -> Result<(InstanceId, Replica), StoreError> {
    let replica = Replica {
        number: number(row, "replica")?,
        url: row.try_get("url")?,
        state: word(row, "state", &ReplicaState::ALL, ReplicaState::as_str)?,
        problem: row.try_get("problem")?,
    };
    Ok((id(row, "instance_id")?, replica))
}
