use super::*;
use crate::{
    domain::NewEvent,
    events::{
        EventSettings, Post,
        testing::{
            QUEUE, add_scraper, add_scraper_row, database_time, event, open, post, post_all,
            post_of, queue_row, scraper_row, start_writer, stored,
        },
    },
    store::{
        Store,
        testing::{Schema, on_both},
    },
};
use std::{collections::HashMap, fs};

fn numbers(answers: &[Result<Posted, PostError>]) -> Vec<Option<i64>> {
    answers.iter().map(|it| it.as_ref().ok().map(|posted| posted.first_seq)).collect()
}

#[tokio::test]
async fn waiting_posts_are_stored_together_and_answered_with_their_numbers() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let _writer = start_writer(&events);
        let two = post_of(vec![event(&[("id", "x")]), event(&[("id", "y")])]);
        let posts = [post("a"), two, post("a"), post("b")];
        let answers = post_all(&events, posts.to_vec()).await;
        assert_eq!(numbers(&answers), [Some(1), Some(2), Some(4), Some(5)]);
        assert_eq!(answers[1].as_ref().unwrap().count, 2);
        let rows = stored(&store).await;
        let labels: Vec<_> = rows.iter().map(|it| &it.labels[7..8]).collect();
        assert_eq!(labels, ["a", "x", "y", "a", "b"]);
        assert!(rows[3].sample_at > rows[0].sample_at, "a series has one event per millisecond");
        assert_eq!(queue_row(&store).await.last_seq, 5);
        let mut tx = store.begin_read().await.unwrap();
        let series = series::find(&mut tx, QUEUE, &[&rows[0].series]).await.unwrap();
        let counted = (series[0].events, series[0].first_seq, series[0].sample_at);
        assert_eq!(counted, (2, 1, rows[3].sample_at));
        drop(tx);

        let answers = post_all(&events, vec![post("a")]).await;
        assert_eq!(numbers(&answers), [Some(6)]);
        assert_eq!(events.metrics().stored(), (6, 0));
    })
    .await;
}

#[tokio::test]
async fn a_repeated_request_stores_nothing() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let _writer = start_writer(&events);
        let with_key = |id: &str| Post { key: Some("k".parse().unwrap()), ..post(id) };
        let answers =
            post_all(&events, vec![with_key("a"), post("b"), with_key("a"), with_key("c")]).await;
        let stored_first = Posted { first_seq: 1, count: 1, is_repeat: false };
        let repeated = Posted { is_repeat: true, ..stored_first };
        assert_eq!(*answers[0].as_ref().unwrap(), stored_first);
        assert_eq!(*answers[2].as_ref().unwrap(), repeated);
        assert!(matches!(answers[3], Err(PostError::KeyReused)));

        let events = open(&store, EventSettings::default()).await;
        let _writer = start_writer(&events);
        let answers = post_all(&events, vec![with_key("a"), with_key("c")]).await;
        assert_eq!(*answers[0].as_ref().unwrap(), repeated, "also after a restart");
        assert!(matches!(answers[1], Err(PostError::KeyReused)));
        assert_eq!(stored(&store).await.len(), 2);
        assert_eq!(events.metrics().stored(), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn a_refused_post_does_not_affect_the_others_of_its_group() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let _writer = start_writer(&events);
        let now = database_time(&store).await;
        let at = |time: i64| NewEvent { time: Some(now + time), ..event(&[("id", "t")]) };
        let late = post_of(vec![at(0), at(-56 * 60_000)]);
        let unknown = Post { queue: QueueId::new(99), ..post("a") };
        let good = post_of(vec![at(-54 * 60_000), at(30_000)]);
        let early = post_of(vec![at(20 * 60_000)]);
        let answers = post_all(&events, vec![post("a"), late, unknown, early, good]).await;
        assert_eq!(numbers(&answers), [Some(1), None, None, None, Some(2)]);
        assert!(matches!(answers[1], Err(PostError::Time(1))));
        assert!(matches!(answers[2], Err(PostError::QueueGone)));
        assert!(matches!(answers[3], Err(PostError::Time(0))));
        let times: Vec<_> = stored(&store).await[1..].iter().map(|it| it.sample_at - now).collect();
        assert_eq!(times, [-54 * 60_000, 30_000]);
    })
    .await;
}

