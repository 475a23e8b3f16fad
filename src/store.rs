//! The database. Only this module contains SQL.
//!
//! SQLite is the embedded default. PostgreSQL can be shared by several replicas. Both use the same
//! statements, and each statement has a test on both.
//!
//! Callers own the transaction: they call [`Store::begin_write`], functions of modules such as
//! [`instances`] and [`bindings`], and [`Tx::commit`]. A dropped [`Tx`] is rolled back.
//!
//! # Invariants
//!
//! * A committed transaction survives a power failure and is in the file at the configured path
//!   (see `sqlite.rs`).
//! * If the database is unavailable, calls return [`StoreError::Unavailable`] within seconds. The
//!   store reconnects without a restart.
//! * No error text contains a password.
//!
//! # Lock order
//!
//! PostgreSQL aborts one of two transactions that wait for each other. Therefore all transactions
//! acquire their locks in the same order and skip those that they do not need:
//!
//! 1. [`Tx::lock`]: one instance, never two
//! 2. [`Tx::lock_quotas`]: the quotas of Prometheus instances
//! 3. [`state::bump`] or [`state::claim`]: the row of the store
//! 4. all other rows. Functions that change a row call [`state::bump`] first, so two transactions
//!    never conflict here. Leases are an exception: each is acquired in its own transaction.
//!
//! Transactions of [`events`] acquire none of these locks. Their order is: rows of queues
//! ([`events::queues::lock`]) in ascending order, then other rows of [`events`]. A transaction that
//! changes several rows, or a row twice, locks their queues. Deleting a binding deletes its queue,
//! and waits for a transaction that has locked it.
//!
//! [`Tx`] tracks the last lock. In tests and debug builds it panics if the order is violated.
//!
//! # Time
//!
//! Replicas compare only times of the database's clock ([`clock`]).

pub mod backup;
pub mod bindings;
pub mod clock;
mod error;
pub mod events;
pub mod imported;
pub mod instances;
pub mod leases;
mod migrations;
pub mod operations;
mod postgres;
mod private;
pub mod prometheus;
pub mod promfetcher;
pub mod refused_updates;
pub mod replicas;
pub mod retained_salts;
mod sqlite;
pub mod state;
pub mod tsuru_apps;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use crate::domain::DatabaseUrl;
pub use bindings::ServiceBinding;
pub use error::StoreError;
pub use imported::ImportedBinding;
use migrations::MIGRATIONS;
pub use operations::{Operation, PreviousState};
pub use private::restrict_permissions;
pub use prometheus::Usage;
use ring::digest;
use secrecy::ExposeSecret;
use sqlite::{OpenDatabase, Sqlite};
use sqlx::{Any, AnyConnection, AnyPool, Transaction};
use std::{path::Path, sync::Arc, time::Duration};

/// Timeout for getting a connection from the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Name of the lock on quotas. It must be the same in all versions.
const QUOTAS_LOCK: &str = "prometheus quotas";

/// Timeout for opening the database. It includes migrations, which another replica may be running.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// A migrated database. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Store(Arc<Database>);

#[derive(Debug)]
enum Database {
    Sqlite(Sqlite),
    Postgres(AnyPool),
}

/// A transaction. Dropping it rolls it back.
pub struct Tx {
    inner: Transaction<'static, Any>,
    /// The SQLite database of this transaction. None on PostgreSQL.
    file: Option<Arc<OpenDatabase>>,
    lock_stage: LockStage,
}

/// The last lock that a transaction acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LockStage {
    Begun,
    Instance,
    Quotas,
    Rows,
    Events,
}

/// Maximum number of file descriptors that [`Store::open`] with the same arguments uses.
pub fn max_descriptors(url: &DatabaseUrl, max_connections: u32) -> usize {
    let connections = usize::try_from(max_connections).unwrap_or(usize::MAX);
    match url {
        DatabaseUrl::Sqlite(_) => sqlite::max_descriptors(connections),
        // Migrations use one more connection.
        DatabaseUrl::Postgres(_) => connections.saturating_add(1),
    }
}

