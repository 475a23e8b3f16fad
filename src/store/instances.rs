//! Service instances.

use super::{StoreError, Tx, state};
use crate::domain::{IdError, InstanceId, OrganizationGuid, PlanId, ServiceId, SpaceGuid};
use sqlx::{Row, any::AnyRow};
use std::str::FromStr;

/// A service instance as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInstance {
    /// Its id, the platform's choice.
    pub instance_id: InstanceId,
    /// The service it is of.
    pub service_id: ServiceId,
    /// The plan it has now.
    pub plan_id: PlanId,
    /// The organization it belongs to.
    pub organization_guid: OrganizationGuid,
    /// The space it belongs to.
    pub space_guid: SpaceGuid,
    /// Names at the last time the platform told them, for the operator's eyes.
    pub names: Names,
    /// The version of the plan that it was made with or upgraded to.
    pub maintenance_version: Option<String>,
    /// Its parameters, sealed.
    pub parameters: String,
}

/// What people call an instance and the place it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Name of the organization.
    pub organization: Option<String>,
    /// Name of the space.
    pub space: Option<String>,
    /// Name of the service instance.
    pub instance: Option<String>,
}

/// All columns, in every query: they are few, and so is the code.
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

/// Looks an instance up.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn find(tx: &mut Tx, id: &InstanceId) -> Result<Option<ServiceInstance>, StoreError> {
    let row = sqlx::query(select!("WHERE instance_id = $1"))
        .bind(id.as_str())
        .fetch_optional(tx.connection())
        .await?;
    row.as_ref().map(instance).transpose()
}

/// The ids of all instances that can be read.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn ids(tx: &mut Tx) -> Result<Vec<InstanceId>, StoreError> {
    let rows =
        sqlx::query("SELECT instance_id FROM service_instances").fetch_all(tx.connection()).await?;
    Ok(rows.iter().filter_map(|row| id(row, "instance_id").ok()).collect())
}

/// All instances that are a Prometheus. One that cannot be read does not hide the others.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn of_prometheus(
    tx: &mut Tx,
) -> Result<Vec<Result<ServiceInstance, StoreError>>, StoreError> {
    let rows =
        sqlx::query(select!("WHERE instance_id IN (SELECT instance_id FROM prometheus_instances)"))
            .fetch_all(tx.connection())
            .await?;
    Ok(rows.iter().map(instance).collect())
}

/// Adds an instance; `false`, and nothing done, if its id is taken.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
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

/// Replaces what an update may change: plan, organization and space, names, maintenance version,
/// parameters.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
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

/// Removes an instance and its bindings.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn delete(tx: &mut Tx, id: &InstanceId) -> Result<(), StoreError> {
    state::bump(tx).await?;
    sqlx::query("DELETE FROM service_instances WHERE instance_id = $1")
        .bind(id.as_str())
        .execute(tx.connection())
        .await?;
    Ok(())
}

fn instance(row: &AnyRow) -> Result<ServiceInstance, StoreError> {
    Ok(ServiceInstance {
        instance_id: id(row, "instance_id")?,
        service_id: id(row, "service_id")?,
        plan_id: id(row, "plan_id")?,
        organization_guid: id(row, "organization_guid")?,
        space_guid: id(row, "space_guid")?,
        names: Names {
            organization: row.try_get("organization_name")?,
            space: row.try_get("space_name")?,
            instance: row.try_get("instance_name")?,
        },
        maintenance_version: row.try_get("maintenance_version")?,
        parameters: row.try_get("parameters")?,
    })
}

/// A stored id is parsed like any other input.
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
