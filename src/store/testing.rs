//! Databases for tests. Each test gets empty databases.

use super::{Database, ServiceBinding, Store};
use crate::domain::{InstanceNames, ServiceInstance};
use futures_util::FutureExt;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use std::panic::{AssertUnwindSafe, resume_unwind};

/// A PostgreSQL schema for one test.
pub(crate) struct Schema {
    server: String,
    name: String,
}

/// URL of the test server.
#[expect(clippy::disallowed_methods, reason = "a test's setting, not one of the program")]
pub(crate) fn postgres() -> String {
    std::env::var("SCRAPEBROKER_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!(
            "this test needs a PostgreSQL: run `make test`, or `scripts/with-postgres cargo test`"
        )
    })
}

impl Schema {
    pub(crate) async fn create() -> Self {
        let schema =
            Self { server: postgres(), name: format!("test_{}", uuid::Uuid::new_v4().simple()) };
        schema.execute("CREATE").await;
        schema
    }

    pub(crate) fn url(&self) -> String {
        self.url_at(&self.server)
    }

    /// URL of the schema with another address of the server.
    pub(crate) fn url_at(&self, server: &str) -> String {
        let separator = if server.contains('?') { '&' } else { '?' };
        format!("{server}{separator}options[search_path]={}", self.name)
    }

    pub(crate) async fn drop(self) {
        self.execute("DROP").await;
    }

    async fn execute(&self, verb: &str) {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(&self.server).await.unwrap();
        let cascade = if verb == "DROP" { "CASCADE" } else { "" };
        let statement = format!("{verb} SCHEMA {} {cascade}", self.name);
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
        connection.close().await.unwrap();
    }
}

impl Store {
    /// Limits the size of an SQLite database, as a full disk does.
    pub(crate) async fn limit_pages_for_tests(&self, pages: u32) {
        let Database::Sqlite(sqlite) = &*self.0 else { panic!("it is not SQLite") };
        let opened = sqlite.current().await.unwrap();
        let limit = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        opened.writer().execute(limit).await.unwrap();
    }
}

/// Runs `test` on an empty SQLite and an empty PostgreSQL.
pub(crate) async fn on_both(test: impl AsyncFn(Store)) {
    println!("on SQLite");
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    let store = Store::open(&url.parse().unwrap(), 4).await.unwrap();
    test(store.clone()).await;
    store.close().await;

    println!("on PostgreSQL");
    let schema = Schema::create().await;
    let store = Store::open(&schema.url().parse().unwrap(), 4).await.unwrap();
    let outcome = AssertUnwindSafe(test(store.clone())).catch_unwind().await;
    store.close().await;
    schema.drop().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

pub(crate) fn instance(id: &str) -> ServiceInstance {
    ServiceInstance {
        instance_id: id.parse().unwrap(),
        service_id: "service".parse().unwrap(),
        plan_id: "plan".parse().unwrap(),
        organization_guid: "org".parse().unwrap(),
        space_guid: "space".parse().unwrap(),
        names: InstanceNames {
            organization: Some("acme".to_owned()),
            space: None,
            instance: Some("my metrics, ü".to_owned()),
        },
        maintenance_version: None,
        parameters: "encrypted".to_owned(),
    }
}

pub(crate) fn binding(instance: &str, id: &str) -> ServiceBinding {
    ServiceBinding {
        binding_id: id.parse().unwrap(),
        instance_id: instance.parse().unwrap(),
        service_id: "service".parse().unwrap(),
        plan_id: "plan".parse().unwrap(),
        app_guid: Some("app".parse().unwrap()),
        space_guid: "space".parse().unwrap(),
        parameters: "encrypted".to_owned(),
        token_hash: "hash".to_owned(),
        token_salt: String::new(),
        predecessor_id: None,
    }
}

/// Whether a session with this `application_name` waits for a lock.
pub(crate) async fn waits_for_a_lock(store: &Store, name: &str) -> bool {
    let mut tx = store.begin_read().await.unwrap();
    let row = sqlx::query(
        "SELECT 1 AS waits FROM pg_stat_activity \
         WHERE application_name = $1 AND wait_event_type = 'Lock'",
    )
    .bind(name)
    .fetch_optional(tx.connection())
    .await;
    row.unwrap().is_some()
}
