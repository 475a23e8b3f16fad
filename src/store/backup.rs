//! Copies an SQLite database while it is in use.

use super::{StoreError, sqlite};
use crate::domain::DatabaseUrl;
use sqlx::{ConnectOptions, Connection, Executor, Row};
use std::path::{Path, PathBuf};

/// Returns the file of a `database_url`. None for PostgreSQL.
///
/// # Errors
/// [`StoreError::Url`] for a path that is no file.
pub fn file_of(url: &DatabaseUrl) -> Result<Option<PathBuf>, StoreError> {
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::path_of(path).map(Some),
        DatabaseUrl::Postgres(_) => Ok(None),
    }
}

/// Copies the current content of `database` into the empty file `copy`.
///
/// The copy is one read transaction of SQLite: writers are not blocked, and the copy is consistent
/// and needs no write-ahead log. The copy is not migrated. Returns the fingerprint of the key with
/// which its secrets are encrypted.
///
/// # Errors
/// [`StoreError::Unavailable`] if the database does not exist or the disk is full.
pub async fn copy(database: &Path, copy: &Path) -> Result<String, StoreError> {
    sqlx::any::install_default_drivers();
    let Some(copy) = copy.to_str() else {
        return Err(StoreError::unavailable("the copy needs a name that is UTF-8"));
    };
    let mut connection = sqlite::options(database, sqlite::OpenMode::Existing)?.connect().await?;
    connection.execute("PRAGMA busy_timeout = 5000").await?;
    sqlx::query("VACUUM INTO $1").bind(copy).execute(&mut connection).await?;
    let row =
        sqlx::query("SELECT key_fingerprint FROM store_state").fetch_one(&mut connection).await?;
    let key_fingerprint = row.try_get("key_fingerprint")?;
    connection.close().await?;
    Ok(key_fingerprint)
}
