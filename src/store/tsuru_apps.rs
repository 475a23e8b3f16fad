//! Bound Tsuru apps.

use super::{StoreError, Tx, state};
use crate::domain::{BindingId, TsuruApp};
use sqlx::{Row, any::AnyRow};

/// Stores the app of an existing binding. Does nothing if it is already stored.
pub async fn put(tx: &mut Tx, binding: &BindingId, app: &TsuruApp) -> Result<(), StoreError> {
    let hosts = serde_json::Value::from(app.hosts.clone()).to_string();
    // Compares before it writes, because the revision must be locked before any other row.
    let known = sqlx::query(
        "SELECT 1 AS known FROM tsuru_apps WHERE binding_id = $1 AND app = $2 AND team = $3 \
         AND pool = $4 AND hosts = $5",
    )
    .bind(binding.as_str())
    .bind(&app.name)
    .bind(&app.team)
    .bind(&app.pool)
    .bind(&hosts)
    .fetch_optional(tx.connection())
    .await?;
    if known.is_some() {
        return Ok(());
    }
    state::bump(tx).await?;
    sqlx::query(
        "INSERT INTO tsuru_apps (binding_id, app, team, pool, hosts) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (binding_id) DO UPDATE SET app = $2, team = $3, pool = $4, hosts = $5",
    )
    .bind(binding.as_str())
    .bind(&app.name)
    .bind(&app.team)
    .bind(&app.pool)
    .bind(&hosts)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Returns all bound apps, those of the newest bindings first. A row that cannot be read is an
/// error in the list.
pub async fn all(tx: &mut Tx) -> Result<Vec<Result<TsuruApp, StoreError>>, StoreError> {
    let rows = sqlx::query(
        "SELECT tsuru_apps.app, tsuru_apps.team, tsuru_apps.pool, tsuru_apps.hosts \
         FROM tsuru_apps JOIN service_bindings \
         ON service_bindings.binding_id = tsuru_apps.binding_id \
         ORDER BY service_bindings.revision DESC",
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.iter().map(app).collect())
}

fn app(row: &AnyRow) -> Result<TsuruApp, StoreError> {
    let hosts: String = row.try_get("hosts")?;
    let hosts = serde_json::from_str(&hosts).map_err(|error| StoreError::Corrupt {
        column: "tsuru_apps.hosts",
        problem: error.to_string(),
    })?;
    Ok(TsuruApp {
        name: row.try_get("app")?,
        team: row.try_get("team")?,
        pool: row.try_get("pool")?,
        hosts,
    })
}
