use super::{deletion::MAX_SERIES, *};
use crate::{
    events::{
        EventSettings, Post, PostError, ScraperName, StartPolicy,
        presence::Seen,
        testing::{
            QUEUE, add_scraper, add_scraper_row, append, database_time, open, post, queue_row,
            scraper_row, start_writer, stored,
        },
    },
    store::{
        Store, bindings,
        events::{self, Batch, KeyRow, SeriesRow, keys, series},
        instances,
        testing::{Schema, binding, instance, on_both},
    },
};

const HOUR: i64 = 3_600_000;

async fn sweep(events: &Events) {
    Sweeper::new(events.clone()).round().await.unwrap();
}

fn numbers(row: &QueueRow) -> [i64; 4] {
    [row.last_seq, row.expired_seq, row.floor_seq, row.deleted_seq]
}

async fn missed(store: &Store) -> Vec<i64> {
    let mut tx = store.begin_read().await.unwrap();
    events::missed(&mut tx, QUEUE, 0, i64::MAX).await.unwrap()
}

#[tokio::test]
async fn expired_events_are_counted_for_each_scraper_that_has_not_got_them() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let now = database_time(&store).await;
        append(&store, 5, now - HOUR).await;
        append(&store, 3, now).await;
        add_scraper(&store, "up to date", 8).await;
        add_scraper(&store, "behind", 2).await;
        let deferring = add_scraper(&store, "deferring", 7).await;
        let deferred = r#"[[3,2,"1"],[6,1,"1"]]"#.to_owned();
        let mut tx = store.begin_write().await.unwrap();
        let deferring = ScraperRow { deferred, ..deferring };
        assert!(scrapers::update(&mut tx, &deferring).await.unwrap());
        tx.commit().await.unwrap();

        sweep(&events).await;
        assert_eq!(events.metrics().lost(), (5, 0), "3, 4, 5, and two that were deferred");
        assert_eq!(numbers(&queue_row(&store).await), [8, 5, 5, 0]);
        let position = async |name: &str| {
            let row = scraper_row(&store, name).await.unwrap();
            (row.position, row.held, row.deferred)
        };
        assert_eq!(position("up to date").await, (8, 8, "[]".to_owned()));
        assert_eq!(position("behind").await, (5, 5, "[]".to_owned()));
        assert_eq!(position("deferring").await, (7, 7, r#"[[6,1,"1"]]"#.to_owned()));

        assert_eq!(missed(&store).await, [3, 4, 5]);
        sweep(&events).await;
        assert_eq!(events.metrics().lost(), (5, 0), "they are counted once");
    })
    .await;
}

#[tokio::test]
async fn a_batch_in_flight_delays_the_expiry_of_its_events() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let now = database_time(&store).await;
        append(&store, 5, now - HOUR).await;
        let batch = |until: i64| Batch {
            number: 1,
            position: 5,
            deferred: "[]".to_owned(),
            until,
            replica: "other".to_owned(),
        };
        let row = add_scraper(&store, "a", 0).await;
        let in_flight = ScraperRow { batch: Some(batch(now + HOUR)), ..row };
        let mut tx = store.begin_write().await.unwrap();
        assert!(scrapers::update(&mut tx, &in_flight).await.unwrap());
        tx.commit().await.unwrap();
        sweep(&events).await;
        assert_eq!(numbers(&queue_row(&store).await), [5, 5, 0, 0], "its events are kept");
        assert_eq!(events.metrics().lost(), (0, 0));

        let mut tx = store.begin_write().await.unwrap();
        let row = scrapers::find(&mut tx, QUEUE, "a").await.unwrap().unwrap();
        let abandoned = ScraperRow { batch: Some(batch(now - 60_000)), ..row };
        assert!(scrapers::update(&mut tx, &abandoned).await.unwrap());
        tx.commit().await.unwrap();
        sweep(&events).await;
        assert_eq!(events.metrics().lost(), (5, 0));
        let row = scraper_row(&store, "a").await.unwrap();
        assert_eq!((row.position, row.batch), (5, None));
    })
    .await;
}