#[tokio::test]
async fn a_queue_is_full_until_its_scrapers_get_events_or_are_forgotten() {
    on_both(async |store| {
        let settings = EventSettings { max_pending: 3, ..EventSettings::default() };
        let events = open(&store, settings).await;
        let _writer = start_writer(&events);
        let three = vec![post("a"), post("b"), post("c")];
        post_all(&events, three).await;
        assert_eq!(numbers(&post_all(&events, vec![post("d")]).await), [Some(4)], "no scraper");

        add_scraper(&store, "active", 2).await;
        let answers = post_all(&events, vec![post("e"), post("f"), post("g")]).await;
        assert_eq!(numbers(&answers), [Some(5), None, None]);
        assert!(matches!(answers[1], Err(PostError::Full { pending: 3 })));

        let mut behind = add_scraper(&store, "behind", 0).await;
        assert_eq!(numbers(&post_all(&events, vec![post("h")]).await), [None]);
        let mut tx = store.begin_write().await.unwrap();
        assert!(scrapers::remove(&mut tx, &behind).await.unwrap());
        tx.commit().await.unwrap();
        behind.last_seen -= millis(SCRAPER_IDLE) + 60_000;
        behind.name = "idle".to_owned();
        add_scraper_row(&store, behind.clone()).await;
        behind.name = "idle but up to date".to_owned();
        behind.position = 5;
        add_scraper_row(&store, behind).await;
        assert_eq!(numbers(&post_all(&events, vec![post("h")]).await), [None]);
        assert_eq!(scraper_row(&store, "idle").await, None);
        assert!(scraper_row(&store, "idle but up to date").await.is_some());
        assert_eq!(events.metrics().lost(), (0, 5));

        let mut tx = store.begin_write().await.unwrap();
        let active = scrapers::find(&mut tx, QUEUE, "active").await.unwrap().unwrap();
        let delivered = ScraperRow { position: 3, ..active };
        assert!(scrapers::update(&mut tx, &delivered).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(numbers(&post_all(&events, vec![post("h"), post("i")]).await), [Some(6), None]);
    })
    .await;
}

#[tokio::test]
async fn new_label_sets_are_limited() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let _writer = start_writer(&events);
        post_all(&events, vec![post("known")]).await;
        let left = events.0.rates.new_series_left(QUEUE, Instant::now());
        events.0.rates.take_new_series(QUEUE, left - 2, Instant::now());
        let three =
            post_of(vec![event(&[("id", "x")]), event(&[("id", "y")]), event(&[("id", "z")])]);
        let posts = vec![three, post("a"), post("known"), post("b"), post("a"), post("c")];
        let answers = post_all(&events, posts).await;
        assert_eq!(numbers(&answers), [None, Some(2), Some(3), Some(4), Some(5), None]);
        assert!(matches!(answers[0], Err(PostError::Cardinality)));
    })
    .await;
}

#[tokio::test]
async fn a_queue_accepts_a_burst() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let _writer = start_writer(&events);
        let burst = post_of(vec![event(&[("id", "a")]); 20_001]);
        let answers = post_all(&events, vec![burst]).await;
        assert!(matches!(answers[0], Err(PostError::TooFast(_))));
    })
    .await;
}

#[tokio::test]
async fn posts_of_clients_that_have_gone_are_dropped() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let gone = tokio::spawn({
            let events = events.clone();
            async move { events.post(post("gone")).await }
        });
        while events.0.waiting.receiver.try_lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        gone.abort();
        gone.await.unwrap_err();
        let _writer = start_writer(&events);
        assert_eq!(numbers(&post_all(&events, vec![post("a")]).await), [Some(1)]);
        assert_eq!(stored(&store).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn waiting_posts_are_stored_after_the_shutdown_and_later_ones_are_refused() {
    on_both(async |store| {
        let events = open(&store, EventSettings::default()).await;
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let posts = (0..2_000).map(|_| events.post(post("a")));
        let posts = futures_util::future::join_all(posts);
        let writer = async {
            tokio::task::yield_now().await;
            events.clone().write(shutdown).await;
        };
        let (answers, ()) = futures_util::future::join(posts, writer).await;
        assert!(answers.iter().all(Result::is_ok));
        assert!(matches!(events.post(post("b")).await, Err(PostError::Busy)));
        assert_eq!(stored(&store).await.len(), 2_000);
    })
    .await;
}

#[tokio::test]
async fn a_post_does_not_wait_for_long() {
    let (store, _dir) = sqlite().await;
    let events = open(&store, EventSettings::default()).await;
    tokio::time::pause();
    assert!(matches!(events.post(post("a")).await, Err(PostError::Late)));
}

async fn sqlite() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("test.db").display());
    (Store::open(&url.parse().unwrap(), 2).await.unwrap(), dir)
}

