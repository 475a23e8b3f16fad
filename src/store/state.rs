//! The one row about the whole store.

use super::{StoreError, Tx};
use sqlx::Row;

/// What the store is, and how often it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Random; another one means that the database was replaced. Empty until [`claim`].
    pub store_id: String,
    /// Grows with every change.
    pub revision: i64,
    /// Recognizes the key that seals the secrets. Empty until [`claim`].
    pub key_fingerprint: String,
}

/// Reads the row.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
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

/// Makes sure that the store's secrets are sealed with our key, now and later.
///
/// The first to come sets the key; `store_id` is used then.
///
/// # Errors
/// [`StoreError::KeyChanged`] when another key was there before.
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
    // Read again: another replica may have been faster.
    match read(tx).await?.key_fingerprint == key_fingerprint {
        true => Ok(()),
        false => Err(StoreError::KeyChanged),
    }
}

/// Counts a change; every transaction that changes something calls it first.
///
/// The row is locked until the commit, so revisions become visible in order: who
/// sees one, sees all changes before it.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn bump(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.begin_changes();
    let row = sqlx::query("UPDATE store_state SET revision = revision + 1 RETURNING revision")
        .fetch_one(tx.connection())
        .await?;
    Ok(row.try_get("revision")?)
}
