//! Prometheus instances.

use super::{
    StoreError, Tx,
    instances::{self, corrupt, id, readable},
    state,
};
use crate::domain::{InstanceId, ServiceInstance, SpaceGuid, prometheus::StoredPrometheus};
use sqlx::{Row, any::AnyRow};

/// Used quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub instances: u64,
    /// Instances in the requested space.
    pub of_space: u64,
    pub replicas: u64,
}

pub async fn find(tx: &mut Tx, id: &InstanceId) -> Result<Option<StoredPrometheus>, StoreError> {
    let row = sqlx::query(
        "SELECT instance_id, space_guid, replicas, spec, secret_salt FROM prometheus_instances \
         WHERE instance_id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(tx.connection())
    .await?;
    row.as_ref().map(instance).transpose()
}

/// Returns all instances. Rows that cannot be read are logged and skipped.
pub async fn all(tx: &mut Tx) -> Result<Vec<(ServiceInstance, StoredPrometheus)>, StoreError> {
    let rows = sqlx::query(
        "SELECT i.instance_id, i.service_id, i.plan_id, i.organization_guid, i.space_guid, \
         i.organization_name, i.space_name, i.instance_name, i.maintenance_version, i.parameters, \
         p.replicas, p.spec, p.secret_salt \
         FROM prometheus_instances p JOIN service_instances i ON i.instance_id = p.instance_id",
    )
    .fetch_all(tx.connection())
    .await?;
    let read = |row: &AnyRow| Ok((instances::instance(row)?, instance(row)?));
    Ok(rows.iter().filter_map(|row| readable(read(row))).collect())
}

/// Returns the ids of all instances that can be read.
pub async fn ids<T: FromIterator<InstanceId>>(tx: &mut Tx) -> Result<T, StoreError> {
    let rows = sqlx::query("SELECT instance_id FROM prometheus_instances")
        .fetch_all(tx.connection())
        .await?;
    Ok(rows.iter().filter_map(|row| id(row, "instance_id").ok()).collect())
}

/// Inserts or updates an instance. An update does not change the salt.
pub async fn put(tx: &mut Tx, instance: &StoredPrometheus) -> Result<(), StoreError> {
    state::bump(tx).await?;
    sqlx::query(
        "INSERT INTO prometheus_instances (instance_id, space_guid, replicas, spec, secret_salt) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (instance_id) \
         DO UPDATE SET space_guid = excluded.space_guid, replicas = excluded.replicas, \
         spec = excluded.spec",
    )
    .bind(instance.instance_id.as_str())
    .bind(instance.space_guid.as_str())
    .bind(i64::from(instance.replicas))
    .bind(&instance.spec)
    .bind(&instance.secret_salt)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Used quotas, including instances that are being deleted.
pub async fn usage(tx: &mut Tx, space: &SpaceGuid) -> Result<Usage, StoreError> {
    let rows = sqlx::query("SELECT space_guid, replicas FROM prometheus_instances")
        .fetch_all(tx.connection())
        .await?;
    let mut usage = Usage::default();
    for row in rows {
        let replicas: i64 = row.try_get("replicas")?;
        usage.instances += 1;
        usage.of_space += u64::from(row.try_get::<String, _>("space_guid")? == space.as_str());
        usage.replicas += u64::try_from(replicas).unwrap_or(0);
    }
    Ok(usage)
}

fn instance(row: &AnyRow) -> Result<StoredPrometheus, StoreError> {
    Ok(StoredPrometheus {
        instance_id: id(row, "instance_id")?,
        space_guid: id(row, "space_guid")?,
        replicas: number(row, "replicas")?,
        spec: row.try_get("spec")?,
        secret_salt: row.try_get("secret_salt")?,
    })
}

/// Reads an integer column as `u8`.
pub(super) fn number(row: &AnyRow, column: &'static str) -> Result<u8, StoreError> {
    let number: i64 = row.try_get(column)?;
    u8::try_from(number).map_err(|error| corrupt(column, &error))
}
