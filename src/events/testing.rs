//! Events for unit tests.

use super::{EventMetrics, EventSettings, Events, Post, PostError, Posted};
use crate::{
    domain::{EventLabels, EventValue, NewEvent, QueueId},
    store::{
        Store, clock,
        events::{self, QueueRow, ScraperRow, StoredEvent, queues, scrapers},
    },
};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(super) const QUEUE: QueueId = QueueId::INSTALLATION;

pub(super) async fn open(store: &Store, settings: EventSettings) -> Events {
    let metrics = EventMetrics::register(&mut Registry::default());
    Events::open(store.clone(), settings, metrics).await.unwrap()
}

/// A writer that runs until the end of the test.
pub(super) struct RunningWriter {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

pub(super) fn start_writer(events: &Events) -> RunningWriter {
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(events.clone().write(shutdown.clone()));
    RunningWriter { shutdown, task }
}

impl RunningWriter {
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

/// Sends posts to a writer that runs. They are one group, because tests have one thread.
pub(super) async fn post_all(events: &Events, posts: Vec<Post>) -> Vec<Result<Posted, PostError>> {
    futures_util::future::join_all(posts.into_iter().map(|post| events.post(post))).await
}

pub(super) fn event(labels: &[(&str, &str)]) -> NewEvent {
    let labels = EventLabels::new(labels.iter().copied()).unwrap();
    NewEvent { labels, value: EventValue::default(), time: None }
}

pub(super) fn post_of(events: Vec<NewEvent>) -> Post {
    Post { queue: QUEUE, events, app_labels: None, key: None }
}

/// A post of one event with a label `id`.
pub(super) fn post(id: &str) -> Post {
    post_of(vec![event(&[("id", id)])])
}

pub(super) async fn database_time(store: &Store) -> i64 {
    clock::now(&mut store.begin_read().await.unwrap()).await.unwrap()
}

pub(super) async fn stored(store: &Store) -> Vec<StoredEvent> {
    let mut tx = store.begin_read().await.unwrap();
    events::for_delivery(&mut tx, QUEUE, 0, usize::MAX).await.unwrap()
}

pub(super) async fn queue_row(store: &Store) -> QueueRow {
    queues::find(&mut store.begin_read().await.unwrap(), QUEUE).await.unwrap().unwrap()
}

pub(super) async fn scraper_row(store: &Store, name: &str) -> Option<ScraperRow> {
    scrapers::find(&mut store.begin_read().await.unwrap(), QUEUE, name).await.unwrap()
}

/// A scraper that was seen now and has got the events up to `position`.
pub(super) async fn add_scraper(store: &Store, name: &str, position: i64) -> ScraperRow {
    add_scraper_row(
        store,
        ScraperRow {
            queue: QUEUE,
            name: name.to_owned(),
            position,
            deferred: "[]".to_owned(),
            held: position,
            batch: None,
            version: 1,
            last_seen: database_time(store).await,
        },
    )
    .await
}

pub(super) async fn add_scraper_row(store: &Store, row: ScraperRow) -> ScraperRow {
    let mut tx = store.begin_write().await.unwrap();
    assert!(scrapers::insert(&mut tx, &row).await.unwrap());
    tx.commit().await.unwrap();
    row
}

/// Stores events that were received at this time.
pub(super) async fn append(store: &Store, number: i64, received_at: i64) {
    let mut tx = store.begin_write().await.unwrap();
    let mut row = queues::lock(&mut tx, QUEUE).await.unwrap().unwrap();
    let numbers = row.last_seq + 1..=row.last_seq + number;
    let rows = numbers.map(|seq| StoredEvent {
        seq,
        series: format!("series {}", seq % 2),
        labels: format!(r#"{{"odd":"{}"}}"#, seq % 2),
        value: seq.to_string(),
        sample_at: received_at,
        received_at,
    });
    events::insert(&mut tx, QUEUE, &rows.collect::<Vec<_>>()).await.unwrap();
    row.last_seq += number;
    queues::set_numbers(&mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
}
