//! PostgreSQL, shared by several replicas.

use super::{ACQUIRE, StoreError};
use sqlx::{
    AnyPool, ConnectOptions, Connection, Executor,
    any::{AnyConnectOptions, AnyPoolOptions},
    postgres::{PgConnectOptions, PgSslMode},
};
use std::{borrow::Cow, net::IpAddr, str::FromStr, time::Duration};
use url::Url;

/// A replica that dies of a power cut holds its locks until the server notices;
/// a query of ours takes milliseconds, so ten seconds say that nobody waits for it.
const SESSION: &str = "SET statement_timeout = '10s'; SET lock_timeout = '10s'; \
                       SET idle_in_transaction_session_timeout = '10s'";

/// PostgreSQL notes at each migration that a table exists, and the driver logs it as news.
const QUIET: &str = "SET client_min_messages = warning";

/// An unused connection is closed after this long.
const IDLE: Duration = Duration::from_secs(300);

pub(super) async fn open(url: &str, max_connections: u32) -> Result<AnyPool, StoreError> {
    let url = &*named_host(url);
    // The parser's own message could show a part of the URL, and so of the password.
    let options = AnyConnectOptions::from_str(url).map_err(|_| {
        StoreError::Url("is not a URL like postgres://user:password@host/db".into())
    })?;
    if let Some((host, risk)) = PgConnectOptions::from_str(url).ok().as_ref().and_then(risk) {
        tracing::warn!(host, "{risk}; set sslmode=verify-full in database_url");
    }
    migrate(&options).await?;
    let pool = AnyPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(IDLE)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(SESSION).await.map(drop) })
        })
        .connect_lazy_with(options);
    Ok(pool)
}

/// Names the host of an IPv6 URL once more, without brackets: the driver looks up the host of the
/// URL with its brackets, and compares it so with the certificate of the server.
fn named_host(url: &str) -> Cow<'_, str> {
    let Ok(mut named) = Url::parse(url) else { return Cow::Borrowed(url) };
    let bare = named.host_str().and_then(|host| host.strip_prefix('[')?.strip_suffix(']'));
    let Some(bare) = bare.map(str::to_owned) else { return Cow::Borrowed(url) };
    let has_host = named.query_pairs().any(|(key, _)| key == "host" || key == "hostaddr");
    if !has_host {
        named.query_pairs_mut().append_pair("host", &bare);
    }
    Cow::Owned(named.into())
}

/// What somebody in the network can do to the connection; none on the machine itself.
///
/// Without a mode the driver tries TLS and goes on without it.
fn risk(options: &PgConnectOptions) -> Option<(String, &'static str)> {
    let host = options.get_host();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_local = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback());
    let risk = match options.get_ssl_mode() {
        PgSslMode::VerifyFull => return None,
        PgSslMode::VerifyCa => "the name in the certificate of PostgreSQL is not compared",
        PgSslMode::Require => "the certificate of PostgreSQL is not verified",
        _ => "the connection to PostgreSQL may be without TLS",
    };
    (!is_local).then(|| (host.to_owned(), risk))
}

/// Where the server is, for people.
fn server(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), port) if !host.is_empty() => format!("{host}:{}", port.unwrap_or(5432)),
        _ => "a local socket".to_owned(),
    }
}

/// On a connection of its own: unlike a pool it says why it cannot connect, and
/// a migration may take longer than a query.
async fn migrate(options: &AnyConnectOptions) -> Result<(), StoreError> {
    let connect = tokio::time::timeout(ACQUIRE, async { Ok(options.connect().await?) });
    let timed_out = || StoreError::away(format!("no connection within {} s", ACQUIRE.as_secs()));
    let connected = connect.await.unwrap_or_else(|_| Err(timed_out()));
    let mut connection = connected.map_err(|error| error.at(&server(&options.database_url)))?;
    connection.execute(QUIET).await?;
    super::migrate(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_ipv6_url_has_no_brackets() {
        for (rest, expected) in [
            ("[::1]:5433/x", "::1"),
            ("[::1]:5433/x?sslmode=verify-full&sslrootcert=/etc/ca.pem", "::1"),
            ("[fd00::1]/x?host=db.example.com", "db.example.com"),
            ("db.example.com/x", "db.example.com"),
        ] {
            let url = format!("postgres://u:hunter2@{rest}");
            let options = PgConnectOptions::from_str(&named_host(&url)).unwrap();
            assert_eq!(options.get_host(), expected, "{rest}");
        }
    }

    #[test]
    fn a_connection_that_others_can_read_or_take_over_is_named() {
        for (rest, expected) in [
            ("db.example.com/x?sslmode=verify-full", ""),
            ("db.example.com/x?sslmode=verify-full&sslrootcert=/etc/ca.pem", ""),
            ("db.example.com/x?sslmode=verify-ca", "is not compared"),
            ("db.example.com/x?sslmode=require", "is not verified"),
            ("db.example.com/x?sslmode=prefer", "without TLS"),
            ("db.example.com/x?sslmode=disable", "without TLS"),
            ("db.example.com/x", "without TLS"),
            ("10.0.0.1:5432/x", "without TLS"),
            ("localhost/x", ""),
            ("127.0.0.1:5433/x?sslmode=disable", ""),
            ("[::1]/x", ""),
            ("%2Fvar%2Frun%2Fpostgresql/x", ""),
        ] {
            let url = format!("postgres://u:hunter2@{rest}");
            let found = risk(&PgConnectOptions::from_str(&url).unwrap());
            let text = found.map(|(host, risk)| format!("{host} {risk}")).unwrap_or_default();
            assert_eq!(text.is_empty(), expected.is_empty(), "{rest}: {text}");
            assert!(text.contains(expected) && !text.contains("hunter2"), "{rest}: {text}");
        }
    }
}
