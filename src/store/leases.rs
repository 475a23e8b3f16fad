//! Which of several processes does what only one may do at a time.
//!
//! Terms begin and end by the clock of the database (see [`clock`]).

use super::{StoreError, Tx, clock};
use sqlx::Row;
use std::time::Duration;

/// Who asks for a lease, or has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Unique for each process.
    pub id: String,
    /// Where the process does its work. Older versions wrote none.
    pub home: Option<String>,
}

/// What comes of asking for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is ours until the term ends.
    Held,
    /// It is somebody else's.
    ByOther {
        /// The other one.
        holder: Holder,
        /// When its term ends, in milliseconds since 1970.
        expires_at: i64,
    },
}

impl Holder {
    /// As one text: the id has no blanks.
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

/// Takes a lease, or keeps it for another term.
///
/// A term that ends in the far future was written before the database's clock was set back, and
/// does not count. Only versions that write a home use that clock.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn take(
    tx: &mut Tx,
    name: &str,
    holder: &Holder,
    term: Duration,
) -> Result<Taken, StoreError> {
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
        return Ok(Taken::Held);
    }
    let row = sqlx::query("SELECT holder, expires_at FROM leases WHERE name = $1")
        .bind(name)
        .fetch_one(tx.connection())
        .await?;
    let holder = Holder::from_text(&row.try_get::<String, _>("holder")?);
    Ok(Taken::ByOther { holder, expires_at: row.try_get("expires_at")? })
}

/// Gives a lease back, if it is held.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away.
pub async fn give_back(tx: &mut Tx, name: &str, holder: &Holder) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM leases WHERE name = $1 AND holder = $2")
        .bind(name)
        .bind(holder.to_text())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// As if the term had ended.
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
