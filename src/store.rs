//! The only place that knows SQL.
//!
//! SQLite is the embedded default, PostgreSQL serves several replicas. There is
//! one set of statements for both, and each has a test that runs on both.
//!
//! Callers own the transaction: [`Store::begin_write`], some functions of
//! [`instances`], [`bindings`], [`imported`], [`unbound`], [`tsuru_apps`] and [`state`], then [`Tx::commit`]. A dropped
//! [`Tx`] changes nothing.
//!
//! # What must always hold
//!
//! * What was committed without an error survives a power cut, and is in the
//!   file that stands at the configured path (see `sqlite.rs`).
//! * A database that is away is [`StoreError::Unavailable`], within seconds,
//!   and is used again as soon as it is back, without a restart.
//! * No message names a password.
//!
//! # The order of locks
//!
//! PostgreSQL ends one of two transactions that wait for each other. So every transaction takes
//! what others may wait for in one order, and leaves out what it does not need:
//!
//! 1. [`Tx::lock`]: one instance, never two;
//! 2. [`Tx::lock_quotas`]: the quotas of Prometheus instances;
//! 3. [`state::bump`] or [`state::claim`]: the row of the store;
//! 4. all other rows. Functions that change any bump the revision first, so two transactions never
//!    meet here. Leases are no part of this: each is taken in a transaction of its own.
//!
//! [`Tx`] knows how far it is, and panics in tests and debug builds when the order is broken.
//!
//! # Time
//!
//! What replicas compare is the database's time ([`clock`]).

pub mod backup;
pub mod bindings;
pub mod clock;
mod error;
pub mod imported;
pub mod instances;
pub mod leases;
pub mod operations;
mod postgres;
mod private;
pub mod prometheus;
pub mod promfetcher;
pub mod refused_updates;
pub mod replicas;
mod sqlite;
pub mod state;
pub mod tsuru_apps;
pub mod unbound;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use bindings::ServiceBinding;
pub use error::StoreError;
pub use imported::ImportedBinding;
pub use instances::{Names, ServiceInstance};
pub use operations::{Before, Operation};
pub use private::protect;
pub use prometheus::{PrometheusInstance, Usage};
use ring::digest;
use secrecy::{ExposeSecret, SecretString};
use sqlite::{Opened, Sqlite};
use sqlx::{Any, AnyConnection, AnyPool, Transaction, migrate::Migrator};
use std::{path::Path, sync::Arc, time::Duration};

/// Append-only, so that a database of any age can be brought up to date.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a request waits for a connection before it is told that there is none.
const ACQUIRE: Duration = Duration::from_secs(3);

/// The name under which quotas are locked, the same in every version.
const QUOTAS: &str = "prometheus quotas";

/// How long opening may take, migrations included: another replica may be migrating.
const OPEN: Duration = Duration::from_secs(60);

/// Opened and migrated; clones share their connections.
#[derive(Clone, Debug)]
pub struct Store(Arc<Database>);

#[derive(Debug)]
enum Database {
    Sqlite(Sqlite),
    Postgres(AnyPool),
}

/// A transaction. Dropping it undoes it.
pub struct Tx {
    inner: Transaction<'static, Any>,
    /// The SQLite file that this transaction changes; none on PostgreSQL.
    file: Option<Arc<Opened>>,
    step: Step,
}

/// How far a transaction is in the order of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Begun,
    Instance,
    Quotas,
    Rows,
}

/// Most files and sockets that [`Store::open`] and its transactions use with the same arguments.
pub fn max_descriptors(url: &SecretString, max_connections: u32) -> usize {
    let connections = usize::try_from(max_connections).unwrap_or(usize::MAX);
    match url.expose_secret().starts_with("sqlite:") {
        true => sqlite::max_descriptors(connections),
        // One more migrates.
        false => connections.saturating_add(1),
    }
}

