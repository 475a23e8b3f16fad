//! The peers of `tests/support` that inject faults do what tests rely on.

use std::{cell::Cell, rc::Rc};
use support::{
    events::{Guarantee, Oracle, Poster},
    fault_proxy::{Fault, FaultProxy},
    programs::{Prometheus, StoredSample},
    *,
};

#[actix_web::test]
async fn a_fault_proxy_delays_and_cuts_responses() {
    let instance = Instance::with_metrics(&"a 1\n".repeat(1000)).await;
    let fault = Rc::new(Cell::new(Fault::Pass));
    let proxy = {
        let fault = Rc::clone(&fault);
        FaultProxy::start(instance.address, move |_| fault.get()).await
    };
    let mut scraper = TestScraper::connect(proxy.address).await;
    for passed in [Fault::Pass, Fault::Throttle(100_000), Fault::StallAfter(10_000)] {
        fault.set(passed);
        assert_eq!(scraper.scrape("/metrics").await.unwrap().body.len(), 4000, "{passed:?}");
    }
    let positions: Vec<_> = instance.requests().iter().map(|seen| seen.nth).collect();
    assert_eq!((positions, proxy.requests()), (vec![1, 2, 3], 3));

    fault.set(Fault::StallAfter(1000));
    scraper.request("/metrics").await;
    scraper.read_part(1000).await;
    assert_eq!(instance.open_connections(), 1);
    scraper.finish().await;
    eventually(async || (instance.open_connections() == 0).then_some(())).await;

    fault.set(Fault::CutAfter(1000));
    let mut scraper = TestScraper::connect(proxy.address).await;
    assert!(scraper.scrape("/metrics").await.is_none());
    eventually(async || (instance.open_connections() == 0).then_some(())).await;
}

#[actix_web::test]
async fn a_scraper_disconnects_in_different_ways() {
    let instance = Instance::with_metrics("a 1\n").await;
    let is_disconnected =
        async || eventually(async || (instance.open_connections() == 0).then_some(())).await;
    let scraper = TestScraper::connect_from("127.0.0.2", instance.address).await;
    let mut scraper = scraper.with_timeout("0.5").with_header("X-Real-Ip", "10.0.0.7");
    assert_eq!(scraper.scrape("/metrics").await.unwrap().text(), "a 1\n");
    let seen = instance.requests().remove(0);
    assert_eq!(seen.headers["x-prometheus-scrape-timeout-seconds"], "0.5");
    assert_eq!(seen.headers["x-real-ip"], "10.0.0.7");
    scraper.finish().await;
    scraper.disconnected().await;
    is_disconnected().await;

    let mut scraper = TestScraper::connect(instance.address).await;
    scraper.request("/metrics").await;
    scraper.read_part(1).await;
    assert_eq!(scraper.response().await.unwrap().text(), "a 1\n");
    scraper.reset();
    is_disconnected().await;
}

#[actix_web::test]
async fn a_prometheus_keeps_its_samples_while_it_is_stopped() {
    let value = Rc::new(Cell::new(1));
    let instance = {
        let value = Rc::clone(&value);
        Instance::start(move |_| Reply::metrics(&format!("a {}\n", value.get()))).await
    };
    let target = instance.address;
    let job = format!(
        "- {{job_name: a, honor_timestamps: true, static_configs: [{{targets: ['{target}']}}]}}\n"
    );
    let mut prometheus = Prometheus::start(&job);
    let has_stored = async |prometheus: &Prometheus, value: f64| {
        let is_stored = |sample: &StoredSample| sample.value == value;
        eventually(async || prometheus.range("a", 600).await.iter().any(is_stored).then_some(()))
            .await;
    };
    has_stored(&prometheus, 1.0).await;
    prometheus.stop().await;
    eventually(async || (instance.open_connections() == 0).then_some(())).await;
    value.set(2);
    prometheus.start_again();
    has_stored(&prometheus, 2.0).await;
    let samples = prometheus.range("a", 600).await;
    assert!(samples.iter().any(|sample| sample.value == 1.0) && samples[0].labels["job"] == "a");
    assert!(samples.is_sorted_by_key(|sample| sample.timestamp));

    prometheus.pause();
    value.set(3);
    prometheus.resume();
    has_stored(&prometheus, 3.0).await;
}

#[actix_web::test]
async fn an_oracle_reports_missing_and_repeated_events() {
    let server = Instance::start(|seen| match seen.line.contains("value=3") {
        true => Reply::Close,
        false => Reply::Http(200, vec![], vec![]),
    })
    .await;
    let (oracle, mut poster) = (Oracle::default(), Poster::new(server.address));
    for expected in [true, true, false, true] {
        let path = |value| format!("/event?value={value}");
        assert_eq!(oracle.post(&mut poster, path).await, expected);
    }
    let positions: Vec<_> = server.requests().iter().map(|seen| seen.nth).collect();
    assert_eq!((positions, oracle.accepted()), (vec![1, 2, 3, 1], 3));

    let differences = oracle.compare([1.0, 4.0, 4.0, 5.0, 0.5]);
    assert_eq!(differences.missing, [2]);
    assert_eq!(differences.repeated.into_iter().collect::<Vec<_>>(), [(4, 2)]);
    assert_eq!(differences.unknown, [5.0, 0.5]);
    // Value 3 may have been stored.
    oracle.assert_delivered([1.0, 2.0, 4.0], Guarantee::Once);
    oracle.assert_delivered([1.0, 2.0, 3.0, 4.0], Guarantee::Once);
    oracle.assert_delivered([1.0, 1.0, 2.0, 4.0], Guarantee::AtLeastOnce);
    oracle.assert_delivered([1.0], Guarantee::AtMostOnce);
    for (stored, guarantee) in [
        (vec![1.0, 2.0], Guarantee::Once),
        (vec![1.0, 2.0], Guarantee::AtLeastOnce),
        (vec![1.0, 1.0, 2.0, 4.0], Guarantee::Once),
        (vec![1.0, 1.0], Guarantee::AtMostOnce),
        (vec![1.0, 2.0, 4.0, 9.0], Guarantee::AtLeastOnce),
    ] {
        let check = std::panic::AssertUnwindSafe(|| oracle.assert_delivered(stored, guarantee));
        assert!(std::panic::catch_unwind(check).is_err(), "{guarantee:?}");
    }
}
