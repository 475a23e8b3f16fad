//! Faults between a real Prometheus and the program, and of Prometheus itself.

use super::*;
use futures_util::future::{join, join_all, join3};
use std::{cell::Cell, rc::Rc, time::Duration};
use support::fault_proxy::{Fault, FaultProxy};

const SCRAPE: (&str, &str) = ("EVENTS__TIMESTAMPS", "scrape");
const EXPLICIT: (&str, &str) = ("EVENTS__TIMESTAMPS", "explicit");
const NEVER: (&str, &str) = ("EVENTS__REDELIVERY", "never");
const COUNTERS: (&str, &str) = ("EVENTS__COUNTERS", "true");
/// Longer than it takes until two scrapes have succeeded.
const HOLD: (&str, &str) = ("EVENTS__HOLD", "10s");

/// The program and a Prometheus, with a proxy between them.
struct Proxied {
    app: EventsApp,
    _proxy: FaultProxy,
    prometheus: Prometheus,
    oracle: Oracle,
}

impl Proxied {
    async fn start(settings: &[(&str, &str)], fault: impl Fn(usize) -> Fault + 'static) -> Self {
        let app = EventsApp::start(settings).await;
        let proxy = FaultProxy::start(app.events, fault).await;
        Self::with(app, proxy).await
    }

    async fn with(app: EventsApp, proxy: FaultProxy) -> Self {
        let prometheus = Prometheus::start(&scrape_config(proxy.address, ""));
        registered(&app, &["127.0.0.1"]).await;
        Self { app, _proxy: proxy, prometheus, oracle: Oracle::default() }
    }

    /// Posts events over about ten scrapes, and waits until they count as delivered.
    async fn deliver(&self) {
        for _ in 0..3 {
            post_distinct(&self.app, &self.oracle, 100).await;
        }
        all_delivered(&self.app, &["127.0.0.1"]).await;
    }

    async fn assert_stored(&self, guarantee: Guarantee) {
        assert_stored(&self.prometheus, &self.oracle, guarantee).await;
    }

    /// Each counter is stored with 0 first and then with 1.
    async fn assert_counted(&self) {
        let counters = eventually(async || {
            let mut counters = std::collections::BTreeMap::<_, Vec<_>>::new();
            for sample in self.prometheus.range("events_to_metrics_events_total", 600).await {
                counters.entry(sample.labels["id"].clone()).or_default().push(sample.value);
            }
            let is_complete = counters.len() == self.oracle.accepted()
                && counters.values().all(|values| *values.last().unwrap() == 1.0);
            is_complete.then_some(counters)
        })
        .await;
        for (id, values) in counters {
            assert_eq!(values[0], 0.0, "{id}");
            assert!(values.is_sorted() && values.iter().all(|it| *it <= 1.0), "{id}: {values:?}");
        }
    }

    /// The lost events are those that were counted.
    async fn assert_losses_are_counted(&self) {
        self.assert_stored(Guarantee::AtMostOnce).await;
        let missing = self.oracle.compare(stored_values(&self.prometheus).await).missing;
        let counted = self.app.metric("scrapebroker_events_undelivered_total").await;
        assert_eq!(missing.len() as f64, counted, "{missing:?}");
        assert!(!missing.is_empty());
    }
}

/// Every third response stalls after some bytes of its head or body.
fn stall(nth: usize) -> Fault {
    if nth.is_multiple_of(3) { Fault::StallAfter(nth * 37 % 300) } else { Fault::Pass }
}

/// Two of four responses stall. With a pool of connections the first one counts as delivered before
/// the next one that does not stall.
fn stall_twice(nth: usize) -> Fault {
    if nth % 4 < 2 { Fault::StallAfter(nth * 37 % 300) } else { Fault::Pass }
}

/// The connection of every third response is reset after some bytes.
fn cut(nth: usize) -> Fault {
    if nth.is_multiple_of(3) { Fault::CutAfter(nth * 37 % 300) } else { Fault::Pass }
}

async fn with_fault(fault: fn(usize) -> Fault) {
    let explicit = async {
        let proxied = Proxied::start(&[EXPLICIT, HOLD, COUNTERS], fault).await;
        proxied.deliver().await;
        proxied.assert_stored(Guarantee::Once).await;
        proxied.assert_counted().await;
    };
    let scrape = async {
        let proxied = Proxied::start(&[SCRAPE, COUNTERS], fault).await;
        proxied.deliver().await;
        proxied.assert_stored(Guarantee::Once).await;
        proxied.assert_counted().await;
        assert!(proxied.app.metric("scrapebroker_events_redelivered_total").await > 0.0);
    };
    let never = async {
        let proxied = Proxied::start(&[SCRAPE, NEVER], fault).await;
        proxied.deliver().await;
        proxied.assert_losses_are_counted().await;
    };
    join3(explicit, scrape, never).await;
}

#[actix_web::test]
async fn events_of_scrapes_that_time_out_are_delivered_again() {
    with_fault(stall).await;
}

#[actix_web::test]
async fn events_of_connections_that_are_cut_are_delivered_again() {
    with_fault(cut).await;
}