#[tokio::test]
async fn replicas_that_sweep_at_once_count_a_lost_event_once() {
    on_both(async |store| {
        let now = database_time(&store).await;
        append(&store, 50, now - HOUR).await;
        for name in ["a", "b", "c"] {
            add_scraper(&store, name, 10).await;
        }
        let replicas = [
            open(&store, EventSettings::default()).await,
            open(&store, EventSettings::default()).await,
        ];
        futures_util::future::join(sweep(&replicas[0]), sweep(&replicas[1])).await;
        let lost: u64 = replicas.iter().map(|it| it.metrics().lost().0).sum();
        assert_eq!(lost, 120);
    })
    .await;
}

#[tokio::test]
async fn many_events_expire_in_several_transactions() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let now = database_time(&store).await;
        append(&store, 12_000, now - HOUR).await;
        add_scraper(&store, "a", 0).await;
        sweep(&events).await;
        assert_eq!(events.metrics().lost(), (12_000, 0));
        assert_eq!(scraper_row(&store, "a").await.unwrap().position, 12_000);
        assert_eq!(numbers(&queue_row(&store).await), [12_000, 12_000, 12_000, 2_000]);
        assert_eq!(missed(&store).await.len(), 10_000);
    })
    .await;
}

#[tokio::test]
async fn without_scrapers_events_expire_once() {
    on_both(async |store| {
        let settings = EventSettings { start: StartPolicy::Earliest, ..EventSettings::default() };
        let events = open(&store, settings).await;
        let now = database_time(&store).await;
        append(&store, 5, now - HOUR).await;
        append(&store, 2, now).await;
        sweep(&events).await;
        sweep(&events).await;
        assert_eq!(events.metrics().lost(), (5, 0));
        assert_eq!(missed(&store).await, [1, 2, 3, 4, 5]);
        assert_eq!(numbers(&queue_row(&store).await), [7, 5, 5, 0]);

        let settings = EventSettings {
            start: StartPolicy::Ago(Duration::from_mins(5)),
            ..EventSettings::default()
        };
        append(&store, 1, now - 10 * 60_000).await;
        append(&store, 1, now).await;
        sweep(&open(&store, settings).await).await;
        assert_eq!(queue_row(&store).await.floor_seq, 5, "a new scraper gets the sixth one");
        sweep(&open(&store, EventSettings::default()).await).await;
        assert_eq!(queue_row(&store).await.floor_seq, 9, "a new scraper gets none");
    })
    .await;
}

#[tokio::test]
async fn delivered_events_are_deleted_by_number_and_by_age() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let now = database_time(&store).await;
        append(&store, 10_030, now).await;
        let row = add_scraper(&store, "a", 20).await;
        sweep(&events).await;
        assert_eq!(numbers(&queue_row(&store).await), [10_030, 0, 20, 20]);
        assert_eq!(stored(&store).await.first().unwrap().seq, 21);

        let mut tx = store.begin_write().await.unwrap();
        let held = ScraperRow { position: 10_030, held: 25, ..row };
        assert!(scrapers::update(&mut tx, &held).await.unwrap());
        tx.commit().await.unwrap();
        sweep(&events).await;
        assert_eq!(numbers(&queue_row(&store).await), [10_030, 20, 25, 25], "the rest is repeated");

        let settings = EventSettings {
            history: Duration::ZERO,
            ttl: Duration::ZERO,
            ..EventSettings::default()
        };
        sweep(&open(&store, settings).await).await;
        let [last, expired, floor, deleted] = numbers(&queue_row(&store).await);
        assert_eq!([last, expired, floor, deleted], [10_030; 4], "in several transactions");
        assert!(stored(&store).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_scraper_that_needs_deleted_events_goes_on_after_them() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        append(&store, 5, database_time(&store).await).await;
        let mut tx = store.begin_write().await.unwrap();
        let row = queues::lock(&mut tx, QUEUE).await.unwrap().unwrap();
        queues::set_numbers(&mut tx, &QueueRow { deleted_seq: 3, ..row }).await.unwrap();
        tx.commit().await.unwrap();
        add_scraper(&store, "a", 1).await;
        sweep(&events).await;
        assert_eq!(events.metrics().lost(), (0, 2));
        assert_eq!(scraper_row(&store, "a").await.unwrap().position, 3);
    })
    .await;
}

