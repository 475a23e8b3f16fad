//! Service bindings and service keys.

use super::{
    StoreError, Tx,
    instances::{corrupt, id},
    state,
};
use crate::domain::{AppGuid, BindingId, IdError, InstanceId, PlanId, ServiceId, SpaceGuid};
use sqlx::{Row, any::AnyRow};
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceBinding {
    /// Chosen by the platform. Unique across all instances.
    pub binding_id: BindingId,
    pub instance_id: InstanceId,
    pub service_id: ServiceId,
    pub plan_id: PlanId,
    /// None for a service key.
    pub app_guid: Option<AppGuid>,
    /// The space of the service instance.
    pub space_guid: SpaceGuid,
    /// Encrypted.
    pub parameters: String,
    pub token_hash: String,
    /// Salt of the token. Empty for bindings of versions without salts.
    pub token_salt: String,
    /// The binding that this one replaces (credential rotation). It may have been deleted.
    pub predecessor_id: Option<BindingId>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT binding_id, instance_id, service_id, plan_id, app_guid, space_guid, \
             parameters, token_hash, token_salt, predecessor_id FROM service_bindings ",
            $rest
        )
    };
}

pub async fn find(tx: &mut Tx, id: &BindingId) -> Result<Option<ServiceBinding>, StoreError> {
    let row = sqlx::query(select!("WHERE binding_id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?;
    row.as_ref().map(binding).transpose()
}

/// Returns all bindings, newest first. A row that cannot be read is an error in the list.
pub async fn all(tx: &mut Tx) -> Result<Vec<Result<ServiceBinding, StoreError>>, StoreError> {
    let rows = sqlx::query(select!("ORDER BY revision DESC")).fetch_all(tx.connection()).await?;
    Ok(rows.iter().map(binding).collect())
}

/// Inserts a binding as the newest. Returns `false` and changes nothing if its id already exists.
pub async fn insert(tx: &mut Tx, binding: &ServiceBinding) -> Result<bool, StoreError> {
    let revision = state::bump(tx).await?;
    let inserted = sqlx::query(
        "INSERT INTO service_bindings (binding_id, instance_id, service_id, plan_id, app_guid, \
         space_guid, parameters, token_hash, token_salt, predecessor_id, revision) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT (binding_id) DO NOTHING",
    )
    .bind(binding.binding_id.as_str())
    .bind(binding.instance_id.as_str())
    .bind(binding.service_id.as_str())
    .bind(binding.plan_id.as_str())
    .bind(binding.app_guid.as_ref().map(AppGuid::as_str))
    .bind(binding.space_guid.as_str())
    .bind(&binding.parameters)
    .bind(&binding.token_hash)
    .bind(&binding.token_salt)
    .bind(binding.predecessor_id.as_ref().map(BindingId::as_str))
    .bind(revision)
    .execute(tx.connection())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Updates a binding and makes it the newest. Its token stays the same.
pub async fn replace(tx: &mut Tx, binding: &ServiceBinding) -> Result<(), StoreError> {
    let revision = state::bump(tx).await?;
    sqlx::query(
        "UPDATE service_bindings SET service_id = $2, plan_id = $3, app_guid = $4, \
         space_guid = $5, parameters = $6, predecessor_id = $7, revision = $8 \
         WHERE binding_id = $1",
    )
    .bind(binding.binding_id.as_str())
    .bind(binding.service_id.as_str())
    .bind(binding.plan_id.as_str())
    .bind(binding.app_guid.as_ref().map(AppGuid::as_str))
    .bind(binding.space_guid.as_str())
    .bind(&binding.parameters)
    .bind(binding.predecessor_id.as_ref().map(BindingId::as_str))
    .bind(revision)
    .execute(tx.connection())
    .await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx, id: &BindingId) -> Result<(), StoreError> {
    state::bump(tx).await?;
    sqlx::query("DELETE FROM service_bindings WHERE binding_id = $1")
        .bind(id.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}

pub async fn delete_all(tx: &mut Tx, instance: &InstanceId) -> Result<(), StoreError> {
    state::bump(tx).await?;
    sqlx::query("DELETE FROM service_bindings WHERE instance_id = $1")
        .bind(instance.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}

fn binding(row: &AnyRow) -> Result<ServiceBinding, StoreError> {
    Ok(ServiceBinding {
        binding_id: id(row, "binding_id")?,
        instance_id: id(row, "instance_id")?,
        service_id: id(row, "service_id")?,
        plan_id: id(row, "plan_id")?,
        app_guid: optional_id(row, "app_guid")?,
        space_guid: id(row, "space_guid")?,
        parameters: row.try_get("parameters")?,
        token_hash: row.try_get("token_hash")?,
        token_salt: row.try_get("token_salt")?,
        predecessor_id: optional_id(row, "predecessor_id")?,
    })
}

fn optional_id<T>(row: &AnyRow, column: &'static str) -> Result<Option<T>, StoreError>
where
    T: FromStr<Err = IdError>,
{
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|error| corrupt(column, &error))).transpose()
}
