//! Salts of bindings that were removed a moment ago.
//!
//! Rows are few and small: each stands for a binding of an instance that is there, and old ones
//! go with the next one that is added.

use super::{ServiceBinding, StoreError, Tx, clock, state};
use crate::domain::{BindingId, SpaceGuid};
use sqlx::Row;
use std::time::Duration;

/// How long a salt is kept.
pub const KEPT: Duration = Duration::from_secs(600);

/// Keeps the salt of a binding that is removed in this transaction.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn keep(tx: &mut Tx, binding: &ServiceBinding) -> Result<(), StoreError> {
    state::bump(tx).await?;
    let now = clock::now(tx).await?;
    let (oldest, newest) = kept_at(now);
    // A time to come is of a clock that was set back.
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

/// The salt of a binding that is made again in the same space, unless it was removed too long
/// ago. It is not kept any longer.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn take(
    tx: &mut Tx,
    id: &BindingId,
    space: &SpaceGuid,
) -> Result<Option<String>, StoreError> {
    state::bump(tx).await?;
    let (oldest, newest) = kept_at(clock::now(tx).await?);
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

/// The first and the last time of a row that is kept.
fn kept_at(now: i64) -> (i64, i64) {
    let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
    (now.saturating_sub(kept), now.saturating_add(kept))
}

#[cfg(test)]
mod tests;
