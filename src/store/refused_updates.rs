//! Rejected updates of Tsuru's service instances.

use super::{StoreError, Tx, state};
use crate::domain::InstanceId;
use sqlx::Row;

/// Returns the rejected update of an instance, encrypted.
pub async fn find(tx: &mut Tx, id: &InstanceId) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT request FROM tsuru_refused_updates WHERE instance_id = $1")
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?;
    Ok(row.map(|row| row.try_get("request")).transpose()?)
}

/// Stores the rejected update of an existing instance. Replaces an older one.
pub async fn put(tx: &mut Tx, id: &InstanceId, request: &str) -> Result<(), StoreError> {
    state::bump(tx).await?;
    sqlx::query(
        "INSERT INTO tsuru_refused_updates (instance_id, request) VALUES ($1, $2) \
         ON CONFLICT (instance_id) DO UPDATE SET request = excluded.request",
    )
    .bind(id.as_str())
    .bind(request)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes the rejected update of an instance.
pub async fn delete(tx: &mut Tx, id: &InstanceId) -> Result<(), StoreError> {
    state::bump(tx).await?;
    sqlx::query("DELETE FROM tsuru_refused_updates WHERE instance_id = $1")
        .bind(id.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}
