//! Which of several processes does what only one may do at a time.

use super::{StoreError, Tx};
use std::time::Duration;

/// Takes a lease, or keeps it; `false` while another holder's has not run out.
/// `now` is the time since 1970.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn take(
    tx: &mut Tx,
    name: &str,
    holder: &str,
    now: Duration,
    for_long: Duration,
) -> Result<bool, StoreError> {
    let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let taken = sqlx::query(
        "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, \
         expires_at = excluded.expires_at WHERE leases.holder = $2 OR leases.expires_at < $4",
    )
    .bind(name)
    .bind(holder)
    .bind(milliseconds(now + for_long))
    .bind(milliseconds(now))
    .execute(tx.connection())
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Gives a lease back, if it is held.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn give_back(tx: &mut Tx, name: &str, holder: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM leases WHERE name = $1 AND holder = $2")
        .bind(name)
        .bind(holder)
        .execute(tx.connection())
        .await?;
    Ok(())
}
