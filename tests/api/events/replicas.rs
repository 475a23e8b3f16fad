//! Two replicas on one PostgreSQL, of which one is killed.

use super::*;
use crate::{replicas::Database, server_process::Server};
use std::{cell::Cell, rc::Rc, time::Duration};
use support::{
    balancer::Balancer,
    fault_proxy::{Fault, FaultProxy},
};
use tokio::sync::Notify;

/// Two replicas, and a Prometheus that scrapes them through a slow connection and a load balancer.
struct Replicated {
    database: Database,
    settings: Vec<(String, String)>,
    folders: [tempfile::TempDir; 2],
    replicas: [Option<Server>; 2],
    balancer: Balancer,
    _proxy: FaultProxy,
    /// Notified when a scrape reaches a replica.
    scraped: Rc<Notify>,
    prometheus: Prometheus,
    oracle: Rc<Oracle>,
}

/// The name of the Prometheus, which scrapes as an operator.
fn scraper() -> String {
    format!("operator:{USER}@127.0.0.1")
}

impl Replicated {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let database = Database::create().await;
        let url = database.url();
        let shared = [
            ("DATABASE_URL", &*url),
            ("BROKER__TOKEN_KEY", "shared by both of them"),
            ("PROMETHEUS__PROVISIONER", "none"),
            ("EVENTS__LISTEN", "127.0.0.1:0"),
        ];
        let settings = shared.iter().chain(settings);
        let settings =
            settings.map(|(name, value)| (format!("SCRAPEBROKER__{name}"), (*value).to_owned()));
        let balancer = Balancer::start().await;
        let scraped = Rc::<Notify>::default();
        let notify = Rc::clone(&scraped);
        // Responses that are written slowly may time out, so every second one is not.
        let fault = move |nth: usize| {
            notify.notify_waiters();
            if nth.is_multiple_of(2) { Fault::Throttle(4_000) } else { Fault::Pass }
        };
        let proxy = FaultProxy::start(balancer.address, fault).await;
        let login = format!(
            "metrics_path: /v1/events/metrics\n  basic_auth: {{username: '{USER}', password: '{PASSWORD}'}}"
        );
        let prometheus = Prometheus::start(&scrape_config(proxy.address, &login));
        let mut replicated = Self {
            database,
            settings: settings.collect(),
            folders: [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()],
            replicas: [None, None],
            balancer,
            _proxy: proxy,
            scraped,
            prometheus,
            oracle: Rc::default(),
        };
        for index in 0..2 {
            replicated.start_replica(index).await;
        }
        let address = replicated.replica(0).address;
        eventually(async || pending(address, &scraper()).await).await;
        replicated
    }

    async fn start_replica(&mut self, index: usize) {
        let settings: Vec<_> =
            self.settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        let replica = Server::start_with(self.folders[index].path(), &settings);
        self.balancer.add(replica.address);
        eventually(async || self.balancer.is_ready(replica.address).then_some(())).await;
        self.replicas[index] = Some(replica);
    }

    fn replica(&self, index: usize) -> &Server {
        self.replicas[index].as_ref().unwrap()
    }

    fn kill(&mut self, index: usize) {
        let replica = self.replicas[index].take().unwrap();
        self.balancer.remove(replica.address);
        replica.signal("KILL");
    }

    /// Posts to a replica until it is gone or the test is over.
    fn post_to(&self, index: usize, is_over: &Rc<Cell<bool>>) {
        let (oracle, is_over) = (Rc::clone(&self.oracle), Rc::clone(is_over));
        let mut poster = Poster::new(self.replica(index).events_address());
        actix_web::rt::spawn(async move {
            let path = |value| format!("/event?id={value}&value={value}");
            while !is_over.get() && oracle.post(&mut poster, path).await {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        });
    }

    /// Kills each replica twice while it answers a scrape, and starts it again.
    async fn kill_each(&mut self) {
        let is_over = Rc::default();
        for index in [0, 1, 0, 1] {
            self.post_to(0, &is_over);
            self.post_to(1, &is_over);
            tokio::time::sleep(Duration::from_millis(2_000 + fastrand::u64(..1_000))).await;
            // Prometheus keeps its connection, so from the second time on it is with this replica.
            self.scraped.notified().await;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..300))).await;
            self.kill(index);
            tokio::time::sleep(Duration::from_millis(2_000)).await;
            self.start_replica(index).await;
        }
        is_over.set(true);
        let address = self.replica(0).address;
        eventually(async || (pending(address, &scraper()).await? == 0).then_some(())).await;
        let accepted = self.oracle.accepted() as u64;
        assert!(timeline(address, "?limit=1").await["last_seq"].as_u64().unwrap() >= accepted);
    }

    async fn end(self) {
        drop(self.replicas);
        self.database.drop().await;
    }
}

#[actix_web::test]
async fn explicit_timestamps_and_counters_are_exact_if_one_is_killed() {
    let settings =
        [("EVENTS__TIMESTAMPS", "explicit"), ("EVENTS__HOLD", "5s"), ("EVENTS__COUNTERS", "true")];
    let mut replicated = Replicated::start(&settings).await;
    replicated.kill_each().await;
    assert_stored(&replicated.prometheus, &replicated.oracle, Guarantee::Once).await;
    let address = replicated.replica(0).address;
    let stored = timeline(address, "?limit=1").await["last_seq"].to_string();
    eventually(async || {
        let sum = replicated.prometheus.query("sum(events_to_metrics_events_total)").await;
        (sum[0]["value"][1] == stored).then_some(())
    })
    .await;
    replicated.end().await;
}

#[actix_web::test]
async fn without_timestamps_nothing_is_missing_if_one_is_killed() {
    let mut replicated = Replicated::start(&[]).await;
    replicated.kill_each().await;
    assert_stored(&replicated.prometheus, &replicated.oracle, Guarantee::AtLeastOnce).await;
    replicated.end().await;
}

#[actix_web::test]
async fn without_redelivery_nothing_is_stored_twice_if_one_is_killed() {
    let mut replicated = Replicated::start(&[("EVENTS__REDELIVERY", "never")]).await;
    replicated.kill_each().await;
    let stored = stored_values(&replicated.prometheus).await;
    replicated.oracle.assert_delivered(stored, Guarantee::AtMostOnce);
    replicated.end().await;
}
