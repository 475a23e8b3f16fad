//! The state of the store, a single row.

use super::{StoreError, Tx};
use sqlx::Row;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Random. Changes if the database is replaced. Empty before [`claim`].
    pub store_id: String,
    /// Increases with every change.
    pub revision: i64,
    /// Identifies the key that encrypts the secrets. Empty before [`claim`].
    pub key_fingerprint: String,
}

pub async fn read(tx: &mut Tx) -> Result<State, StoreError> {
    let row = sqlx::query("SELECT store_id, revision, key_fingerprint FROM store_state")
        .fetch_one(tx.connection())
        .await?;
    Ok(State {
        store_id: row.try_get("store_id")?,
        revision: row.try_get("revision")?,
        key_fingerprint: row.try_get("key_fingerprint")?,
    })
}

/// Checks that the store's secrets are encrypted with this key.
///
/// The first call stores the key's fingerprint and `store_id`.
///
/// # Errors
/// [`StoreError::KeyChanged`] if another key was used before.
pub async fn claim(tx: &mut Tx, key_fingerprint: &str, store_id: &str) -> Result<(), StoreError> {
    if read(tx).await?.key_fingerprint.is_empty() {
        tx.begin_changes();
        sqlx::query(
            "UPDATE store_state SET key_fingerprint = $1, store_id = $2 WHERE key_fingerprint = ''",
        )
        .bind(key_fingerprint)
        .bind(store_id)
        .execute(tx.connection())
        .await?;
    }
    // Reads the row again, because another replica may have been first.
    match read(tx).await?.key_fingerprint == key_fingerprint {
        true => Ok(()),
        false => Err(StoreError::KeyChanged),
    }
}

/// Increases the revision. Every transaction that changes a row calls it first.
///
/// The row is locked until the commit, so revisions become visible in order: a reader that sees a
/// revision sees all changes before it.
pub async fn bump(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.begin_changes();
    let row = sqlx::query("UPDATE store_state SET revision = revision + 1 RETURNING revision")
        .fetch_one(tx.connection())
        .await?;
    Ok(row.try_get("revision")?)
}
