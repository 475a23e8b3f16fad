//! PostgreSQL schemas, one per test.

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

/// A PostgreSQL schema that only one test uses.
pub struct Schema {
    server: String,
    name: String,
}

impl Schema {
    pub async fn create() -> Self {
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let schema = Self { server: postgres(), name };
        schema.execute(format!("CREATE SCHEMA {}", schema.name)).await;
        schema
    }

    /// The database URL of the schema. If `server` is given, it replaces the URL of the real
    /// server.
    pub fn url(&self, server: Option<&str>) -> String {
        let server = server.unwrap_or(&self.server);
        let separator = if server.contains('?') { '&' } else { '?' };
        format!("{server}{separator}options[search_path]={}", self.name)
    }

    pub async fn drop(self) {
        self.execute(format!("DROP SCHEMA {} CASCADE", self.name)).await;
    }

    async fn execute(&self, statement: String) {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(&self.server).await.unwrap();
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// The URL of the PostgreSQL server for tests.
#[expect(
    clippy::disallowed_methods,
    reason = "this variable configures the tests, not the program"
)]
pub fn postgres() -> String {
    std::env::var("SCRAPEBROKER_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!(
            "this test needs a PostgreSQL: run `make test`, or `scripts/with-postgres cargo test`"
        )
    })
}