#[tokio::test]
async fn scrapers_that_are_gone_are_forgotten() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let now = database_time(&store).await;
        append(&store, 5, now).await;
        let active = add_scraper(&store, "active", 5).await;
        add_scraper_row(
            &store,
            ScraperRow {
                name: "gone".to_owned(),
                position: 2,
                last_seen: now - 2 * HOUR,
                ..active.clone()
            },
        )
        .await;
        // It was away for longer than the events are kept, and gets the younger ones.
        let away = ScraperRow { name: "away".to_owned(), last_seen: now - HOUR, ..active.clone() };
        add_scraper_row(&store, away).await;
        let seen: ScraperName = "seen".parse().unwrap();
        let name = seen.as_str().to_owned();
        add_scraper_row(&store, ScraperRow { name, last_seen: now - 2 * HOUR, ..active }).await;
        events.0.presence.record(QUEUE, &seen, Seen { at: now, held: 3 });
        sweep(&events).await;
        assert_eq!(scraper_row(&store, "gone").await, None);
        assert_eq!(events.metrics().lost(), (0, 3));
        assert!(scraper_row(&store, "active").await.is_some());
        assert!(scraper_row(&store, "away").await.is_some());
        assert_eq!(scraper_row(&store, "seen").await.unwrap().last_seen, now);
    })
    .await;
}

async fn put_series(store: &Store, number: usize, last_at: i64) {
    let rows = (0..number).map(|index| SeriesRow {
        series: format!("{last_at} {index}"),
        labels: "{}".to_owned(),
        events: 1,
        first_seq: 1,
        sample_at: 0,
        last_at: last_at + i64::try_from(index).unwrap(),
    });
    let mut tx = store.begin_write().await.unwrap();
    series::put(&mut tx, QUEUE, &rows.collect::<Vec<_>>()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn idle_and_excess_series_are_pruned() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let now = database_time(&store).await;
        put_series(&store, 3, now - 200 * HOUR).await;
        put_series(&store, 10, now - HOUR).await;
        put_series(&store, MAX_SERIES - 5, now).await;
        sweep(&events).await;
        let mut tx = store.begin_read().await.unwrap();
        assert_eq!(series::count(&mut tx, QUEUE).await.unwrap(), MAX_SERIES);
        let oldest = format!("{} 4", now - HOUR);
        let kept = format!("{} 5", now - HOUR);
        let found = series::find(&mut tx, QUEUE, &[&oldest, &kept]).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].series, kept);
    })
    .await;
}

#[tokio::test]
async fn keys_are_pruned_by_age_and_by_number() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let now = database_time(&store).await;
        let key = |name: &str, first_seq: i64, created_at: i64| KeyRow {
            key: name.to_owned(),
            digest: String::new(),
            first_seq,
            events: 1,
            created_at,
        };
        let keys = [
            key("old", 150_000, now - 25 * HOUR),
            key("far behind", 100_000, now),
            key("kept", 100_001, now - 23 * HOUR),
        ];
        let mut tx = store.begin_write().await.unwrap();
        let row = queues::lock(&mut tx, QUEUE).await.unwrap().unwrap();
        keys::insert(&mut tx, QUEUE, &keys).await.unwrap();
        queues::set_numbers(&mut tx, &QueueRow { last_seq: 200_000, ..row }).await.unwrap();
        tx.commit().await.unwrap();
        sweep(&events).await;
        let mut tx = store.begin_read().await.unwrap();
        let names = ["old", "far behind", "kept"];
        let found = keys::find(&mut tx, QUEUE, &names).await.unwrap();
        assert_eq!(found, keys[2..]);
    })
    .await;
}

