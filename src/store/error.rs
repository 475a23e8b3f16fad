//! What can go wrong with a database.

use sqlx::{error::DatabaseError, migrate::MigrateError};
use std::borrow::Cow;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// `database_url` makes no sense.
    #[error("database_url {0}")]
    Url(String),
    /// The database is away, full, or refuses us; it may be back in a moment.
    #[error("the database is not available: {reason}")]
    Unavailable {
        /// What is wrong and its cause, without secrets.
        reason: String,
    },
    /// Migrated by a newer version of us; going on could harm it.
    #[error(
        "the database was migrated by a newer version of Scrapebroker (it has migration {found}, \
         this version knows {known} at most); run that version, or restore a backup from before"
    )]
    NewerVersion {
        /// A migration that this version does not know.
        found: i64,
        /// The last one that this version knows.
        known: i64,
    },
    /// Migrated by something that is no version of us.
    #[error("the database is not one of this program: its migration {0} is another one")]
    ForeignMigration(i64),
    /// Its secrets were sealed with another key.
    #[error(
        "the secrets in the database were sealed with another broker.token_key; \
         set the key that was used before"
    )]
    KeyChanged,
    /// A row holds what no version of us has written.
    #[error("the database holds an unusable {column}: {problem}")]
    Corrupt {
        /// Where.
        column: &'static str,
        /// What.
        problem: String,
    },
    /// A mistake of ours.
    #[error("the database did not understand a query")]
    Query(#[source] sqlx::Error),
}

impl StoreError {
    /// Names the server that is not available.
    pub(super) fn at(self, server: &str) -> Self {
        match self {
            Self::Unavailable { reason } => Self::away(format!("{server}: {reason}")),
            other => other,
        }
    }

    pub(super) fn away(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match reason(&error) {
            Some(reason) => Self::away(reason),
            None => {
                // Users see the text of a `StoreError`, so the cause is logged here.
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
            // Migrations are only ever added, so one that we lack is from the future.
            MigrateError::VersionMissing(found) => Self::NewerVersion { found, known },
            MigrateError::VersionMismatch(found) => Self::ForeignMigration(found),
            error => Self::away(format!("it could not be migrated: {error}")),
        }
    }
}

/// What to tell the user if the database, not the query, is at fault.
fn reason(error: &sqlx::Error) -> Option<String> {
    use sqlx::Error::*;
    match error {
        Io(error) => Some(error.to_string()),
        Tls(error) => Some(format!("TLS: {error}")),
        PoolTimedOut => Some(format!(
            "no connection within {} s: the server accepts none, or all are in use",
            super::ACQUIRE.as_secs()
        )),
        PoolClosed => Some("it was closed".to_owned()),
        WorkerCrashed => Some("its worker thread ended".to_owned()),
        Protocol(problem) => Some(format!("it broke the protocol, or hung up: {problem}")),
        BeginFailed => Some("a transaction could not be started".to_owned()),
        Database(error) => is_away(error.as_ref()).then(|| error.message().to_owned()),
        _ => None,
    }
}

/// Codes of SQLite are numbers, those of PostgreSQL have five characters.
fn is_away(error: &dyn DatabaseError) -> bool {
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
            // A standby after a failover, and a database that was made anew.
            let codes = ["25006", "25P03", "42P01"];
            classes.iter().any(|class| code.starts_with(class)) || codes.contains(&&*code)
        }
    }
}
