//! `kill -9` at random points while events are posted and responses are written.

use super::{process::EventsProcess, *};
use actix_web::rt::task::JoinHandle;
use std::{cell::Cell, collections::BTreeMap, rc::Rc, time::Duration};
use support::fault_proxy::{Fault, FaultProxy};
use tokio::sync::Notify;

/// Kills per mode. Each mode has a test of its own.
const ROUNDS: u64 = 7;

/// The program, two posters, and a Prometheus behind a slow connection.
struct Killed {
    process: EventsProcess,
    prometheus: Prometheus,
    _proxy: FaultProxy,
    /// Notified when a scrape reaches the program.
    scraped: Rc<Notify>,
    oracle: Rc<Oracle>,
    is_over: Rc<Cell<bool>>,
    posters: Vec<JoinHandle<()>>,
}

impl Killed {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let process = EventsProcess::start(settings);
        let scraped = Rc::<Notify>::default();
        let notify = Rc::clone(&scraped);
        // Responses that are written slowly may time out, so every second one is not.
        let fault = move |nth: usize| {
            notify.notify_waiters();
            if nth.is_multiple_of(2) { Fault::Throttle(4_000) } else { Fault::Pass }
        };
        let proxy = FaultProxy::start(process.events, fault).await;
        let prometheus = Prometheus::start(&scrape_config(proxy.address, ""));
        eventually(async || process.pending("127.0.0.1").await).await;
        let is_over = Rc::default();
        Self {
            process,
            prometheus,
            _proxy: proxy,
            scraped,
            oracle: Rc::default(),
            is_over,
            posters: Vec::new(),
        }
    }

    /// Posts events until the end of the test, each with labels of its own.
    fn post_distinct(&mut self) {
        let (oracle, is_over) = (Rc::clone(&self.oracle), Rc::clone(&self.is_over));
        let mut poster = Poster::new(self.process.events);
        self.posters.push(actix_web::rt::spawn(async move {
            while !is_over.get() {
                oracle.post(&mut poster, |value| format!("/event?id={value}&value={value}")).await;
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }));
    }

    /// Posts events with equal labels until the end of the test. Each post is repeated until it is
    /// answered.
    fn post_equal(&mut self, kind: &'static str) {
        let (oracle, is_over) = (Rc::clone(&self.oracle), Rc::clone(&self.is_over));
        let mut poster = Poster::new(self.process.events);
        self.posters.push(actix_web::rt::spawn(async move {
            while !is_over.get() {
                let value = oracle.value();
                let (path, key) = (format!("/event?type={kind}&value={value}"), value.to_string());
                while poster.post_once(&path, &key).await.is_none_or(|it| it.status != 200) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                oracle.accept(value);
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }));
    }

    /// Kills the program in turn while a response is prepared, written, and at any time.
    async fn kill_rounds(&mut self) {
        for round in 0..ROUNDS {
            tokio::time::sleep(Duration::from_millis(1_000 + fastrand::u64(..1_000))).await;
            self.scraped.notified().await;
            let delay = match round % 3 {
                0 => fastrand::u64(..10),
                1 => fastrand::u64(..500),
                _ => fastrand::u64(..1_500),
            };
            tokio::time::sleep(Duration::from_millis(delay)).await;
            let accepted = self.oracle.accepted();
            self.process.kill();
            let stored = self.process.stored().await;
            assert!(stored >= accepted, "{accepted} posts were accepted, {stored} events stored");
        }
    }

    /// Ends the posts, and waits until everything is delivered.
    async fn settle(&mut self) {
        self.is_over.set(true);
        for poster in self.posters.drain(..) {
            poster.await.unwrap();
        }
        eventually(async || (self.process.pending("127.0.0.1").await? == 0).then_some(())).await;
    }

    /// The number of responses whose events were stored several times.
    async fn repeated_responses(&self) -> usize {
        let mut times = BTreeMap::<_, Vec<_>>::new();
        for sample in self.prometheus.range("events_to_metrics", 600).await {
            times.entry(sample.labels["id"].clone()).or_default().push(sample.timestamp);
        }
        let repeated = times.values().filter(|times| times.len() > 1);
        let first: std::collections::BTreeSet<_> =
            repeated.map(|times| times.iter().min().unwrap()).collect();
        first.len()
    }
}

#[actix_web::test]
async fn explicit_timestamps_and_counters_are_exact() {
    let settings =
        [("EVENTS__TIMESTAMPS", "explicit"), ("EVENTS__HOLD", "4s"), ("EVENTS__COUNTERS", "true")];
    let mut killed = Killed::start(&settings).await;
    killed.post_equal("deploy");
    killed.post_equal("restart");
    killed.post_distinct();
    killed.kill_rounds().await;
    killed.settle().await;
    assert_stored(&killed.prometheus, &killed.oracle, Guarantee::Once).await;
    let stored = killed.prometheus.range("events_to_metrics", 600).await;
    for kind in ["deploy", "restart"] {
        // The posts were repeated until they were answered, so each is stored once.
        let events = stored.iter().filter(|it| it.labels.get("type").is_some_and(|it| it == kind));
        let events = events.count() as f64;
        let selector = format!("events_to_metrics_events_total{{type='{kind}'}}");
        let counter = eventually(async || {
            let samples = killed.prometheus.range(&selector, 600).await;
            (samples.last()?.value >= events).then_some(samples)
        })
        .await;
        assert_eq!(counter[0].value, 0.0, "{kind}");
        assert_eq!(counter.last().unwrap().value, events, "{kind}");
        assert!(counter.is_sorted_by_key(|it| it.value), "{kind}: no counter was reset");
    }
}

#[actix_web::test]
async fn without_timestamps_only_batches_in_flight_are_repeated() {
    let mut killed = Killed::start(&[]).await;
    killed.post_distinct();
    killed.post_distinct();
    killed.kill_rounds().await;
    killed.settle().await;
    assert_stored(&killed.prometheus, &killed.oracle, Guarantee::AtLeastOnce).await;
    let repeated = killed.repeated_responses().await;
    assert!(repeated <= usize::try_from(ROUNDS).unwrap(), "{repeated} batches were repeated");
}

#[actix_web::test]
async fn without_redelivery_nothing_is_stored_twice() {
    let mut killed = Killed::start(&[("EVENTS__REDELIVERY", "never")]).await;
    killed.post_distinct();
    killed.post_distinct();
    killed.kill_rounds().await;
    killed.settle().await;
    killed.oracle.assert_delivered(stored_values(&killed.prometheus).await, Guarantee::AtMostOnce);
}

/// The response is larger than the buffers of the kernel, so a kill cuts it.
#[actix_web::test]
async fn a_response_that_a_kill_cuts_is_delivered_again() {
    for (mode, rounds) in [("scrape", 2), ("explicit", 2)] {
        let mut process = EventsProcess::start(&[("EVENTS__TIMESTAMPS", mode)]);
        let is_slow = Rc::new(Cell::new(true));
        let fault = {
            let is_slow = Rc::clone(&is_slow);
            move |_| if is_slow.get() { Fault::Throttle(200_000) } else { Fault::Pass }
        };
        let proxy = FaultProxy::start(process.events, fault).await;
        let connect = async || TestScraper::connect(proxy.address).await.with_timeout("0.5");
        assert_eq!(connect().await.scrape("/metrics").await.unwrap().status, 200);
        let oracle = Oracle::default();
        post_large(&process, &oracle).await;
        for _ in 0..rounds {
            let mut scraper = connect().await;
            eventually(async || {
                scraper.request("/metrics").await;
                let head = scraper.head().await?;
                if head.headers["content-length"].len() > 5 {
                    return Some(());
                }
                // Without timestamps a batch in flight is not repeated before its deadline.
                scraper.response().await;
                None
            })
            .await;
            scraper.read_part(40_000).await;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..300))).await;
            process.kill();
            assert!(scraper.response().await.is_none(), "the response was cut");
        }
        is_slow.set(false);
        let (mut scraper, mut delivered) = (connect().await, Vec::new());
        while process.pending("127.0.0.1").await != Some(0) {
            let response = scraper.scrape("/metrics").await.unwrap();
            delivered.extend(numbers(&response));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let guarantee = if mode == "scrape" { Guarantee::Once } else { Guarantee::AtLeastOnce };
        oracle.assert_delivered(delivered, guarantee);
    }
}

/// Posts 2,500 events with 500 bytes each.
async fn post_large(process: &EventsProcess, oracle: &Oracle) {
    let text = "x".repeat(240);
    for _ in 0..5 {
        let values: Vec<_> = (0..500).map(|_| oracle.value()).collect();
        let event = |value: &u32| {
            let labels = serde_json::json!({"id": value, "a": text, "b": text});
            serde_json::json!({"labels": labels, "value": value})
        };
        let body = Value::from(values.iter().map(event).collect::<Vec<_>>());
        let url = format!("http://{}/event", process.events);
        let headers = [("Content-Type", "application/json")];
        let answer = send("POST", &url, &headers, Some(body.to_string())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        values.into_iter().for_each(|value| oracle.accept(value));
    }
}

/// The values of the samples of events in a response, without their timestamps.
fn numbers(response: &Response) -> Vec<f64> {
    let values = values(response);
    values.iter().map(|it| it.split(' ').next().unwrap().parse().unwrap()).collect()
}
