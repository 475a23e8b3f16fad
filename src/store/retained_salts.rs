//! Salts of recently deleted bindings. A binding that is created again shortly after its deletion
//! keeps its token.
//!
//! The table is small: rows exist only for existing instances, and inserting a row deletes expired
//! ones.

use super::{ServiceBinding, StoreError, Tx, clock, state};
use crate::domain::{BindingId, SpaceGuid};
use sqlx::Row;
use std::time::Duration;

pub const RETENTION: Duration = Duration::from_secs(600);

/// Retains the salt of a binding that is deleted in this transaction.
pub async fn retain(tx: &mut Tx, binding: &ServiceBinding) -> Result<(), StoreError> {
    state::bump(tx).await?;
    let now = clock::now(tx).await?;
    let (oldest, newest) = retention_window(now);
    // A future time was written before the clock was set back.
    sqlx::query("DELETE FROM unbound_tokens WHERE unbound_at < $1 OR unbound_at > $2")
        .bind(oldest)
        .bind(newest)
        .execute(tx.connection())
        .await?;
    sqlx::query(
        "INSERT INTO unbound_tokens (binding_id, instance_id, space_guid, token_salt, unbound_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (binding_id) DO UPDATE SET \
         instance_id = excluded.instance_id, space_guid = excluded.space_guid, \
         token_salt = excluded.token_salt, unbound_at = excluded.unbound_at",
    )
    .bind(binding.binding_id.as_str())
    .bind(binding.instance_id.as_str())
    .bind(binding.space_guid.as_str())
    .bind(&binding.token_salt)
    .bind(now)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Removes and returns the retained salt of a binding that is created again in the same space,
/// unless it has expired.
pub async fn take(
    tx: &mut Tx,
    id: &BindingId,
    space: &SpaceGuid,
) -> Result<Option<String>, StoreError> {
    state::bump(tx).await?;
    let (oldest, newest) = retention_window(clock::now(tx).await?);
    let row = sqlx::query(
        "DELETE FROM unbound_tokens WHERE binding_id = $1 \
         RETURNING space_guid, token_salt, unbound_at",
    )
    .bind(id.as_str())
    .fetch_optional(tx.connection())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let unbound_at: i64 = row.try_get("unbound_at")?;
    let is_same_space = row.try_get::<String, _>("space_guid")? == space.as_str();
    let salt = row.try_get("token_salt")?;
    Ok((is_same_space && (oldest..=newest).contains(&unbound_at)).then_some(salt))
}

/// The range of deletion times of rows that have not expired.
fn retention_window(now: i64) -> (i64, i64) {
    let kept = i64::try_from(RETENTION.as_millis()).unwrap_or(i64::MAX);
    (now.saturating_sub(kept), now.saturating_add(kept))
}

#[cfg(test)]
mod tests;
