//! Reads promfetcher's database.
//!
//! It has one table, `app_endpoints`, in SQLite, MySQL or PostgreSQL. It is only read.

use super::{StoreError, sqlite};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AnyConnection, ConnectOptions, Connection, Row, any::AnyConnectOptions};
use std::{str::FromStr, time::Duration};

/// Timeout for connecting and reading. A server that drops packets would otherwise block the import
/// forever.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A row of `app_endpoints`. NULL is read as an empty string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppEndpoint {
    pub guid: String,
    /// Empty for a service key.
    pub app_guid: String,
    pub endpoint: String,
}

/// Error of [`app_endpoints`]. It never contains a password.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not the URL of a database that promfetcher supports.
    #[error("promfetcher's database URL {0}")]
    Url(String),
    /// The database cannot be reached or refuses access.
    #[error("promfetcher's database cannot be opened: {0}")]
    Unavailable(String),
    /// The table does not exist or cannot be read.
    #[error("promfetcher's database has no table app_endpoints that can be read: {0}")]
    NoEndpoints(String),
}

/// Returns all rows of `app_endpoints` in the database at `url`, which has the format of
/// promfetcher's `db_conn`.
pub async fn app_endpoints(url: &SecretString) -> Result<Vec<AppEndpoint>, SourceError> {
    sqlx::any::install_default_drivers();
    let options = options(url.expose_secret())?;
    let read = async {
        let mut connection = options.connect().await.map_err(|error| unavailable(&error))?;
        let rows = rows(&mut connection).await;
        let rows = rows.map_err(|error| SourceError::NoEndpoints(text_of(&error)))?;
        // All rows have been read, so an error of `close` does not matter.
        let _ = connection.close().await;
        Ok(rows)
    };
    let timed_out =
        || SourceError::Unavailable(format!("no answer within {} s", TIMEOUT.as_secs()));
    tokio::time::timeout(TIMEOUT, read).await.map_err(|_| timed_out())?
}

fn options(url: &str) -> Result<AnyConnectOptions, SourceError> {
    let url = url.trim();
    let url = match url.split_once(':') {
        // Read-only, so that a wrong path does not create an empty database.
        Some(("sqlite", path)) => sqlite::url_of(path, "ro").map_err(|error| match error {
            StoreError::Url(problem) => SourceError::Url(problem),
            error => SourceError::Unavailable(error.to_string()),
        })?,
        Some(("mysql" | "mariadb" | "postgres" | "postgresql", _)) => url.to_owned(),
        _ => {
            let problem = "must begin with sqlite:, mysql:, mariadb: or postgres:";
            return Err(SourceError::Url(problem.to_owned()));
        }
    };
    // The parser's error text could contain a part of the password.
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

fn unavailable(error: &sqlx::Error) -> SourceError {
    SourceError::Unavailable(text_of(error))
}

/// Text of a database error. It never contains a password.
fn text_of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Configuration(_) => "its URL is not understood".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
