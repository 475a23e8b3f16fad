//! PostgreSQL, shared by several replicas.

use super::{ACQUIRE, StoreError};
use sqlx::{
    AnyPool, ConnectOptions, Connection, Executor,
    any::{AnyConnectOptions, AnyPoolOptions},
};
use std::{str::FromStr, time::Duration};

/// A replica that dies of a power cut holds its locks until the server notices;
/// a query of ours takes milliseconds, so ten seconds say that nobody waits for it.
const SESSION: &str = "SET statement_timeout = '10s'; SET lock_timeout = '10s'; \
                       SET idle_in_transaction_session_timeout = '10s'";

/// An unused connection is closed after this long.
const IDLE: Duration = Duration::from_secs(300);

pub(super) async fn open(url: &str, max_connections: u32) -> Result<AnyPool, StoreError> {
    // The parser's own message could show a part of the URL, and so of the password.
    let options = AnyConnectOptions::from_str(url).map_err(|_| {
        StoreError::Url("is not a URL like postgres://user:password@host/db".into())
    })?;
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

/// On a connection of its own: unlike a pool it says why it cannot connect, and
/// a migration may take longer than a query.
async fn migrate(options: &AnyConnectOptions) -> Result<(), StoreError> {
    let connect = tokio::time::timeout(ACQUIRE, options.connect());
    let mut connection = connect
        .await
        .map_err(|_| StoreError::away(format!("no connection within {} s", ACQUIRE.as_secs())))??;
    super::migrate(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
