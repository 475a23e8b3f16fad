//! Idempotency keys: what the first of several equal requests stored.

use super::statements::{MAX_ROWS, chunks, limit_of, list, search, values};
use crate::{
    domain::QueueId,
    store::{StoreError, Tx},
};
use sqlx::{AssertSqlSafe, Row, any::AnyRow};

/// A request with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    pub key: String,
    /// Digest of the events of the request.
    pub digest: String,
    pub first_seq: i64,
    /// Number of the events that it stored.
    pub events: i64,
    /// Milliseconds since 1970, of the database's clock.
    pub created_at: i64,
}

/// Returns those of the keys that exist, in any order.
pub async fn find(tx: &mut Tx, queue: QueueId, keys: &[&str]) -> Result<Vec<KeyRow>, StoreError> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(MAX_ROWS) {
        let sql = format!(
            "SELECT request_key, digest, first_seq, events, created_at FROM event_keys \
             WHERE queue_id = $1 AND request_key IN ({})",
            list(2, keys.len())
        );
        let mut query = search(AssertSqlSafe(sql)).bind(queue.get());
        for key in keys {
            query = query.bind(*key);
        }
        for row in query.fetch_all(tx.connection()).await? {
            found.push(key_row(&row)?);
        }
    }
    Ok(found)
}

/// Stores keys of a locked queue that it does not have.
pub async fn insert(tx: &mut Tx, queue: QueueId, keys: &[KeyRow]) -> Result<(), StoreError> {
    tx.lock_events();
    for keys in chunks(keys) {
        let sql = format!(
            "INSERT INTO event_keys \
             (queue_id, request_key, digest, first_seq, events, created_at) VALUES {}",
            values(6, keys.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in keys {
            query = query
                .bind(queue.get())
                .bind(&row.key)
                .bind(&row.digest)
                .bind(row.first_seq)
                .bind(row.events)
                .bind(row.created_at);
        }
        query.execute(tx.connection()).await?;
    }
    Ok(())
}

/// Deletes at most `limit` keys of a locked queue that were created before a time, or whose events
/// have numbers up to `seq`. Returns their number.
pub async fn prune(
    tx: &mut Tx,
    queue: QueueId,
    before: i64,
    seq: i64,
    limit: usize,
) -> Result<u64, StoreError> {
    tx.lock_events();
    let pruned = search(
        "DELETE FROM event_keys WHERE queue_id = $1 AND request_key IN (SELECT request_key \
         FROM event_keys WHERE queue_id = $1 AND (created_at < $2 OR first_seq <= $3) LIMIT $4)",
    )
    .bind(queue.get())
    .bind(before)
    .bind(seq)
    .bind(limit_of(limit))
    .execute(tx.connection())
    .await?;
    Ok(pruned.rows_affected())
}

fn key_row(row: &AnyRow) -> Result<KeyRow, StoreError> {
    Ok(KeyRow {
        key: row.try_get("request_key")?,
        digest: row.try_get("digest")?,
        first_seq: row.try_get("first_seq")?,
        events: row.try_get("events")?,
        created_at: row.try_get("created_at")?,
    })
}
