//! Events: posts, scrapes, and what a real Prometheus stores of them.

mod annotations;
mod delivery;
mod post;
mod seed;
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
        let path = format!("/v1/events{query}");
        let answer = self.app.get_with(&path, &[("Authorization", &operator())]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The number of events that a scraper has to get. None if it is unknown.
    async fn pending(&self, scraper: &str) -> Option<i64> {
        let timeline = self.timeline("").await;
        let scrapers = timeline["scrapers"].as_array().unwrap();
        let found = scrapers.iter().find(|it| it["name"] == scraper)?;
        found["pending"].as_i64()
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

/// The values of the samples of events in a response.
fn values(response: &Response) -> Vec<String> {
    let is_event = |line: &&str| {
        line.starts_with("events_to_metrics{") || line.starts_with("events_to_metrics ")
    };
    let text = response.text();
    let lines = text.lines().filter(is_event);
    lines.map(|line| line.rsplit("} ").next().unwrap().to_owned()).collect()
}
