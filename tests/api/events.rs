//! Events: posts, scrapes, and what a real Prometheus stores of them.

mod annotations;
mod delivery;
mod drain;
mod faults;
mod formats;
mod identity;
mod kills;
mod limits;
mod one_shot_metrics_server;
mod peeks;
mod post;
mod process;
mod replicas;
mod service;

use crate::{promtool, test_app::*};
use serde_json::Value;
use std::net::SocketAddr;
use support::{
    events::{Guarantee, Oracle, Poster},
    programs::Prometheus,
    *,
};

/// Time for two scrapes of a Prometheus that scrapes every second.
const TWO_SCRAPES: std::time::Duration = std::time::Duration::from_millis(2_500);

/// The program with a listener of events.
struct EventsApp {
    app: TestApp,
    events: SocketAddr,
}

impl EventsApp {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let mut all = vec![("EVENTS__LISTEN", "127.0.0.1:0".to_owned())];
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let app = spawn_app(&all).await;
        let events = app.events_address.unwrap();
        Self { app, events }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.events)
    }

    async fn post(&self, query: &str) -> Response {
        send("POST", &self.url(&format!("/event?{query}")), &[], None).await
    }

    /// The last events, as an operator sees them.
    async fn timeline(&self, query: &str) -> Value {
        timeline(self.app.address, query).await
    }

    /// The number of events that a scraper has to get. None if it is unknown.
    async fn pending(&self, scraper: &str) -> Option<i64> {
        pending(self.app.address, scraper).await
    }

    /// The value of one of the program's own series.
    async fn metric(&self, series: &str) -> f64 {
        let answer = self.app.get("/metrics").await;
        let lines = answer.lines(&format!("{series} "));
        lines[0].rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

/// The last events of the program with this main listener, as an operator sees them.
async fn timeline(address: SocketAddr, query: &str) -> Value {
    let url = format!("http://{address}/v1/events{query}");
    let answer = send("GET", &url, &[("Authorization", &operator())], None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn pending(address: SocketAddr, scraper: &str) -> Option<i64> {
    let timeline = timeline(address, "?limit=1").await;
    let scrapers = timeline["scrapers"].as_array().unwrap();
    let found = scrapers.iter().find(|it| it["name"] == scraper)?;
    found["pending"].as_i64()
}

/// Waits until the scrapers have got everything.
async fn all_delivered(app: &EventsApp, scrapers: &[&str]) {
    for scraper in scrapers {
        eventually(async || (app.pending(scraper).await? == 0).then_some(())).await;
    }
}

async fn registered(app: &EventsApp, scrapers: &[&str]) {
    for scraper in scrapers {
        eventually(async || app.pending(scraper).await).await;
    }
}

/// Posts `count` events with label sets and values of their own, over about three seconds.
async fn post_distinct(app: &EventsApp, oracle: &Oracle, count: usize) {
    let mut poster = Poster::new(app.events);
    for _ in 0..count {
        assert!(oracle.post(&mut poster, |value| format!("/event?id={value}&value={value}")).await);
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}

fn operator() -> String {
    basic(USER, PASSWORD)
}

/// A scrape configuration for events.
fn scrape_config(address: SocketAddr, extra: &str) -> String {
    format!(
        "- job_name: events\n  honor_labels: true\n  {extra}\n  static_configs: [{{targets: ['{address}']}}]\n"
    )
}

/// The values of all stored samples of events.
async fn stored_values(prometheus: &Prometheus) -> Vec<f64> {
    let samples = prometheus.range("events_to_metrics", 600).await;
    samples.iter().map(|sample| sample.value).collect()
}

/// Waits until Prometheus has stored all accepted events, and checks how often.
async fn assert_stored(prometheus: &Prometheus, oracle: &Oracle, guarantee: Guarantee) {
    let mut stored = stored_values(prometheus).await;
    for _ in 0..100 {
        if oracle.compare(stored.iter().copied()).missing.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        stored = stored_values(prometheus).await;
    }
    oracle.assert_delivered(stored, guarantee);
}

/// The values of the samples of events in a response.
fn values(response: &Response) -> Vec<String> {
    let is_event = |line: &&str| {
        line.starts_with("events_to_metrics{") || line.starts_with("events_to_metrics ")
    };
    let text = response.text();
    let lines = text.lines().filter(is_event);
    lines.map(|line| line.rsplit("} ").next().unwrap().to_owned()).collect()
}

/// The table of guarantees in the documentation.
#[test]
fn each_guarantee_names_its_tests() {
    let root = env!("CARGO_MANIFEST_DIR");
    let docs = std::fs::read_to_string(format!("{root}/docs/OPERATIONS.md")).unwrap();
    let section = docs.split("### What is guaranteed\n").nth(1).unwrap();
    let rows = section.lines().skip(3).take_while(|line| line.starts_with('|'));
    let mut guarantees = 0;
    for row in rows {
        guarantees += 1;
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        // Prometheus drops what it does not want without a sign.
        if tests == "–" {
            continue;
        }
        for test in tests.split(", ") {
            let (file, name) = test.trim_matches('`').split_once("::").unwrap();
            let source = std::fs::read_to_string(format!("{root}/tests/api/events/{file}.rs"));
            assert!(source.unwrap().contains(&format!("async fn {name}()")), "{test}");
        }
    }
    assert!(guarantees > 8, "{guarantees}");
}
