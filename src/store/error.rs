//! Errors of the store.

use sqlx::{error::DatabaseError, migrate::MigrateError};
use std::borrow::Cow;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database_url {0}")]
    Url(String),
    /// The database cannot be reached, is full, or refuses access. The error may be temporary.
    #[error("the database is not available: {reason}")]
    Unavailable {
        /// The cause, without secrets.
        reason: String,
    },
    /// A newer version migrated the database. Using it could damage it.
    #[error(
        "the database was migrated by a newer version of Scrapebroker (it has migration {found}, \
         this version knows {known} at most); run that version, or restore a backup from before"
    )]
    NewerVersion {
        /// A migration that this version does not contain.
        found: i64,
        /// The last migration of this version.
        known: i64,
    },
    /// The database contains a migration that no version of Scrapebroker has.
    #[error("the database does not belong to this program: its migration {0} differs")]
    ForeignMigration(i64),
    /// The secrets are encrypted with another key.
    #[error(
        "the secrets in the database were encrypted with another broker.token_key; \
         set the key that was used before"
    )]
    KeyChanged,
    /// A row contains a value that no version of Scrapebroker writes.
    #[error("the database holds an unusable {column}: {problem}")]
    Corrupt { column: &'static str, problem: String },
    /// A bug of Scrapebroker.
    #[error("the database rejected a query")]
    Query(#[source] sqlx::Error),
}

impl StoreError {
    /// Adds the server to the reason.
    pub(super) fn at(self, server: &str) -> Self {
        match self {
            Self::Unavailable { reason } => Self::unavailable(format!("{server}: {reason}")),
            other => other,
        }
    }

    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match reason(&error) {
            Some(reason) => Self::unavailable(reason),
            None => {
                // Users see the text of a `StoreError`, so the cause is only logged.
                tracing::error!(%error, "database query failed");
                Self::Query(error)
            }
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        let known = super::MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            // Migrations are only appended, so an unknown one is from a newer version.
            MigrateError::VersionMissing(found) => Self::NewerVersion { found, known },
            MigrateError::VersionMismatch(found) => Self::ForeignMigration(found),
            error => Self::unavailable(format!("it could not be migrated: {error}")),
        }
    }
}

/// The reason for the user if the database, not the query, caused the error.
fn reason(error: &sqlx::Error) -> Option<String> {
    use sqlx::Error::*;
    match error {
        Io(error) => Some(error.to_string()),
        Tls(error) => Some(format!("TLS: {error}")),
        PoolTimedOut => Some(format!(
            "no connection within {} s: the server accepts none, or all are in use",
            super::ACQUIRE_TIMEOUT.as_secs()
        )),
        PoolClosed => Some("it was closed".to_owned()),
        WorkerCrashed => Some("its worker thread ended".to_owned()),
        Protocol(problem) => Some(format!("it broke the protocol, or hung up: {problem}")),
        BeginFailed => Some("a transaction could not be started".to_owned()),
        Database(error) => is_unavailable(error.as_ref()).then(|| error.message().to_owned()),
        _ => None,
    }
}

/// SQLite's codes are numbers. PostgreSQL's codes have five characters.
fn is_unavailable(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or(Cow::Borrowed(""));
    match code.parse::<u32>() {
        // https://www.sqlite.org/rescode.html: the low byte is the primary code.
        Ok(number) if code.len() < 5 => matches!(
            number & 0xff,
            3 // PERM
            | 5 // BUSY
            | 6 // LOCKED
            | 7 // NOMEM
            | 8 // READONLY
            | 10 // IOERR
            | 11 // CORRUPT
            | 13 // FULL
            | 14 // CANTOPEN
            | 15 // PROTOCOL
            | 23 // AUTH
            | 26 // NOTADB
        ),
        // https://www.postgresql.org/docs/current/errcodes-appendix.html
        _ => {
            let classes = ["08", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX"];
            // A standby after a failover, and a recreated database.
            let codes = ["25006", "25P03", "42P01"];
            classes.iter().any(|class| code.starts_with(class)) || codes.contains(&&*code)
        }
    }
}
