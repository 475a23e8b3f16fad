//! Leases: only one process holds a lease at a time.
//!
//! Terms are measured with the clock of the database (see [`clock`]).

use super::{StoreError, Tx, clock};
use sqlx::Row;
use std::time::Duration;

/// A process that requests or holds a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub id: String,
    /// Location of the instances that the process runs. Older versions stored none.
    pub home: Option<String>,
}

/// Result of a request for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// This process holds the lease until the term ends.
    Acquired,
    /// Another process holds the lease.
    HeldByOther {
        holder: Holder,
        /// End of the term in milliseconds since 1970.
        expires_at: i64,
    },
}

impl Holder {
    /// Encodes the holder as a string. The id contains no spaces.
    fn to_text(&self) -> String {
        match &self.home {
            Some(home) => format!("{} {home}", self.id),
            None => self.id.clone(),
        }
    }

    fn from_text(text: &str) -> Self {
        match text.split_once(' ') {
            Some((id, home)) => Self { id: id.to_owned(), home: Some(home.to_owned()) },
            None => Self { id: text.to_owned(), home: None },
        }
    }
}

/// Acquires a lease or extends its term.
///
/// A term that ends in the far future was written before the database's clock was set back, and is
/// ignored. Only versions that write `home` use the database's clock.
pub async fn acquire(
    tx: &mut Tx,
    name: &str,
    holder: &Holder,
    term: Duration,
) -> Result<LeaseOutcome, StoreError> {
    let now = clock::now(tx).await?;
    let term = i64::try_from(term.as_millis()).unwrap_or(i64::MAX);
    let taken = sqlx::query(
        "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, \
         expires_at = excluded.expires_at WHERE leases.holder = $2 OR leases.expires_at < $4 \
         OR (leases.holder LIKE '% %' AND leases.expires_at > $5)",
    )
    .bind(name)
    .bind(holder.to_text())
    .bind(now.saturating_add(term))
    .bind(now)
    .bind(now.saturating_add(term.saturating_mul(2)))
    .execute(tx.connection())
    .await?;
    if taken.rows_affected() == 1 {
        return Ok(LeaseOutcome::Acquired);
    }
    let row = sqlx::query("SELECT holder, expires_at FROM leases WHERE name = $1")
        .bind(name)
        .fetch_one(tx.connection())
        .await?;
    let holder = Holder::from_text(&row.try_get::<String, _>("holder")?);
    Ok(LeaseOutcome::HeldByOther { holder, expires_at: row.try_get("expires_at")? })
}

/// Releases a lease if it is held.
pub async fn release(tx: &mut Tx, name: &str, holder: &Holder) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM leases WHERE name = $1 AND holder = $2")
        .bind(name)
        .bind(holder.to_text())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Ends the term.
#[cfg(test)]
pub(crate) async fn expire_for_tests(tx: &mut Tx, name: &str) -> Result<(), StoreError> {
    let now = clock::now(tx).await?;
    sqlx::query("UPDATE leases SET expires_at = $2 WHERE name = $1")
        .bind(name)
        .bind(now - 1)
        .execute(tx.connection())
        .await?;
    Ok(())
}