impl Store {
    /// Opens the database behind `url`, creating (SQLite) and migrating it as needed.
    ///
    /// `max_connections` is for PostgreSQL and for readers of SQLite, which has
    /// one writer.
    ///
    /// # Errors
    /// [`StoreError::Url`] for what is no URL of a database that we know,
    /// [`StoreError::Unavailable`] when it cannot be reached,
    /// [`StoreError::NewerVersion`] when a newer version of us has migrated it.
    pub async fn open(url: &SecretString, max_connections: u32) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let url = url.expose_secret();
        let open = async {
            match url.split_once(':') {
                Some(("sqlite", path)) => {
                    Sqlite::open(path, max_connections).await.map(Database::Sqlite)
                }
                Some(("postgres" | "postgresql", _)) => {
                    postgres::open(url, max_connections).await.map(Database::Postgres)
                }
                _ => Err(StoreError::Url("must begin with sqlite: or postgres:".to_owned())),
            }
        };
        let database = tokio::time::timeout(OPEN, open)
            .await
            .map_err(|_| StoreError::away(format!("not open after {} s", OPEN.as_secs())))??;
        Ok(Self(Arc::new(database)))
    }

    /// The SQLite file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match &*self.0 {
            Database::Sqlite(sqlite) => Some(sqlite.path()),
            Database::Postgres(_) => None,
        }
    }

    /// Starts a transaction that may change something.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn begin_write(&self) -> Result<Tx, StoreError> {
        match &*self.0 {
            Database::Sqlite(sqlite) => {
                let opened = sqlite.current().await?;
                // `IMMEDIATE`, so that it cannot fail half-way on the upgrade of a read lock.
                let inner = opened.writer().begin_with("BEGIN IMMEDIATE").await?;
                Ok(Tx { inner, file: Some(opened), step: Step::Begun })
            }
            Database::Postgres(pool) => {
                Ok(Tx { inner: pool.begin().await?, file: None, step: Step::Begun })
            }
        }
    }

    /// Starts a transaction that changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn begin_read(&self) -> Result<Tx, StoreError> {
        match &*self.0 {
            Database::Sqlite(sqlite) => {
                let opened = sqlite.current().await?;
                let inner = opened.reader().begin().await?;
                Ok(Tx { inner, file: Some(opened), step: Step::Begun })
            }
            Database::Postgres(pool) => {
                Ok(Tx { inner: pool.begin().await?, file: None, step: Step::Begun })
            }
        }
    }

    /// Closes every connection, after what is running has ended.
    pub async fn close(&self) {
        match &*self.0 {
            Database::Sqlite(sqlite) => sqlite.close().await,
            Database::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Keeps everyone else from deciding about an instance until the end.
    ///
    /// On SQLite the transaction does that by itself, for the whole database.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn lock(&mut self, instance: &str) -> Result<(), StoreError> {
        debug_assert!(self.step < Step::Instance, "an instance is locked first, and only one");
        self.step = Step::Instance;
        self.lock_name(instance).await
    }

    /// Keeps everyone else from using up quotas until the end.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn lock_quotas(&mut self) -> Result<(), StoreError> {
        debug_assert!(self.step < Step::Quotas, "quotas are locked before anything is changed");
        self.step = Step::Quotas;
        self.lock_name(QUOTAS).await
    }

    /// From here on nothing else may be locked.
    fn begin_changes(&mut self) {
        self.step = Step::Rows;
    }

    async fn lock_name(&mut self, what: &str) -> Result<(), StoreError> {
        if self.is_sqlite() {
            return Ok(());
        }
        // Selected from, not selected: its result is of a type that `Any` does not know.
        sqlx::query("SELECT 1 FROM pg_advisory_xact_lock($1)")
            .bind(lock_key(what))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    fn is_sqlite(&self) -> bool {
        self.file.is_some()
    }

    /// Makes the changes last. Only after this may anyone be told of them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database went away, or when its
    /// file is no longer the one at the configured path: what was written into
    /// an unlinked file is not kept.
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

/// Brings a database up to date.
async fn migrate(connection: &mut AnyConnection) -> Result<(), StoreError> {
    // `Migrator::run` is not `Send` over a plain connection; this is what it calls.
    Ok(MIGRATIONS.run_direct(None, connection, false).await?)
}

/// The same number in every replica and every version: PostgreSQL's advisory
/// locks are numbers. Two names with one number only wait for each other.
fn lock_key(what: &str) -> i64 {
    let digest = digest::digest(&digest::SHA256, what.as_bytes());
    digest.as_ref().iter().take(8).fold(0, |key, byte| key << 8 | i64::from(*byte))
}
