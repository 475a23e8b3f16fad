//! Queues of events.

use crate::{
    domain::{BindingId, QueueId},
    store::{StoreError, Tx, instances::corrupt, state},
};
use sqlx::{Row, any::AnyRow};
use std::collections::HashMap;

/// A queue, and the numbers that bound its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    pub queue: QueueId,
    /// None for the queue of the installation.
    pub binding: Option<BindingId>,
    /// The newest event. Also the number of events that were ever accepted.
    pub last_seq: i64,
    /// All events up to it have expired.
    pub expired_seq: i64,
    /// No scraper needs an event up to it. May lag behind.
    pub floor_seq: i64,
    /// All events up to it were deleted.
    pub deleted_seq: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT queue_id, binding_id, last_seq, expired_seq, floor_seq, deleted_seq \
             FROM event_queues ",
            $rest
        )
    };
}

pub async fn find(tx: &mut Tx, queue: QueueId) -> Result<Option<QueueRow>, StoreError> {
    let row = sqlx::query(select!("WHERE queue_id = $1"))
        .bind(queue.get())
        .fetch_optional(tx.connection())
        .await?;
    row.as_ref().map(queue_row).transpose()
}

/// Locks a queue until the end of the transaction, and returns it as it is then. Returns `None` if
/// its binding was deleted. Several queues are locked in ascending order.
///
/// On SQLite a write transaction already locks the whole database. On PostgreSQL an `UPDATE` would
/// lock the queue too. But PostgreSQL checks the foreign keys of a row that a transaction updates for
/// the second time, and the check waits for a transaction that deletes the binding, which waits for
/// the queue.
pub async fn lock(tx: &mut Tx, queue: QueueId) -> Result<Option<QueueRow>, StoreError> {
    tx.lock_events();
    if tx.is_sqlite() {
        return find(tx, queue).await;
    }
    let row = sqlx::query(select!("WHERE queue_id = $1 FOR NO KEY UPDATE"))
        .bind(queue.get())
        .fetch_optional(tx.connection())
        .await?;
    row.as_ref().map(queue_row).transpose()
}

/// Returns all queues in ascending order.
pub async fn all(tx: &mut Tx) -> Result<Vec<QueueRow>, StoreError> {
    let rows = sqlx::query(select!("ORDER BY queue_id")).fetch_all(tx.connection()).await?;
    rows.iter().map(queue_row).collect()
}

/// Returns the queue of a binding, if it has one.
pub async fn of_binding(tx: &mut Tx, binding: &BindingId) -> Result<Option<QueueId>, StoreError> {
    let row = sqlx::query("SELECT queue_id FROM event_queues WHERE binding_id = $1")
        .bind(binding.as_str())
        .fetch_optional(tx.connection())
        .await?;
    row.map(|row| Ok(QueueId::new(row.try_get("queue_id")?))).transpose()
}

/// Returns the queues of bindings.
pub async fn bound(tx: &mut Tx) -> Result<HashMap<BindingId, QueueId>, StoreError> {
    let queues = all(tx).await?.into_iter();
    Ok(queues.filter_map(|it| Some((it.binding?, it.queue))).collect())
}

/// Creates the queue of a binding, unless it has one. This belongs to the transaction of the binding,
/// not to those of events.
pub async fn insert(tx: &mut Tx, binding: &BindingId) -> Result<(), StoreError> {
    let revision = state::bump(tx).await?;
    sqlx::query(
        "INSERT INTO event_queues \
         (queue_id, binding_id, last_seq, expired_seq, floor_seq, deleted_seq) \
         VALUES ($1, $2, 0, 0, 0, 0) ON CONFLICT (binding_id) DO NOTHING",
    )
    .bind(revision)
    .bind(binding.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Stores the numbers of a locked queue. A transaction does this once per queue.
pub async fn set_numbers(tx: &mut Tx, row: &QueueRow) -> Result<(), StoreError> {
    tx.lock_events();
    sqlx::query(
        "UPDATE event_queues SET last_seq = $2, expired_seq = $3, floor_seq = $4, \
         deleted_seq = $5 WHERE queue_id = $1",
    )
    .bind(row.queue.get())
    .bind(row.last_seq)
    .bind(row.expired_seq)
    .bind(row.floor_seq)
    .bind(row.deleted_seq)
    .execute(tx.connection())
    .await?;
    Ok(())
}

fn queue_row(row: &AnyRow) -> Result<QueueRow, StoreError> {
    let binding: Option<String> = row.try_get("binding_id")?;
    let binding = binding.map(|text| text.parse().map_err(|error| corrupt("binding_id", &error)));
    Ok(QueueRow {
        queue: QueueId::new(row.try_get("queue_id")?),
        binding: binding.transpose()?,
        last_seq: row.try_get("last_seq")?,
        expired_seq: row.try_get("expired_seq")?,
        floor_seq: row.try_get("floor_seq")?,
        deleted_seq: row.try_get("deleted_seq")?,
    })
}