#[tokio::test]
async fn without_the_database_all_posts_are_refused_until_it_is_back() {
    let (store, dir) = sqlite().await;
    let events = open(&store, EventSettings::default()).await;
    let _writer = start_writer(&events);
    let (path, moved) = (dir.path().join("test.db"), dir.path().join("moved.db"));
    fs::rename(&path, &moved).unwrap();
    let answers = post_all(&events, vec![post("a"), post("b")]).await;
    for answer in &answers {
        let Err(PostError::Store(error)) = answer else { panic!("{answer:?}") };
        assert!(matches!(**error, StoreError::Unavailable { .. }), "{error:?}");
    }
    fs::rename(&moved, &path).unwrap();
    assert_eq!(numbers(&post_all(&events, vec![post("c")]).await), [Some(1)]);
    assert_eq!(events.0.rates.new_series_left(QUEUE, Instant::now()), 19_999);
}

#[tokio::test]
async fn a_full_disk_refuses_posts_until_there_is_space() {
    let (store, _dir) = sqlite().await;
    let events = open(&store, EventSettings::default()).await;
    let _writer = start_writer(&events);
    post_all(&events, vec![post("before")]).await;
    store.limit_pages_for_tests(1).await;
    let text = "x".repeat(256);
    let many = (0..2_000).map(|id: i32| event(&[("id", &id.to_string()), ("text", &text)]));
    let answers = post_all(&events, vec![post("a"), post_of(many.collect())]).await;
    for answer in &answers {
        let Err(PostError::Store(error)) = answer else { panic!("{answer:?}") };
        assert!(error.to_string().contains("full"), "{error}");
    }
    assert_eq!((stored(&store).await.len(), queue_row(&store).await.last_seq), (1, 1));
    store.limit_pages_for_tests(1_000_000).await;
    assert_eq!(numbers(&post_all(&events, vec![post("after")]).await), [Some(2)]);
}

#[tokio::test]
async fn two_replicas_give_numbers_without_gaps() {
    let schema = Schema::create().await;
    let url = schema.url().parse().unwrap();
    let mut numbers = Vec::new();
    let (first, second) =
        (Store::open(&url, 4).await.unwrap(), Store::open(&url, 4).await.unwrap());
    let replicas = [
        open(&first, EventSettings::default()).await,
        open(&second, EventSettings::default()).await,
    ];
    let writers = replicas.each_ref().map(start_writer);
    let post_some = async |events: &Events| {
        let mut answers = Vec::new();
        for round in 0..20 {
            let posts = (0..5).map(|id| events.post(post(&format!("{}", (round + id) % 7))));
            answers.extend(futures_util::future::join_all(posts).await);
        }
        answers
    };
    let (a, b) = futures_util::future::join(post_some(&replicas[0]), post_some(&replicas[1])).await;
    numbers.extend(a.into_iter().chain(b).map(|answer| answer.unwrap().first_seq));
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
    let rows = stored(&first).await;
    assert!(rows.is_sorted_by_key(|it| it.received_at), "times ascend with numbers");
    let mut by_series: HashMap<_, Vec<_>> = HashMap::new();
    for row in &rows {
        by_series.entry(&row.series).or_default().push(row.sample_at);
    }
    assert_eq!(by_series.len(), 7);
    assert!(by_series.values().all(|times| times.is_sorted_by(|a, b| a < b)));
    for writer in writers {
        writer.stop().await;
    }
    first.close().await;
    second.close().await;
    schema.drop().await;
}
