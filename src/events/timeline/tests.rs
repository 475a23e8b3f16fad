use super::*;
use crate::{
    events::{
        EventSettings,
        testing::{QUEUE, add_scraper, append, database_time, open},
    },
    store::{events::Batch, testing::on_both},
};

fn all() -> TimelineFilter {
    TimelineFilter { labels: Vec::new(), from: None, to: None, limit: 100 }
}

async fn numbers(events: &Events, filter: TimelineFilter) -> Vec<i64> {
    let timeline = events.timeline(QUEUE, &filter).await.unwrap().unwrap();
    timeline.events.iter().map(|it| it.seq).collect()
}

#[tokio::test]
async fn the_newest_events_are_filtered_by_labels_and_time() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let now = database_time(&store).await;
        append(&store, 3, now - 20 * 60_000).await;
        append(&store, 3, now - 10 * 60_000).await;
        append(&store, 2_500, now).await;
        let newest = TimelineFilter { limit: 2, ..all() };
        assert_eq!(numbers(&events, newest).await, [2_506, 2_505]);
        let odd = vec![("odd".to_owned(), "1".to_owned())];
        let labels = TimelineFilter { labels: odd.clone(), limit: 2, ..all() };
        assert_eq!(numbers(&events, labels).await, [2_505, 2_503]);
        let between = |from: i64, to: i64| TimelineFilter {
            from: Some(now - from * 60_000),
            to: Some(now - to * 60_000),
            ..all()
        };
        assert_eq!(numbers(&events, between(15, 5)).await, [6, 5, 4]);
        let odd_before = TimelineFilter { labels: odd, from: None, ..between(0, 1) };
        assert_eq!(numbers(&events, odd_before).await, [5, 3, 1]);
        assert_eq!(numbers(&events, between(25, 25)).await, [0; 0]);
        let other = vec![("odd".to_owned(), "2".to_owned())];
        assert_eq!(numbers(&events, TimelineFilter { labels: other, ..all() }).await, [0; 0]);
        assert!(events.timeline(QueueId::new(9), &all()).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn an_event_has_a_state_per_scraper() {
    on_both(async |store| {
        let events_of = open(&store, EventSettings::default()).await;
        let now = database_time(&store).await;
        append(&store, 6, now).await;
        let states = async || {
            let timeline = events_of.timeline(QUEUE, &all()).await.unwrap().unwrap();
            timeline.events.iter().map(|it| it.state).collect::<Vec<_>>()
        };
        assert_eq!(states().await, [EventState::NoScraper; 6]);

        add_scraper(&store, "a", 6).await;
        let row = add_scraper(&store, "b", 3).await;
        let batch = Batch {
            number: 2,
            position: 5,
            deferred: r#"[[5,1,"1"]]"#.to_owned(),
            until: now,
            replica: String::new(),
        };
        let deferred = r#"[[2,1,"1"]]"#.to_owned();
        let mut tx = store.begin_write().await.unwrap();
        let row = ScraperRow { batch: Some(batch), deferred, ..row };
        assert!(scrapers::update(&mut tx, &row).await.unwrap());
        let queue = queues::lock(&mut tx, QUEUE).await.unwrap().unwrap();
        queues::set_numbers(&mut tx, &QueueRow { expired_seq: 1, ..queue }).await.unwrap();
        tx.commit().await.unwrap();

        use EventState::*;
        assert_eq!(states().await, [Pending, Pending, Pending, Delivered, Pending, Delivered]);
        let mut tx = store.begin_write().await.unwrap();
        events::mark_missed(&mut tx, QUEUE, 0, 1).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(states().await.last(), Some(&Expired));
        let missed = events_of.delivery_of(QUEUE, 1).await.unwrap().unwrap();
        assert_eq!(missed.event.state, Expired);
        let of_b = async |seq: i64| {
            let found = events_of.delivery_of(QUEUE, seq).await.unwrap().unwrap();
            assert_eq!((found.event.seq, found.event.value), (seq, seq.to_string()));
            assert_eq!(found.scrapers["a"], ScraperDelivery::Acknowledged);
            found.scrapers["b"]
        };
        assert_eq!(of_b(2).await, ScraperDelivery::InFlight);
        assert_eq!(of_b(3).await, ScraperDelivery::Acknowledged);
        assert_eq!(of_b(4).await, ScraperDelivery::InFlight);
        assert_eq!(of_b(5).await, ScraperDelivery::Pending);
        assert_eq!(of_b(6).await, ScraperDelivery::Pending);
        assert_eq!(events_of.delivery_of(QUEUE, 7).await.unwrap(), None);
        assert_eq!(events_of.delivery_of(QueueId::new(9), 1).await.unwrap(), None);
    })
    .await;
}
