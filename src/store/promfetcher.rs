//! promfetcher's own database, read once and never written to.
//!
//! It has one table, `app_endpoints`, in SQLite, MySQL or PostgreSQL.

use super::{StoreError, sqlite};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AnyConnection, ConnectOptions, Connection, Row, any::AnyConnectOptions};
use std::{str::FromStr, time::Duration};

/// How long connecting and reading may take; a server that drops packets would keep us for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// A row of `app_endpoints`, as it stands there; a missing text is an empty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppEndpoint {
    /// The binding.
    pub guid: String,
    /// The app; empty for a service key.
    pub app_guid: String,
    /// Path of the app's metrics.
    pub endpoint: String,
}

/// Why promfetcher's bindings could not be read. Never shows a password.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No URL of a database that promfetcher can have.
    #[error("promfetcher's database URL {0}")]
    Url(String),
    /// The database is away or refuses us.
    #[error("promfetcher's database cannot be opened: {0}")]
    Away(String),
    /// It can be reached and is not promfetcher's, or is not ours to read.
    #[error("promfetcher's database has no table app_endpoints that can be read: {0}")]
    NoEndpoints(String),
}

/// All rows of `app_endpoints` in the database behind `url`, which is written as
/// promfetcher's `db_conn` is.
///
/// # Errors
/// [`SourceError`]
pub async fn app_endpoints(url: &SecretString) -> Result<Vec<AppEndpoint>, SourceError> {
    sqlx::any::install_default_drivers();
    let options = options(url.expose_secret())?;
    let read = async {
        let mut connection = options.connect().await.map_err(|error| away(&error))?;
        let rows = rows(&mut connection).await;
        let rows = rows.map_err(|error| SourceError::NoEndpoints(text_of(&error)))?;
        // Everything is read by now.
        let _ = connection.close().await;
        Ok(rows)
    };
    let late = || SourceError::Away(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, read).await.map_err(|_| late())?
}

fn options(url: &str) -> Result<AnyConnectOptions, SourceError> {
    let url = url.trim();
    let url = match url.split_once(':') {
        // Read-only, so that a mistyped path does not become an empty database.
        Some(("sqlite", path)) => sqlite::url_of(path, "ro").map_err(|error| match error {
            StoreError::Url(problem) => SourceError::Url(problem),
            error => SourceError::Away(error.to_string()),
        })?,
        Some(("mysql" | "mariadb" | "postgres" | "postgresql", _)) => url.to_owned(),
        _ => {
            let problem = "must begin with sqlite:, mysql:, mariadb: or postgres:";
            return Err(SourceError::Url(problem.to_owned()));
        }
    };
    // The parser's own message could show a part of the URL, and so of the password.
    AnyConnectOptions::from_str(&url).map_err(|_| {
        let problem = "is not a URL like mysql://user:password@host:3306/database; special \
                       characters of a password are percent-encoded";
        SourceError::Url(problem.to_owned())
    })
}

async fn rows(connection: &mut AnyConnection) -> Result<Vec<AppEndpoint>, sqlx::Error> {
    let rows = sqlx::query("SELECT guid, app_guid, endpoint FROM app_endpoints ORDER BY guid")
        .fetch_all(connection)
        .await?;
    let text = |row: &sqlx::any::AnyRow, column| {
        row.try_get::<Option<String>, _>(column).map(Option::unwrap_or_default)
    };
    rows.iter()
        .map(|row| {
            Ok(AppEndpoint {
                guid: text(row, "guid")?,
                app_guid: text(row, "app_guid")?,
                endpoint: text(row, "endpoint")?,
            })
        })
        .collect()
}

fn away(error: &sqlx::Error) -> SourceError {
    SourceError::Away(text_of(error))
}

/// What the server or the system says; neither repeats a password.
fn text_of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Configuration(_) => "its URL is not understood".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
