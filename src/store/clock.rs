//! The database's clock.
//!
//! All times that replicas exchange are read from this clock, because the clocks of replicas may
//! differ by hours. A replica uses its own clock only for durations that it measures itself.

use super::{StoreError, Tx};
use sqlx::Row;

/// `now()` returns the start of the transaction, which may have waited for a lock since.
const POSTGRES: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now";
const SQLITE: &str =
    "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) AS now";

/// Returns milliseconds since 1970.
pub async fn now(tx: &mut Tx) -> Result<i64, StoreError> {
    let query = if tx.is_sqlite() { SQLITE } else { POSTGRES };
    let row = sqlx::query(query).fetch_one(tx.connection()).await?;
    Ok(row.try_get("now")?)
}
