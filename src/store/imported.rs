//! Bindings that were promfetcher's, and what is known of instances that are gone.
//!
//! promfetcher stored no instance, service or plan with a binding, so these rows
//! have none, and a table of their own.

use super::{StoreError, Tx, instances::id, state};
use crate::domain::{AppGuid, BindingId, InstanceId};
use sqlx::{Row, any::AnyRow};

/// An imported binding as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedBinding {
    /// Its id, the platform's choice.
    pub binding_id: BindingId,
    /// The bound app.
    pub app_guid: AppGuid,
    /// Its parameters, sealed.
    pub parameters: String,
    /// Hash of its token.
    pub token_hash: String,
    /// Random part of its token; empty for one from before there was any.
    pub token_salt: String,
}

/// All columns of those that the platform has not removed.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT binding_id, app_guid, parameters, token_hash, token_salt FROM imported_bindings \
             WHERE removed = 0 ",
            $rest
        )
    };
}

/// Looks an imported binding up.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn find(tx: &mut Tx, id: &BindingId) -> Result<Option<ImportedBinding>, StoreError> {
    let row = sqlx::query(select!("AND binding_id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?;
    row.as_ref().map(imported).transpose()
}

/// All imported bindings, the newest first. One that cannot be read does not hide the others.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn all(tx: &mut Tx) -> Result<Vec<Result<ImportedBinding, StoreError>>, StoreError> {
    let rows = sqlx::query(select!("ORDER BY revision DESC")).fetch_all(tx.connection()).await?;
    Ok(rows.iter().map(imported).collect())
}

/// Adds an imported binding; `false`, and nothing done, if it was imported before,
/// even if the platform has removed it since.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
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

/// Removes an imported binding for good; `false` if there is none.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
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

/// Remembers that the platform has removed this instance.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn depart(tx: &mut Tx, id: &InstanceId) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO departed_instances (instance_id) VALUES ($1) \
         ON CONFLICT (instance_id) DO NOTHING",
    )
    .bind(id.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Whether [`depart`] was told of this instance.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn has_departed(tx: &mut Tx, id: &InstanceId) -> Result<bool, StoreError> {
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
