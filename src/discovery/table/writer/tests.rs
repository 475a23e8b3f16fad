//! Tests with a paused clock.

use crate::{
    discovery::{
        RouteTable,
        error::SourceError,
        report::{Report, Reporter},
        sources::gorouter,
        table::{self, Retention, SourceName},
        testing::{apps, document, until},
    },
    domain::{AppKey, Prefer},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

/// Two sources controlled by the test, and the table that the writer publishes.
fn reporters_and_table(shutdown: &CancellationToken) -> (Reporter, Reporter, RouteTable) {
    let retention = Retention {
        stale_after: Duration::from_secs(120),
        keep: Duration::from_secs(3600),
        first_round: Duration::ZERO,
    };
    let named =
        |name: &str| SourceName { kind: gorouter::KIND, key: name.into(), name: name.into() };
    let (sender, receiver) = mpsc::channel(1);
    let names = [named("one"), named("two")];
    let (table, writer) = table::open(retention, &names, receiver, shutdown.clone());
    tokio::spawn(writer);
    (Reporter::new(0, sender.clone()), Reporter::new(1, sender), table)
}

#[tokio::test(start_paused = true)]
async fn the_age_is_that_of_the_newest_successful_report() {
    let (one, two, table) = reporters_and_table(&CancellationToken::new());
    one.report(Report::Full(document(&["a"]).into())).await;
    sleep(Duration::from_secs(30)).await;
    two.report(Report::Failure(SourceError::Status(502))).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(table.snapshot().age(), Some(Duration::from_secs(35)));
    two.report(Report::Full(b"{}".to_vec())).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(table.snapshot().age(), Some(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn routes_expire_without_new_reports() {
    let (one, two, table) = reporters_and_table(&CancellationToken::new());
    one.report(Report::Full(document(&["a"]).into())).await;
    two.report(Report::Full(document(&["b"]).into())).await;
    one.report(Report::Failure(SourceError::Status(502))).await;
    sleep(Duration::from_secs(119)).await;
    assert_eq!(apps(&table), ["a", "b"]);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(apps(&table), ["b"]);
    two.report(Report::Failure(SourceError::Status(502))).await;
    sleep(Duration::from_secs(3600 - 121 - 1)).await;
    assert_eq!(apps(&table), ["b"]);
    sleep(Duration::from_secs(2)).await;
    assert!(apps(&table).is_empty());
    assert_eq!(table.snapshot().failed_polls(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_writer_frees_a_table_after_readers_drop_it() {
    let (one, _two, table) = reporters_and_table(&CancellationToken::new());
    one.report(Report::Full(document(&["a"]).into())).await;
    until(|| apps(&table) == ["a"]).await;
    let held = table.snapshot();
    let index = Arc::downgrade(&held.index);
    one.report(Report::Full(document(&["b"]).into())).await;
    until(|| apps(&table) == ["b"]).await;
    sleep(Duration::from_secs(5)).await;
    let key = AppKey::parse("a", Prefer::Name).unwrap();
    assert_eq!(held.find(&key).len(), 1);
    drop(held);
    assert!(index.upgrade().is_some(), "the reader was not the last to let go");
    until(|| index.upgrade().is_none()).await;
}
