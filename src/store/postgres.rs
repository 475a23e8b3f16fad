//! PostgreSQL, shared by several replicas.

use super::{ACQUIRE_TIMEOUT, StoreError};
use sqlx::{
    AnyPool, ConnectOptions, Connection, Executor,
    any::{AnyConnectOptions, AnyPoolOptions},
    postgres::{PgConnectOptions, PgSslMode},
};
use std::{borrow::Cow, net::IpAddr, str::FromStr, time::Duration};
use url::Url;

/// The server keeps the locks of a replica that lost power until these timeouts. Queries take
/// milliseconds, so a query that takes ten seconds belongs to a dead replica.
const SESSION_SETTINGS: &str = "SET statement_timeout = '10s'; SET lock_timeout = '10s'; \
                       SET idle_in_transaction_session_timeout = '10s'";

/// PostgreSQL sends a notice for each table that a migration finds existing, and the driver logs
/// it.
const SUPPRESS_NOTICES: &str = "SET client_min_messages = warning";

const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) async fn open(url: &str, max_connections: u32) -> Result<AnyPool, StoreError> {
    let url = &*with_host_parameter(url);
    // The parser's error text could contain a part of the password.
    let options = AnyConnectOptions::from_str(url).map_err(|_| {
        StoreError::Url("is not a URL like postgres://user:password@host/db".into())
    })?;
    if let Some((host, tls_risk)) = PgConnectOptions::from_str(url).ok().as_ref().and_then(tls_risk)
    {
        tracing::warn!(
            host,
            risk = tls_risk,
            "insecure connection to postgresql; set sslmode=verify-full in database_url"
        );
    }
    migrate(&options).await?;
    let pool = AnyPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(SESSION_SETTINGS).await.map(drop) })
        })
        .connect_lazy_with(options);
    Ok(pool)
}

/// Adds a `host` parameter without brackets to a URL with an IPv6 address. The driver would
/// otherwise look up the host with brackets and compare that with the server's certificate.
fn with_host_parameter(url: &str) -> Cow<'_, str> {
    let Ok(mut named) = Url::parse(url) else { return Cow::Borrowed(url) };
    let bare = named.host_str().and_then(|host| host.strip_prefix('[')?.strip_suffix(']'));
    let Some(bare) = bare.map(str::to_owned) else { return Cow::Borrowed(url) };
    let has_host = named.query_pairs().any(|(key, _)| key == "host" || key == "hostaddr");
    if !has_host {
        named.query_pairs_mut().append_pair("host", &bare);
    }
    Cow::Owned(named.into())
}

/// Describes how the connection could be attacked. Returns `None` for local connections.
///
/// Without an `sslmode`, the driver tries TLS and falls back to plain text.
fn tls_risk(options: &PgConnectOptions) -> Option<(String, &'static str)> {
    let host = options.get_host();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_local = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback());
    let tls_risk = match options.get_ssl_mode() {
        PgSslMode::VerifyFull => return None,
        PgSslMode::VerifyCa => "the host name in the certificate is not verified",
        PgSslMode::Require => "the certificate is not verified",
        _ => "the connection may be unencrypted",
    };
    (!is_local).then(|| (host.to_owned(), tls_risk))
}

/// Address of the server for error texts.
fn server(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), port) if !host.is_empty() => format!("{host}:{}", port.unwrap_or(5432)),
        _ => "a local socket".to_owned(),
    }
}

/// Uses a separate connection: a pool hides why it cannot connect, and a migration may take longer
/// than the timeout of a query.
async fn migrate(options: &AnyConnectOptions) -> Result<(), StoreError> {
    let connect = tokio::time::timeout(ACQUIRE_TIMEOUT, async { Ok(options.connect().await?) });
    let timed_out =
        || StoreError::unavailable(format!("no connection within {} s", ACQUIRE_TIMEOUT.as_secs()));
    let connected = connect.await.unwrap_or_else(|_| Err(timed_out()));
    let mut connection = connected.map_err(|error| error.at(&server(&options.database_url)))?;
    connection.execute(SUPPRESS_NOTICES).await?;
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
            let options = PgConnectOptions::from_str(&with_host_parameter(&url)).unwrap();
            assert_eq!(options.get_host(), expected, "{rest}");
        }
    }

    #[test]
    fn an_insecure_connection_is_reported() {
        for (rest, expected) in [
            ("db.example.com/x?sslmode=verify-full", ""),
            ("db.example.com/x?sslmode=verify-full&sslrootcert=/etc/ca.pem", ""),
            ("db.example.com/x?sslmode=verify-ca", "host name in the certificate is not verified"),
            ("db.example.com/x?sslmode=require", "the certificate is not verified"),
            ("db.example.com/x?sslmode=prefer", "may be unencrypted"),
            ("db.example.com/x?sslmode=disable", "may be unencrypted"),
            ("db.example.com/x", "may be unencrypted"),
            ("10.0.0.1:5432/x", "may be unencrypted"),
            ("localhost/x", ""),
            ("127.0.0.1:5433/x?sslmode=disable", ""),
            ("[::1]/x", ""),
            ("%2Fvar%2Frun%2Fpostgresql/x", ""),
        ] {
            let url = format!("postgres://u:hunter2@{rest}");
            let found = tls_risk(&PgConnectOptions::from_str(&url).unwrap());
            let text =
                found.map(|(host, tls_risk)| format!("{host} {tls_risk}")).unwrap_or_default();
            assert_eq!(text.is_empty(), expected.is_empty(), "{rest}: {text}");
            assert!(text.contains(expected) && !text.contains("hunter2"), "{rest}: {text}");
        }
    }
}
