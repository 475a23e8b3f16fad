use super::*;
use crate::{
    domain::BindingId,
    store::{
        Store, bindings, instances, state,
        testing::{binding, instance, on_both},
    },
};

const QUEUE: QueueId = QueueId::INSTALLATION;

fn stored(seq: i64) -> StoredEvent {
    StoredEvent {
        seq,
        series: format!("series {seq}"),
        labels: r#"{"text":"\"ü\\\n"}"#.to_owned(),
        value: "1e-9".to_owned(),
        sample_at: 1_763_650_419_123 + seq,
        received_at: seq * 10,
    }
}

/// Appends events to a queue, as the writer does.
async fn append(store: &Store, queue: QueueId, number: i64) -> Vec<i64> {
    let mut tx = store.begin_write().await.unwrap();
    let mut row = queues::lock(&mut tx, queue).await.unwrap().unwrap();
    let numbers: Vec<i64> = (row.last_seq + 1..=row.last_seq + number).collect();
    let events: Vec<_> = numbers.iter().copied().map(stored).collect();
    insert(&mut tx, queue, &events).await.unwrap();
    row.last_seq += number;
    queues::set_numbers(&mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
    numbers
}

fn numbers_of(events: &[StoredEvent]) -> Vec<i64> {
    events.iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn events_are_stored_read_in_order_and_deleted() {
    on_both(async |store| {
        append(&store, QUEUE, 200).await;
        let mut tx = store.begin_read().await.unwrap();
        let delivery = for_delivery(&mut tx, QUEUE, 3, 2).await.unwrap();
        assert_eq!(delivery, [stored(4), stored(5)]);
        assert_eq!(for_delivery(&mut tx, QUEUE, 0, 1_000).await.unwrap().len(), 200);
        let last = newest(&mut tx, QUEUE, 200, 2).await.unwrap();
        assert_eq!(numbers_of(&last), [199, 198]);
        let chosen = by_numbers(&mut tx, QUEUE, &[70, 3, 999, 1]).await.unwrap();
        assert_eq!(numbers_of(&chosen), [1, 3, 70]);
        let many: Vec<i64> = (1..=150).collect();
        assert_eq!(numbers_of(&by_numbers(&mut tx, QUEUE, &many).await.unwrap()), many);
        assert_eq!(by_numbers(&mut tx, QUEUE, &[]).await.unwrap(), []);
        assert_eq!(first_since(&mut tx, QUEUE, 0, 45).await.unwrap(), Some(5));
        assert_eq!(first_since(&mut tx, QUEUE, 7, 45).await.unwrap(), Some(8));
        assert_eq!(first_since(&mut tx, QUEUE, 0, 2_001).await.unwrap(), None);
        let other = QueueId::new(1);
        assert_eq!(for_delivery(&mut tx, other, 0, 9).await.unwrap(), []);
        drop(tx);

        let mut tx = store.begin_write().await.unwrap();
        delete_through(&mut tx, QUEUE, 198).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.begin_read().await.unwrap();
        let left = for_delivery(&mut tx, QUEUE, 0, 9).await.unwrap();
        assert_eq!(numbers_of(&left), [199, 200]);
    })
    .await;
}

#[tokio::test]
async fn missed_events_are_marked() {
    on_both(async |store| {
        append(&store, QUEUE, 9).await;
        let mut tx = store.begin_write().await.unwrap();
        mark_missed(&mut tx, QUEUE, 2, 4).await.unwrap();
        mark_missed_numbers(&mut tx, QUEUE, &[7, 4, 99]).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.begin_read().await.unwrap();
        assert_eq!(missed(&mut tx, QUEUE, 1, 9).await.unwrap(), [3, 4, 7]);
        assert_eq!(missed(&mut tx, QUEUE, 4, 6).await.unwrap(), [4]);
        assert_eq!(missed(&mut tx, QueueId::new(1), 1, 9).await.unwrap(), [0; 0]);
    })
    .await;
}

#[tokio::test]
async fn the_queue_of_a_binding_is_created_once_and_deleted_with_it() {
    on_both(async |store| {
        let binding = binding("i", "b");
        let mut tx = store.begin_write().await.unwrap();
        instances::insert(&mut tx, &instance("i")).await.unwrap();
        bindings::insert(&mut tx, &binding).await.unwrap();
        queues::insert(&mut tx, &binding.binding_id).await.unwrap();
        let bound = queues::bound(&mut tx).await.unwrap();
        queues::insert(&mut tx, &binding.binding_id).await.unwrap();
        assert_eq!(queues::bound(&mut tx).await.unwrap(), bound, "nothing new");
        tx.commit().await.unwrap();

        let queue = bound[&binding.binding_id];
        let row = |queue: QueueId, binding: Option<&BindingId>| QueueRow {
            queue,
            binding: binding.cloned(),
            last_seq: 0,
            expired_seq: 0,
            floor_seq: 0,
            deleted_seq: 0,
        };
        let mut tx = store.begin_read().await.unwrap();
        let own = row(queue, Some(&binding.binding_id));
        let expected = [row(QUEUE, None), own.clone()];
        assert_eq!(queues::all(&mut tx).await.unwrap(), expected);
        assert_eq!(queues::find(&mut tx, queue).await.unwrap(), Some(own));
        drop(tx);

        append(&store, queue, 3).await;
        append(&store, QUEUE, 2).await;
        let mut tx = store.begin_write().await.unwrap();
        scrapers::insert(&mut tx, &scraper(queue, "a")).await.unwrap();
        series::put(&mut tx, queue, &[series("s", 1)]).await.unwrap();
        keys::insert(&mut tx, queue, &[key("k", 1)]).await.unwrap();
        tx.commit().await.unwrap();
        let revision =
            async || state::read(&mut store.begin_read().await.unwrap()).await.unwrap().revision;
        assert_eq!(revision().await, queue.get() + 1, "events concern no binding");

        let mut tx = store.begin_write().await.unwrap();
        bindings::delete(&mut tx, &binding.binding_id).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.begin_write().await.unwrap();
        assert_eq!(queues::find(&mut tx, queue).await.unwrap(), None);
        assert_eq!(queues::lock(&mut tx, queue).await.unwrap(), None);
        assert_eq!(for_delivery(&mut tx, queue, 0, 9).await.unwrap(), []);
        assert_eq!(scrapers::count(&mut tx, queue).await.unwrap(), 0);
        assert_eq!(series::count(&mut tx, queue).await.unwrap(), 0);
        assert_eq!(keys::find(&mut tx, queue, &["k"]).await.unwrap(), []);
        assert_eq!(for_delivery(&mut tx, QUEUE, 0, 9).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn numbers_of_a_queue_are_stored() {
    on_both(async |store| {
        let mut tx = store.begin_write().await.unwrap();
        let mut row = queues::lock(&mut tx, QUEUE).await.unwrap().unwrap();
        (row.last_seq, row.floor_seq, row.expired_seq, row.deleted_seq) = (4, 3, 2, 1);
        queues::set_numbers(&mut tx, &row).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.begin_write().await.unwrap();
        assert_eq!(queues::lock(&mut tx, QUEUE).await.unwrap(), Some(row));
    })
    .await;
}

fn scraper(queue: QueueId, name: &str) -> ScraperRow {
    ScraperRow {
        queue,
        name: name.to_owned(),
        position: 1,
        deferred: "[]".to_owned(),
        held: 2,
        batch: None,
        version: 4,
        last_seen: 5,
    }
}

#[tokio::test]
async fn a_scraper_is_changed_by_the_transaction_that_knows_its_version() {
    on_both(async |store| {
        let mut row = scraper(QUEUE, "10.0.0.7");
        let mut tx = store.begin_write().await.unwrap();
        assert!(scrapers::insert(&mut tx, &scraper(QUEUE, "a")).await.unwrap());
        assert!(scrapers::insert(&mut tx, &row).await.unwrap());
        let taken = ScraperRow { position: 99, ..row.clone() };
        assert!(!scrapers::insert(&mut tx, &taken).await.unwrap());
        tx.commit().await.unwrap();

        let find = async || {
            let mut tx = store.begin_read().await.unwrap();
            scrapers::find(&mut tx, QUEUE, "10.0.0.7").await.unwrap()
        };
        assert_eq!(find().await, Some(row.clone()));
        let batch = Batch {
            number: 5,
            position: 6,
            deferred: "[7]".to_owned(),
            until: 9,
            replica: "r".to_owned(),
        };
        row = ScraperRow {
            position: 30,
            deferred: "[11]".to_owned(),
            held: 12,
            batch: Some(batch),
            last_seen: 14,
            ..row
        };
        let mut tx = store.begin_write().await.unwrap();
        assert!(scrapers::update(&mut tx, &row).await.unwrap());
        assert!(!scrapers::update(&mut tx, &row).await.unwrap(), "the version has changed");
        assert!(!scrapers::remove(&mut tx, &row).await.unwrap());
        tx.commit().await.unwrap();
        row.version += 1;
        assert_eq!(find().await, Some(row.clone()));

        let mut tx = store.begin_write().await.unwrap();
        scrapers::touch(&mut tx, QUEUE, "10.0.0.7", 20, 11).await.unwrap();
        scrapers::touch(&mut tx, QUEUE, "10.0.0.7", 19, 21).await.unwrap();
        scrapers::touch(&mut tx, QUEUE, "10.0.0.7", 19, 31).await.unwrap();
        scrapers::touch(&mut tx, QUEUE, "unknown", 19, 21).await.unwrap();
        let lagging = ScraperRow { batch: None, ..row.clone() };
        assert!(scrapers::update(&mut tx, &lagging).await.unwrap());
        row = ScraperRow { held: 21, last_seen: 20, version: row.version + 1, ..lagging };
        assert_eq!(scrapers::count(&mut tx, QUEUE).await.unwrap(), 2);
        let all = scrapers::of_queue(&mut tx, QUEUE).await.unwrap();
        assert_eq!(all, [row.clone(), scraper(QUEUE, "a")]);
        assert_eq!(scrapers::all(&mut tx).await.unwrap(), all);
        assert!(scrapers::remove(&mut tx, &row).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(find().await, None);
    })
    .await;
}

fn series(name: &str, seq: i64) -> SeriesRow {
    SeriesRow {
        series: name.to_owned(),
        labels: "{}".to_owned(),
        events: 1,
        first_seq: seq,
        sample_at: seq * 100,
        last_at: seq * 10,
    }
}

#[tokio::test]
async fn series_are_counted_and_the_idle_ones_are_pruned() {
    on_both(async |store| {
        let rows: Vec<_> = (1..=100).map(|seq| series(&format!("s{seq:03}"), seq)).collect();
        let mut tx = store.begin_write().await.unwrap();
        series::put(&mut tx, QUEUE, &rows).await.unwrap();
        let changed = SeriesRow { events: 5, sample_at: 777, last_at: 5_000, ..rows[0].clone() };
        let other_first = SeriesRow { first_seq: 9, labels: String::new(), ..changed.clone() };
        series::put(&mut tx, QUEUE, &[other_first]).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = store.begin_read().await.unwrap();
        let newest = series::counters(&mut tx, QUEUE, 2).await.unwrap();
        assert_eq!(newest, [changed.clone(), rows[99].clone()], "labels and start are kept");
        let mut found = series::find(&mut tx, QUEUE, &["s001", "s050", "none"]).await.unwrap();
        found.sort_by(|a, b| a.series.cmp(&b.series));
        assert_eq!(found, [changed, rows[49].clone()]);
        assert_eq!(series::count(&mut tx, QUEUE).await.unwrap(), 100);
        drop(tx);

        let mut tx = store.begin_write().await.unwrap();
        assert_eq!(series::prune(&mut tx, QUEUE, 51, 3).await.unwrap(), 3, "s002, s003, s004");
        assert_eq!(series::prune(&mut tx, QUEUE, 51, 100).await.unwrap(), 1, "s005");
        tx.commit().await.unwrap();
        let mut tx = store.begin_read().await.unwrap();
        let left = series::find(&mut tx, QUEUE, &["s002", "s004", "s005", "s006"]).await.unwrap();
        assert_eq!(left, [rows[5].clone()]);
    })
    .await;
}

fn key(name: &str, seq: i64) -> KeyRow {
    KeyRow {
        key: name.to_owned(),
        digest: "digest".to_owned(),
        first_seq: seq,
        events: 2,
        created_at: seq * 10,
    }
}

#[tokio::test]
async fn keys_are_found_until_they_are_pruned() {
    on_both(async |store| {
        let rows: Vec<_> = (1..=70).map(|seq| key(&format!("k{seq:02}"), seq)).collect();
        let mut tx = store.begin_write().await.unwrap();
        keys::insert(&mut tx, QUEUE, &rows).await.unwrap();
        tx.commit().await.unwrap();
        let names: Vec<&str> = rows.iter().map(|row| &*row.key).chain(["none"]).collect();
        let find = async || {
            let mut tx = store.begin_read().await.unwrap();
            let mut found = keys::find(&mut tx, QUEUE, &names).await.unwrap();
            found.sort_by(|a, b| a.key.cmp(&b.key));
            found
        };
        assert_eq!(find().await, rows);

        let mut tx = store.begin_write().await.unwrap();
        assert_eq!(keys::prune(&mut tx, QUEUE, 101, 0, 4).await.unwrap(), 4);
        assert_eq!(keys::prune(&mut tx, QUEUE, 101, 0, 99).await.unwrap(), 6);
        assert_eq!(keys::prune(&mut tx, QUEUE, 0, 60, 99).await.unwrap(), 50);
        tx.commit().await.unwrap();
        assert_eq!(find().await, rows[60..]);
    })
    .await;
}

#[tokio::test]
async fn two_writers_give_numbers_without_gaps_and_readers_see_them_in_order() {
    on_both(async |store| {
        let write = async |store: Store| {
            let mut numbers = Vec::new();
            for size in 1..=20 {
                numbers.extend(append(&store, QUEUE, size % 3 + 1).await);
            }
            numbers
        };
        let read = async |store: Store| {
            let mut seen = 0;
            while seen < 82 {
                let mut tx = store.begin_read().await.unwrap();
                let events = for_delivery(&mut tx, QUEUE, seen, 1_000).await.unwrap();
                let expected: Vec<_> = (seen + 1..).take(events.len()).collect();
                assert_eq!(numbers_of(&events), expected, "a smaller number appeared later");
                seen += i64::try_from(events.len()).unwrap();
            }
        };
        let writers = futures_util::future::join(write(store.clone()), write(store.clone()));
        let ((mut numbers, others), ()) =
            futures_util::future::join(writers, read(store.clone())).await;
        numbers.extend(others);
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=82).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "events are changed in transactions of their own")]
async fn events_are_not_changed_by_a_transaction_of_bindings() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    let store = Store::open(&url.parse().unwrap(), 2).await.unwrap();
    let mut tx = store.begin_write().await.unwrap();
    state::bump(&mut tx).await.unwrap();
    let _ = queues::lock(&mut tx, QUEUE).await;
}
