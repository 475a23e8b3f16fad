//! Service instances.

use super::{StoreError, Tx, state};
use crate::domain::{IdError, InstanceId, InstanceNames, ServiceInstance};
use sqlx::{Row, any::AnyRow};
use std::str::FromStr;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT instance_id, service_id, plan_id, organization_guid, space_guid, \
             organization_name, space_name, instance_name, maintenance_version, parameters \
             FROM service_instances ",
            $rest
        )
    };
}

pub async fn find(tx: &mut Tx, id: &InstanceId) -> Result<Option<ServiceInstance>, StoreError> {
    let row = sqlx::query(select!("WHERE instance_id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?;
    row.as_ref().map(instance).transpose()
}

/// Returns the ids of all instances that can be read.
pub async fn ids(tx: &mut Tx) -> Result<Vec<InstanceId>, StoreError> {
    let rows =
        sqlx::query("SELECT instance_id FROM service_instances").fetch_all(tx.connection()).await?;
    Ok(rows.iter().filter_map(|row| id(row, "instance_id").ok()).collect())
}

/// Inserts an instance. Returns `false` and changes nothing if its id already exists.
pub async fn insert(tx: &mut Tx, instance: &ServiceInstance) -> Result<bool, StoreError> {
    state::bump(tx).await?;
    let inserted = sqlx::query(
        "INSERT INTO service_instances (instance_id, service_id, plan_id, organization_guid, \
         space_guid, organization_name, space_name, instance_name, maintenance_version, \
         parameters) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (instance_id) DO NOTHING",
    )
    .bind(instance.instance_id.as_str())
    .bind(instance.service_id.as_str())
    .bind(instance.plan_id.as_str())
    .bind(instance.organization_guid.as_str())
    .bind(instance.space_guid.as_str())
    .bind(instance.names.organization.as_deref())
    .bind(instance.names.space.as_deref())
    .bind(instance.names.instance.as_deref())
    .bind(instance.maintenance_version.as_deref())
    .bind(&instance.parameters)
    .execute(tx.connection())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Updates what a request may change: plan, organization, space, names, maintenance version and
/// parameters.
pub async fn update(tx: &mut Tx, instance: &ServiceInstance) -> Result<(), StoreError> {
    state::bump(tx).await?;
    sqlx::query(
        "UPDATE service_instances SET plan_id = $2, organization_name = $3, space_name = $4, \
         instance_name = $5, maintenance_version = $6, parameters = $7, organization_guid = $8, \
         space_guid = $9 WHERE instance_id = $1",
    )
    .bind(instance.instance_id.as_str())
    .bind(instance.plan_id.as_str())
    .bind(instance.names.organization.as_deref())
    .bind(instance.names.space.as_deref())
    .bind(instance.names.instance.as_deref())
    .bind(instance.maintenance_version.as_deref())
    .bind(&instance.parameters)
    .bind(instance.organization_guid.as_str())
    .bind(instance.space_guid.as_str())
    .execute(tx.connection())
    .await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx, id: &InstanceId) -> Result<(), StoreError> {
    state::bump(tx).await?;
    sqlx::query("DELETE FROM service_instances WHERE instance_id = $1")
        .bind(id.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}

pub(super) fn instance(row: &AnyRow) -> Result<ServiceInstance, StoreError> {
    Ok(ServiceInstance {
        instance_id: id(row, "instance_id")?,
        service_id: id(row, "service_id")?,
        plan_id: id(row, "plan_id")?,
        organization_guid: id(row, "organization_guid")?,
        space_guid: id(row, "space_guid")?,
        names: InstanceNames {
            organization: row.try_get("organization_name")?,
            space: row.try_get("space_name")?,
            instance: row.try_get("instance_name")?,
        },
        maintenance_version: row.try_get("maintenance_version")?,
        parameters: row.try_get("parameters")?,
    })
}

/// Logs a row that cannot be read, and returns `None`, so that the other rows are used.
pub(super) fn readable<T>(row: Result<T, StoreError>) -> Option<T> {
    row.inspect_err(|error| tracing::error!(%error, "row not readable")).ok()
}

/// Validates a stored id like an id from a request.
pub(super) fn id<T>(row: &AnyRow, column: &'static str) -> Result<T, StoreError>
where
    T: FromStr<Err = IdError>,
{
    let text: String = row.try_get(column)?;
    text.parse().map_err(|error: IdError| corrupt(column, &error))
}

pub(super) fn corrupt(column: &'static str, problem: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt { column, problem: problem.to_string() }
}
