use super::*;
use crate::{
    events::{
        Redelivery,
        testing::{QUEUE, add_scraper, append, database_time, open, scraper_row},
    },
    store::{Store, testing::on_both},
    telemetry::running::Use,
};
use futures_util::future::join_all;
use tokio::time::Instant;

/// A scrape on a connection, whose response is received at once.
fn scrape_on(in_use: &Use) -> ScrapeRequest {
    drop(in_use.begin());
    let deadline = Instant::now() + Duration::from_secs(10);
    ScrapeRequest {
        queue: QUEUE,
        scraper: "a".parse().unwrap(),
        limit: 5_000,
        counters: false,
        connection: ScrapeConnection::new(in_use.clone(), deadline),
        has_evidence: true,
        is_draining: false,
    }
}

/// The number of events of the response to a scrape on a new connection.
async fn scrape(events: &Events) -> usize {
    delivered(&events.scrape(scrape_on(&Use::default())).await.unwrap())
}

fn delivered(exposition: &Exposition) -> usize {
    exposition.text.lines().filter(|line| line.starts_with("events_to_metrics{")).count()
}

/// Two events with different labels, and a scraper that has to get them.
async fn with_events(store: &Store) {
    add_scraper(store, "a", 0).await;
    append(store, 2, database_time(store).await).await;
}

/// Lets the deadline of the batch in flight pass.
async fn expire_batch(store: &Store) {
    let mut row = scraper_row(store, "a").await.unwrap();
    row.batch.as_mut().unwrap().until -= 60_000;
    let mut tx = store.begin_write().await.unwrap();
    assert!(events::scrapers::update(&mut tx, &row).await.unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_batch_is_stored_before_its_response() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        with_events(&store).await;
        assert_eq!(scrape(&events).await, 2);
        let row = scraper_row(&store, "a").await.unwrap();
        let batch = row.batch.unwrap();
        assert_eq!((row.position, batch.position, batch.number), (0, 2, row.version));
    })
    .await;
}

#[tokio::test]
async fn another_process_waits_for_the_deadline_of_a_batch() {
    for (redelivery, expected) in [(Redelivery::UntilAcknowledged, 2), (Redelivery::Never, 1)] {
        on_both(async |store| {
            let settings = EventSettings { redelivery, ..EventSettings::default() };
            let killed = open(&store, settings.clone()).await;
            with_events(&store).await;
            assert_eq!(scrape(&killed).await, 2);
            let survivor = open(&store, settings).await;
            append(&store, 1, database_time(&store).await).await;
            assert_eq!(scrape(&survivor).await, 0, "the other process may still judge it");
            expire_batch(&store).await;
            // The first and the third event have equal labels.
            assert_eq!(scrape(&survivor).await, expected);
        })
        .await;
    }
}

#[tokio::test]
async fn concurrent_scrapes_with_one_name_share_the_events() {
    on_both(async |store| {
        let replicas = [
            open(&store, EventSettings::default()).await,
            open(&store, EventSettings::default()).await,
        ];
        with_events(&store).await;
        let scrapes = replicas.iter().cycle().take(6).map(async |events| {
            events.scrape(scrape_on(&Use::default())).await.map_or(0, |it| delivered(&it))
        });
        assert_eq!(join_all(scrapes).await.into_iter().sum::<usize>(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_process_that_stops_begins_no_batch() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        with_events(&store).await;
        let in_use = Use::default();
        let request = ScrapeRequest { is_draining: true, ..scrape_on(&in_use) };
        assert_eq!(delivered(&events.scrape(request).await.unwrap()), 0);
        assert_eq!(scraper_row(&store, "a").await.unwrap().batch, None);
        assert_eq!(scrape(&events).await, 2);
    })
    .await;
}

#[tokio::test]
async fn the_next_scrape_on_the_connection_acknowledges_the_batch() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        with_events(&store).await;
        let (kept, other) = (Use::default(), Use::default());
        let on = async |in_use: &Use| delivered(&events.scrape(scrape_on(in_use)).await.unwrap());
        assert_eq!(on(&kept).await, 2);
        assert_eq!(on(&other).await, 0, "the batch is in flight");
        assert_eq!(on(&kept).await, 0);
        let row = scraper_row(&store, "a").await.unwrap();
        assert_eq!((row.position, row.batch), (2, None));
    })
    .await;
}

#[tokio::test]
async fn a_closed_connection_repeats_the_batch_with_newer_events() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        add_scraper(&store, "a", 0).await;
        append(&store, 1, database_time(&store).await).await;
        let in_use = Use::default();
        assert_eq!(delivered(&events.scrape(scrape_on(&in_use)).await.unwrap()), 1);
        append(&store, 1, database_time(&store).await).await;
        in_use.close();
        assert_eq!(scrape(&events).await, 2);
    })
    .await;
}