/// A proxy with a pool of connections hides that a scrape has timed out.
#[actix_web::test]
async fn behind_a_proxy_explicit_timestamps_lose_nothing() {
    let behind_proxy = async |settings: &[(&str, &str)]| {
        let app = EventsApp::start(settings).await;
        let proxy = FaultProxy::start_pooling(app.events, stall_twice).await;
        let proxied = Proxied::with(app, proxy).await;
        proxied.deliver().await;
        proxied
    };
    let explicit = behind_proxy(&[EXPLICIT, HOLD, COUNTERS]);
    let scrape = behind_proxy(&[SCRAPE, COUNTERS]);
    let (explicit, scrape) = join(explicit, scrape).await;
    explicit.assert_stored(Guarantee::Once).await;
    explicit.assert_counted().await;
    // What the proxy has read counts as delivered.
    scrape.assert_stored(Guarantee::AtMostOnce).await;
    let missing = scrape.oracle.compare(stored_values(&scrape.prometheus).await).missing;
    assert!(!missing.is_empty(), "the row of the table of guarantees is wrong");
}

#[actix_web::test]
async fn a_connection_that_is_used_again_acknowledges_also_with_long_intervals() {
    let app = EventsApp::start(&[SCRAPE]).await;
    let long = "scrape_interval: 7s\n  scrape_timeout: 7s";
    let prometheus = Prometheus::start(&scrape_config(app.events, long));
    registered(&app, &["127.0.0.1"]).await;
    let oracle = Oracle::default();
    for _ in 0..2 {
        post_distinct(&app, &oracle, 10).await;
        all_delivered(&app, &["127.0.0.1"]).await;
    }
    assert_stored(&prometheus, &oracle, Guarantee::Once).await;
    let by = async |evidence: &str| {
        let name = "scrapebroker_events_acknowledgements_total";
        app.metric(&format!("{name}{{by=\"{evidence}\"}}")).await
    };
    assert!(by("reuse").await > 0.0);
    assert_eq!(app.metric("scrapebroker_events_redelivered_total").await, 0.0);
}

#[actix_web::test]
async fn two_minutes_without_prometheus_lose_and_repeat_nothing() {
    let stopped = async |settings: &[(&str, &str)]| {
        let app = EventsApp::start(settings).await;
        let mut prometheus = Prometheus::start(&scrape_config(app.events, ""));
        registered(&app, &["127.0.0.1"]).await;
        let oracle = Oracle::default();
        post_distinct(&app, &oracle, 50).await;
        all_delivered(&app, &["127.0.0.1"]).await;
        prometheus.stop().await;
        for _ in 0..60 {
            post_distinct(&app, &oracle, 5).await;
            tokio::time::sleep(Duration::from_millis(1_850)).await;
        }
        prometheus.start_again();
        all_delivered(&app, &["127.0.0.1"]).await;
        assert_stored(&prometheus, &oracle, Guarantee::Once).await;
        let counted = prometheus.range("events_to_metrics_event_count", 1).await;
        assert_eq!(counted.last().unwrap().value, oracle.accepted() as f64);
    };
    join_all([&[EXPLICIT][..], &[SCRAPE]].map(stopped)).await;
}

/// Prometheus is suspended when it has sent a scrape, and continues after its deadline.
#[actix_web::test]
async fn a_suspended_prometheus_stores_each_event_once_with_explicit_timestamps() {
    let suspended = async |settings: &[(&str, &str)], guarantee| {
        let app = EventsApp::start(settings).await;
        let (scraped, is_suspended) = (Rc::<Cell<bool>>::default(), Rc::<Cell<bool>>::default());
        let server = Rc::<std::cell::OnceCell<Prometheus>>::default();
        let pause = {
            let (scraped, is_suspended) = (Rc::clone(&scraped), Rc::clone(&is_suspended));
            let server = Rc::clone(&server);
            move |_| {
                if scraped.replace(false)
                    && let Some(prometheus) = server.get()
                {
                    prometheus.pause();
                    is_suspended.set(true);
                }
                Fault::Pass
            }
        };
        let proxy = FaultProxy::start(app.events, pause).await;
        let prometheus =
            server.get_or_init(|| Prometheus::start(&scrape_config(proxy.address, "")));
        registered(&app, &["127.0.0.1"]).await;
        let oracle = Oracle::default();
        for _ in 0..3 {
            post_distinct(&app, &oracle, 30).await;
            // The next scrape gets events, and Prometheus cannot read them.
            scraped.set(true);
            eventually(async || is_suspended.replace(false).then_some(())).await;
            post_distinct(&app, &oracle, 80).await;
            prometheus.resume();
        }
        all_delivered(&app, &["127.0.0.1"]).await;
        assert_stored(prometheus, &oracle, guarantee).await;
    };
    let explicit = suspended(&[EXPLICIT], Guarantee::Once);
    // The kernel of the suspended process has acknowledged the response.
    let scrape = suspended(&[SCRAPE], Guarantee::AtMostOnce);
    join(explicit, scrape).await;
}