#[tokio::test]
async fn states_show_what_is_pending() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let now = database_time(&store).await;
        append(&store, 2, now - 5_000).await;
        append(&store, 3, now - 1_000).await;
        add_scraper(&store, "a", 1).await;
        add_scraper(&store, "b", 5).await;
        assert!(events.states().installation().unwrap().scrapers.is_empty());
        sweep(&events).await;
        let states = events.states();
        let state = states.installation().unwrap();
        let scrapers: Vec<_> =
            state.scrapers.iter().map(|it| (&*it.name, it.pending, it.oldest_at)).collect();
        assert_eq!(scrapers, [("a", 4, Some(now - 5_000)), ("b", 0, None)]);
        assert_eq!((state.pending, state.oldest_at), (4, Some(now - 5_000)));
        assert!(states.age(state.oldest_at) >= 5.0);
        assert_eq!(states.age(None), 0.0);
    })
    .await;
}

/// A scrape that gets all events.
async fn deliver_all(store: &Store, name: &str) {
    let last_seq = queue_row(store).await.last_seq;
    let mut tx = store.begin_write().await.unwrap();
    let row = scrapers::find(&mut tx, QUEUE, name).await.unwrap().unwrap();
    let delivered = ScraperRow { position: last_seq, held: last_seq, ..row };
    scrapers::update(&mut tx, &delivered).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn posts_scrapes_sweeps_and_unbinding_do_not_block_each_other() {
    // SQLite has one writer.
    let schema = Schema::create().await;
    let store = Store::open(&schema.url().parse().unwrap(), 8).await.unwrap();
    let settings = EventSettings {
        ttl: Duration::from_millis(1),
        history: Duration::from_millis(1),
        ..EventSettings::default()
    };
    let replicas = [open(&store, settings.clone()).await, open(&store, settings).await];
    let writers = replicas.each_ref().map(start_writer);
    let names = ["a", "b", "c", "d"];
    for name in names {
        add_scraper(&store, name, 0).await;
    }
    let bound = bind_queue(&store).await;
    let post_all = async |events: &Events| {
        for round in 0..20 {
            let to_binding = Post { queue: bound, ..post(&format!("{round}")) };
            let posts = [post("a"), to_binding, post("b")].map(|it| events.post(it));
            let answers = futures_util::future::join_all(posts).await;
            let is_gone = matches!(answers[1], Err(PostError::QueueGone));
            assert!(is_gone || answers[1].is_ok(), "{answers:?}");
            assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
        }
    };
    let sweep_all = async |events: &Events| {
        let mut sweeper = Sweeper::new(events.clone());
        for round in 0..20 {
            for name in names {
                let seen = Seen { at: round, held: 0 };
                events.0.presence.record(QUEUE, &name.parse().unwrap(), seen);
            }
            sweeper.round().await.unwrap();
        }
    };
    let scrape_all = async || {
        for round in 0..40 {
            deliver_all(&store, names[round % 4]).await;
        }
    };
    let unbind = async {
        replicas[0].post(post("first")).await.unwrap();
        let mut tx = store.begin_write().await.unwrap();
        bindings::delete(&mut tx, &"b".parse().unwrap()).await.unwrap();
        tx.commit().await.unwrap();
    };
    let [first, second] = &replicas;
    tokio::join!(
        post_all(first),
        post_all(second),
        sweep_all(first),
        sweep_all(second),
        scrape_all(),
        unbind
    );
    assert_eq!(queue_row(&store).await.last_seq, 81);
    for writer in writers {
        writer.stop().await;
    }
    store.close().await;
    schema.drop().await;
}

async fn bind_queue(store: &Store) -> QueueId {
    let binding = binding("i", "b");
    let mut tx = store.begin_write().await.unwrap();
    instances::insert(&mut tx, &instance("i")).await.unwrap();
    bindings::insert(&mut tx, &binding).await.unwrap();
    queues::insert(&mut tx, &binding.binding_id).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin_read().await.unwrap();
    queues::bound(&mut tx).await.unwrap()[&binding.binding_id]
}
