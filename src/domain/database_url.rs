//! The database URL.

use secrecy::{ExposeSecret, SecretString};
use std::{fmt, str::FromStr};
use url::Url;

/// Replaces a secret in output.
pub const MASK: &str = "************";

/// The value of `database_url`. `Display` and `Debug` mask its password.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A path: the part after `sqlite:` and at most two slashes.
    Sqlite(String),
    /// The complete URL.
    Postgres(SecretString),
}

impl DatabaseUrl {
    /// Whether `text` is a PostgreSQL URL by its scheme.
    pub fn is_postgres(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if Self::is_postgres(text) {
            let url = Url::parse(text).map_err(|error| {
                format!(
                    "is not a URL: {error}; special characters of a password are percent-encoded"
                )
            })?;
            let has_host = url.host_str().is_some_and(|host| !host.is_empty());
            // The query may name the directory of a Unix socket.
            if !has_host && !url.query_pairs().any(|(name, _)| name == "host") {
                return Err("names no host".to_owned());
            }
            return Ok(Self::Postgres(text.into()));
        }
        match text.strip_prefix("sqlite:") {
            Some("" | "//") => Err("names no file; write sqlite://scrapebroker.db".to_owned()),
            Some(path) => Ok(Self::Sqlite(path.to_owned())),
            None => Err("must begin with sqlite:// or postgres://".to_owned()),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{path}"),
            Self::Postgres(url) => f.write_str(&masked(url.expose_secret())),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn masked(url: &str) -> String {
    let is_secret = |name: &str| name.to_ascii_lowercase().contains("password");
    let Ok(mut url) = Url::parse(url) else { return MASK.to_owned() };
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    if url.query_pairs().any(|(name, _)| is_secret(&name)) {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let masked = pairs.iter().map(|(name, value)| match is_secret(name) {
            true => (name.as_str(), MASK),
            false => (name.as_str(), value.as_str()),
        });
        url.query_pairs_mut().clear().extend_pairs(masked);
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_sqlite_or_postgresql() {
        for sqlite in ["sqlite://scrapebroker.db", "sqlite::memory:", "sqlite:///x.db?mode=rwc"] {
            let DatabaseUrl::Sqlite(path) = sqlite.parse().unwrap() else { panic!("{sqlite}") };
            assert_eq!(format!("sqlite:{path}"), sqlite);
        }
        for postgres in [
            "postgres://u:p@db.example.com:5432/broker?sslmode=require",
            "postgresql://db/broker",
            "postgres:///broker?host=/run/postgresql",
        ] {
            let DatabaseUrl::Postgres(url) = postgres.parse().unwrap() else {
                panic!("{postgres}")
            };
            assert_eq!(url.expose_secret(), postgres);
        }
        for wrong in [
            "mysql://u:hunter2@db/broker",
            "postgres://",
            "postgres:///broker",
            "postgres://u:hun/ter2@db/x",
            "postgres://u:hunter2@[::1/d",
            "sqlite:",
            "scrapebroker.db",
        ] {
            assert!(!wrong.parse::<DatabaseUrl>().unwrap_err().contains("hun"), "{wrong}");
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        for (text, expected) in [
            ("sqlite://my data.db", "sqlite://my data.db"),
            ("postgres://u:hunter2@db/x", "postgres://u:************@db/x"),
            ("postgres://u@db/x?sslmode=require", "postgres://u@db/x?sslmode=require"),
            (
                "postgres://u@db/x?sslmode=require&PassWord=hunter2",
                "postgres://u@db/x?sslmode=require&PassWord=************",
            ),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(
                (url.to_string(), format!("{url:?}")),
                (expected.to_owned(), expected.into())
            );
        }
    }
}
