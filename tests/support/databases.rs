//! Databases for tests: each test gets its own of each kind.

use futures_util::FutureExt;
use scrapebroker::store::Store;
use secrecy::SecretString;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use std::panic::{AssertUnwindSafe, resume_unwind};

/// A PostgreSQL schema of a test's own.
pub(crate) struct Schema {
    server: String,
    name: String,
}

impl Schema {
    pub(crate) async fn create() -> Self {
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let schema = Self { server: postgres(), name };
        schema.execute(format!("CREATE SCHEMA {}", schema.name)).await;
        schema
    }

    /// The URL of the schema, over `server` instead of the real one if given.
    pub(crate) fn url(&self, server: Option<&str>) -> SecretString {
        let server = server.unwrap_or(&self.server);
        let separator = if server.contains('?') { '&' } else { '?' };
        format!("{server}{separator}options[search_path]={}", self.name).into()
    }

    pub(crate) async fn drop(self) {
        self.execute(format!("DROP SCHEMA {} CASCADE", self.name)).await;
    }

    async fn execute(&self, statement: String) {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(&self.server).await.unwrap();
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// The test server's URL.
#[expect(clippy::disallowed_methods, reason = "a test's setting, not one of the program")]
pub(crate) fn postgres() -> String {
    std::env::var("SCRAPEBROKER_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!(
            "this test needs a PostgreSQL: run `make test`, or `scripts/with-postgres cargo test`"
        )
    })
}

/// Runs `test` on an empty SQLite and on an empty PostgreSQL.
pub(crate) async fn on_both_stores(test: impl AsyncFn(Store)) {
    println!("on SQLite");
    on_sqlite_store(&test).await;

    println!("on PostgreSQL");
    let schema = Schema::create().await;
    let store = Store::open(&schema.url(None), 4).await.unwrap();
    let outcome = AssertUnwindSafe(test(store.clone())).catch_unwind().await;
    store.close().await;
    schema.drop().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// Runs `test` on an empty SQLite, for what has nothing to do with databases.
pub(crate) async fn on_sqlite_store(test: impl AsyncFn(Store)) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    let store = Store::open(&url.into(), 4).await.unwrap();
    test(store.clone()).await;
    store.close().await;
}
