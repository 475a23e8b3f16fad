//! The database's clock.
//!
//! Every time that one replica writes and another one compares comes from here: the clocks of
//! replicas may be hours apart. A replica's own clock measures only what begins and ends in it.

use super::{StoreError, Tx};
use sqlx::Row;

/// Not `now()`, which stands still from the beginning of a transaction, while that may wait for a
/// lock.
const POSTGRES: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now";
const SQLITE: &str =
    "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) AS now";

/// Milliseconds since 1970.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn now(tx: &mut Tx) -> Result<i64, StoreError> {
    let query = if tx.is_sqlite() { SQLITE } else { POSTGRES };
    let row = sqlx::query(query).fetch_one(tx.connection()).await?;
    Ok(row.try_get("now")?)
}
