//! Stops and restarts with SIGTERM.

use super::{process::EventsProcess, *};
use std::{cell::Cell, rc::Rc, time::Duration};

/// Waits until the program drains.
async fn draining(process: &EventsProcess) {
    let ready = format!("http://{}/-/ready", process.address());
    eventually(async || (send("GET", &ready, &[], None).await.status == 503).then_some(())).await;
}

#[actix_web::test]
async fn while_draining_posts_are_stored_and_no_batch_begins() {
    let mut process = EventsProcess::start(&[("DRAIN_WAIT", "3s")]);
    let mut scraper = TestScraper::connect(process.events).await;
    scraper.scrape("/metrics").await.unwrap();
    let (mut poster, oracle) = (Poster::new(process.events), Oracle::default());
    let path = |value| format!("/event?id={value}&value={value}");
    assert!(oracle.post(&mut poster, path).await);
    assert_eq!(values(&scraper.scrape("/metrics").await.unwrap()), ["1"]);
    process.signal("TERM");
    draining(&process).await;
    assert!(oracle.post(&mut poster, path).await);
    let last = scraper.scrape("/metrics").await.unwrap();
    assert_eq!((last.status, values(&last)), (200, Vec::new()), "the next process delivers");
    assert_eq!(last.headers["connection"], "close");
    assert_eq!(last.lines("events_to_metrics_event_count"), ["events_to_metrics_event_count 2"]);
    scraper.disconnected().await;
    assert!(oracle.post(&mut poster, path).await);
    process.restarted().await;

    let mut scraper = TestScraper::connect(process.events).await;
    assert_eq!(values(&scraper.scrape("/metrics").await.unwrap()), ["2", "3"]);
    scraper.scrape("/metrics").await.unwrap();
    assert_eq!(process.pending("127.0.0.1").await, Some(0));
}

/// The response is acknowledged by the end of its connection: the program closes it when it stops,
/// and the scraper does so then.
#[actix_web::test]
async fn a_batch_in_flight_is_settled_by_the_stop() {
    let mut process = EventsProcess::start(&[]);
    let mut scraper = TestScraper::connect(process.events).await;
    scraper.scrape("/metrics").await.unwrap();
    let mut poster = Poster::new(process.events);
    assert_eq!(poster.post("/event?value=1").await.unwrap().status, 200);
    assert_eq!(values(&scraper.scrape("/metrics").await.unwrap()), ["events_to_metrics 1"]);
    let closed = actix_web::rt::spawn(async move { scraper.disconnected().await });
    process.signal("TERM");
    closed.await.unwrap();
    process.restarted().await;
    assert_eq!(process.pending("127.0.0.1").await, Some(0));
}

/// Restarts the program in order, several times, while events are posted.
async fn restarts(settings: &[(&str, &str)], guarantee: Guarantee) {
    let mut all = vec![("DRAIN_WAIT", "500ms"), ("EVENTS__COUNTERS", "true")];
    all.extend(settings);
    let mut process = EventsProcess::start(&all);
    let prometheus = Prometheus::start(&scrape_config(process.events, ""));
    eventually(async || process.pending("127.0.0.1").await).await;
    let (oracle, is_over) = (Rc::<Oracle>::default(), Rc::<Cell<bool>>::default());
    let mut poster = Poster::new(process.events);
    let posts = {
        let (oracle, is_over) = (Rc::clone(&oracle), Rc::clone(&is_over));
        actix_web::rt::spawn(async move {
            let path = |value| format!("/event?id={value}&value={value}");
            while !is_over.get() {
                oracle.post(&mut poster, path).await;
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        })
    };
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(2_000 + fastrand::u64(..1_000))).await;
        process.signal("TERM");
        process.restarted().await;
        let accepted = oracle.accepted();
        assert!(process.stored().await >= accepted);
    }
    is_over.set(true);
    posts.await.unwrap();
    eventually(async || (process.pending("127.0.0.1").await? == 0).then_some(())).await;
    assert_stored(&prometheus, &oracle, guarantee).await;
    let stored = process.stored().await.to_string();
    eventually(async || {
        let sum = prometheus.query("sum(events_to_metrics_events_total)").await;
        (sum[0]["value"][1] == stored).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn restarts_lose_and_repeat_nothing_with_explicit_timestamps() {
    let settings = [("EVENTS__TIMESTAMPS", "explicit"), ("EVENTS__HOLD", "5s")];
    restarts(&settings, Guarantee::Once).await;
}

#[actix_web::test]
async fn restarts_lose_nothing_without_timestamps() {
    restarts(&[], Guarantee::AtLeastOnce).await;
}
