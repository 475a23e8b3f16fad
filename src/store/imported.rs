//! Bindings imported from promfetcher, and deleted instances.
//!
//! promfetcher stored no instance, service or plan of a binding. Therefore imported bindings have a
//! separate table without these columns.

use super::{StoreError, Tx, instances::id, state};
use crate::domain::{AppGuid, BindingId, InstanceId};
use sqlx::{Row, any::AnyRow};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedBinding {
    pub binding_id: BindingId,
    pub app_guid: AppGuid,
    /// Encrypted.
    pub parameters: String,
    pub token_hash: String,
    /// Salt of the token. Empty for bindings of versions without salts.
    pub token_salt: String,
}

/// Selects bindings that the platform has not deleted.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT binding_id, app_guid, parameters, token_hash, token_salt FROM imported_bindings \
             WHERE removed = 0 ",
            $rest
        )
    };
}

pub async fn find(tx: &mut Tx, id: &BindingId) -> Result<Option<ImportedBinding>, StoreError> {
    let row = sqlx::query(select!("AND binding_id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?;
    row.as_ref().map(imported).transpose()
}

/// Returns all imported bindings, newest first. A row that cannot be read is an error in the list.
pub async fn all(tx: &mut Tx) -> Result<Vec<Result<ImportedBinding, StoreError>>, StoreError> {
    let rows = sqlx::query(select!("ORDER BY revision DESC")).fetch_all(tx.connection()).await?;
    Ok(rows.iter().map(imported).collect())
}

/// Inserts a binding. Returns `false` and changes nothing if it was imported before, even if the
/// platform has deleted it since.
pub async fn insert(tx: &mut Tx, binding: &ImportedBinding) -> Result<bool, StoreError> {
    let revision = state::bump(tx).await?;
    let inserted = sqlx::query(
        "INSERT INTO imported_bindings (binding_id, app_guid, parameters, token_hash, token_salt, \
         removed, revision) VALUES ($1, $2, $3, $4, $5, 0, $6) ON CONFLICT (binding_id) DO NOTHING",
    )
    .bind(binding.binding_id.as_str())
    .bind(binding.app_guid.as_str())
    .bind(&binding.parameters)
    .bind(&binding.token_hash)
    .bind(&binding.token_salt)
    .bind(revision)
    .execute(tx.connection())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Deletes an imported binding permanently. Returns `false` if it does not exist.
pub async fn remove(tx: &mut Tx, id: &BindingId) -> Result<bool, StoreError> {
    state::bump(tx).await?;
    let removed = sqlx::query(
        "UPDATE imported_bindings SET removed = 1, parameters = '', token_hash = '' \
         WHERE binding_id = $1 AND removed = 0",
    )
    .bind(id.as_str())
    .execute(tx.connection())
    .await?;
    Ok(removed.rows_affected() == 1)
}

/// Records that the platform has deleted this instance.
pub async fn mark_deleted(tx: &mut Tx, id: &InstanceId) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO departed_instances (instance_id) VALUES ($1) \
         ON CONFLICT (instance_id) DO NOTHING",
    )
    .bind(id.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Whether [`mark_deleted`] was called for this instance.
pub async fn is_deleted(tx: &mut Tx, id: &InstanceId) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT instance_id FROM departed_instances WHERE instance_id = $1")
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?;
    Ok(row.is_some())
}

fn imported(row: &AnyRow) -> Result<ImportedBinding, StoreError> {
    Ok(ImportedBinding {
        binding_id: id(row, "binding_id")?,
        app_guid: id(row, "app_guid")?,
        parameters: row.try_get("parameters")?,
        token_hash: row.try_get("token_hash")?,
        token_salt: row.try_get("token_salt")?,
    })
}

#[cfg(test)]
mod tests;
