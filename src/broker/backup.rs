//! `scrapebroker backup`: copies the database and the generated token key, which its secrets need.

use super::{
    TokenKeyError,
    token_key::{self, key_path},
};
use crate::{
    domain::DatabaseUrl,
    secrets::Keys,
    store::{StoreError, backup},
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// The files of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The copy of the database.
    pub database: PathBuf,
    /// The copy of the generated key; `None` when the key is in the configuration.
    pub token_key: Option<PathBuf>,
}

/// Error of [`backup()`]. No file is left behind.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database is a PostgreSQL.
    #[error(
        "database_url names a PostgreSQL: back it up with pg_dump, and keep broker.token_key with it"
    )]
    NotSqlite,
    /// An existing file is never overwritten.
    #[error("{} exists already; give the backup another name", .0.display())]
    Exists(PathBuf),
    /// The database cannot be read, or its copy cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// The configured key is not the key of the database.
    #[error(
        "the database is used with another broker.token_key than this configuration has; \
         run the backup with the configuration of the service"
    )]
    OtherKey,
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// Copies the SQLite database to `to`, and a generated key to `to` with the suffix `.token-key`.
///
/// Both files are readable for the owner only, and are written completely or not at all.
///
/// # Errors
/// [`BackupError`] names what to change.
pub async fn backup(
    database_url: &DatabaseUrl,
    configured: Option<&SecretString>,
    to: &Path,
) -> Result<Backup, BackupError> {
    let database = backup::file_of(database_url)?.ok_or(BackupError::NotSqlite)?;
    let to = std::path::absolute(to).map_err(failed(to))?;
    let key_to = key_path(&to);
    for path in [&to, &key_to] {
        if path.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(path.clone()));
        }
    }
    let folder = to.parent().unwrap_or(Path::new("/"));
    let draft = NamedTempFile::new_in(folder).map_err(failed(folder))?;
    let key_fingerprint = backup::copy(&database, draft.path()).await?;
    let key = match configured {
        Some(key) => key.clone(),
        None => token_key::load(&database, false)?,
    };
    // A database that was never used has no fingerprint.
    let keys = Keys::derive(&key).map_err(TokenKeyError::from)?;
    if !key_fingerprint.is_empty() && key_fingerprint != keys.fingerprint() {
        return Err(BackupError::OtherKey);
    }
    draft.as_file().sync_all().map_err(failed(&to))?;
    // The key is written first, so that no copy of a database is without its key.
    let token_key = match configured {
        Some(_) => None,
        None => Some(write_key(&key, folder, &key_to)?),
    };
    if let Err(error) = persist(draft, &to) {
        if let Some(key) = &token_key {
            // The first error is the one to report.
            let _ = std::fs::remove_file(key);
        }
        return Err(error);
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
    Ok(Backup { database: to, token_key })
}

fn write_key(key: &SecretString, folder: &Path, to: &Path) -> Result<PathBuf, BackupError> {
    let mut draft = NamedTempFile::new_in(folder).map_err(failed(folder))?;
    writeln!(draft, "{}", key.expose_secret())
        .and_then(|()| draft.as_file().sync_all())
        .map_err(failed(to))?;
    persist(draft, to)?;
    Ok(to.to_owned())
}

fn persist(draft: NamedTempFile, to: &Path) -> Result<(), BackupError> {
    match draft.persist_noclobber(to) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(BackupError::Exists(to.to_owned()))
        }
        Err(error) => Err(failed(to)(error.error)),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { path, source }
}
