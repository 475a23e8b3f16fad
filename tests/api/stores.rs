//! Empty databases for tests, one per test and kind of database.

use futures_util::FutureExt;
use scrapebroker::store::Store;
use std::panic::{AssertUnwindSafe, resume_unwind};
use support::databases::Schema;

/// Runs `test` on an empty SQLite database, and then on an empty PostgreSQL schema.
pub(crate) async fn on_both_stores(test: impl AsyncFn(Store)) {
    println!("on SQLite");
    on_sqlite_store(&test).await;

    println!("on PostgreSQL");
    let schema = Schema::create().await;
    let store = Store::open(&schema.url(None).parse().unwrap(), 4).await.unwrap();
    let outcome = AssertUnwindSafe(test(store.clone())).catch_unwind().await;
    store.close().await;
    schema.drop().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// Runs `test` on an empty SQLite database. For tests that do not depend on the kind of database.
pub(crate) async fn on_sqlite_store(test: impl AsyncFn(Store)) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    let store = Store::open(&url.parse().unwrap(), 4).await.unwrap();
    test(store.clone()).await;
    store.close().await;
}
