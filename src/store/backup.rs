//! A copy of an SQLite database that others go on writing to.

use super::{StoreError, sqlite};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, Connection, Executor, Row};
use std::path::{Path, PathBuf};

/// The file behind a `database_url`; none when it names a PostgreSQL.
///
/// # Errors
/// [`StoreError::Url`] for what is no URL of a database that we know.
pub fn file_of(url: &SecretString) -> Result<Option<PathBuf>, StoreError> {
    match url.expose_secret().split_once(':') {
        Some(("sqlite", path)) => sqlite::path_of(path).map(Some),
        Some(("postgres" | "postgresql", _)) => Ok(None),
        _ => Err(StoreError::Url("must begin with sqlite: or postgres:".to_owned())),
    }
}

/// Writes what `database` holds at this moment into the empty file `copy`.
///
/// It is one read transaction of SQLite, so neither waits for the other: writers go on, and the
/// copy is whole, without a write-ahead log beside it. Nothing is migrated. Returns the
/// fingerprint of the key that sealed the secrets in it.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is not there, or the disk is full.
pub async fn copy(database: &Path, copy: &Path) -> Result<String, StoreError> {
    sqlx::any::install_default_drivers();
    let Some(copy) = copy.to_str() else {
        return Err(StoreError::away("the copy needs a name that is UTF-8"));
    };
    let mut connection = sqlite::options(database, sqlite::Mode::Existing)?.connect().await?;
    connection.execute("PRAGMA busy_timeout = 5000").await?;
    sqlx::query("VACUUM INTO $1").bind(copy).execute(&mut connection).await?;
    let row =
        sqlx::query("SELECT key_fingerprint FROM store_state").fetch_one(&mut connection).await?;
    let key_fingerprint = row.try_get("key_fingerprint")?;
    connection.close().await?;
    Ok(key_fingerprint)
}