impl Store {
    /// Opens and migrates the database at `url`. Creates an SQLite file if it is missing.
    ///
    /// `max_connections` limits the pool of PostgreSQL and the readers of SQLite, which has one
    /// writer.
    ///
    /// # Errors
    /// [`StoreError::Url`] for an unsupported URL, [`StoreError::Unavailable`] if the
    /// database cannot be reached, [`StoreError::NewerVersion`] if a newer version has migrated it.
    pub async fn open(url: &DatabaseUrl, max_connections: u32) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let open = async {
            match url {
                DatabaseUrl::Sqlite(path) => {
                    Sqlite::open(path, max_connections).await.map(Database::Sqlite)
                }
                DatabaseUrl::Postgres(url) => postgres::open(url.expose_secret(), max_connections)
                    .await
                    .map(Database::Postgres),
            }
        };
        let database = tokio::time::timeout(OPEN_TIMEOUT, open).await.map_err(|_| {
            StoreError::unavailable(format!("not open after {} s", OPEN_TIMEOUT.as_secs()))
        })??;
        Ok(Self(Arc::new(database)))
    }

    /// The SQLite file. None on PostgreSQL.
    pub fn file(&self) -> Option<&Path> {
        match &*self.0 {
            Database::Sqlite(sqlite) => Some(sqlite.path()),
            Database::Postgres(_) => None,
        }
    }

    /// Starts a read-write transaction.
    pub async fn begin_write(&self) -> Result<Tx, StoreError> {
        match &*self.0 {
            Database::Sqlite(sqlite) => {
                let opened = sqlite.current().await?;
                // `IMMEDIATE` prevents failures when a read lock is upgraded later.
                let inner = opened.writer().begin_with("BEGIN IMMEDIATE").await?;
                Ok(Tx { inner, file: Some(opened), lock_stage: LockStage::Begun })
            }
            Database::Postgres(pool) => {
                Ok(Tx { inner: pool.begin().await?, file: None, lock_stage: LockStage::Begun })
            }
        }
    }

    /// Starts a read-only transaction.
    pub async fn begin_read(&self) -> Result<Tx, StoreError> {
        match &*self.0 {
            Database::Sqlite(sqlite) => {
                let opened = sqlite.current().await?;
                let inner = opened.reader().begin().await?;
                Ok(Tx { inner, file: Some(opened), lock_stage: LockStage::Begun })
            }
            Database::Postgres(pool) => {
                Ok(Tx { inner: pool.begin().await?, file: None, lock_stage: LockStage::Begun })
            }
        }
    }

    /// Closes all connections after running transactions have ended.
    pub async fn close(&self) {
        match &*self.0 {
            Database::Sqlite(sqlite) => sqlite.close().await,
            Database::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Locks an instance until the end of the transaction.
    ///
    /// On SQLite a write transaction already locks the whole database.
    pub async fn lock(&mut self, instance: &str) -> Result<(), StoreError> {
        debug_assert!(
            self.lock_stage < LockStage::Instance,
            "the lock of an instance must be the first lock"
        );
        self.lock_stage = LockStage::Instance;
        self.lock_name(instance).await
    }

    /// Locks the quotas until the end of the transaction.
    pub async fn lock_quotas(&mut self) -> Result<(), StoreError> {
        debug_assert!(
            self.lock_stage < LockStage::Quotas,
            "quotas must be locked before rows are changed"
        );
        self.lock_stage = LockStage::Quotas;
        self.lock_name(QUOTAS_LOCK).await
    }

    /// After this call no other lock may be acquired.
    fn begin_changes(&mut self) {
        debug_assert!(
            self.lock_stage < LockStage::Events,
            "a transaction of events changes no other rows"
        );
        self.lock_stage = LockStage::Rows;
    }

    /// Rows of events may be changed after this call, and no others.
    fn lock_events(&mut self) {
        debug_assert!(
            matches!(self.lock_stage, LockStage::Begun | LockStage::Events),
            "events are changed in transactions of their own"
        );
        self.lock_stage = LockStage::Events;
    }

    async fn lock_name(&mut self, what: &str) -> Result<(), StoreError> {
        if self.is_sqlite() {
            return Ok(());
        }
        // The function is in the FROM clause because `Any` does not support the type of its result.
        sqlx::query("SELECT 1 FROM pg_advisory_xact_lock($1)")
            .bind(lock_key(what))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    fn is_sqlite(&self) -> bool {
        self.file.is_some()
    }

    /// Commits the transaction. Callers must not publish the changes earlier.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database became unavailable, or if the file at
    /// the configured path was replaced: changes in an unlinked file would be lost.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.inner.commit().await?;
        match self.file {
            Some(file) => file.check_in_place().await,
            None => Ok(()),
        }
    }

    fn connection(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }
}

async fn migrate(connection: &mut AnyConnection) -> Result<(), StoreError> {
    // `Migrator::run` is not `Send` over a plain connection. This is the function that it calls.
    Ok(MIGRATIONS.run_direct(None, connection, false).await?)
}

/// PostgreSQL identifies advisory locks by numbers. The number of a name must be the same in all
/// replicas and versions. If two names have the same number, their transactions only wait for each
/// other.
fn lock_key(what: &str) -> i64 {
    let digest = digest::digest(&digest::SHA256, what.as_bytes());
    digest.as_ref().iter().take(8).fold(0, |key, byte| key << 8 | i64::from(*byte))
}
