//! Metrics of events.

mod gauges;

use super::{
    evidence::{AckBy, NackBy},
    settings::Collision,
    states::QueueStates,
};
use crate::telemetry::metrics::{CounterByLabel, register};
use arc_swap::ArcSwap;
use gauges::QueuesCollector;
use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::{sync::Arc, time::Duration};

/// Why events were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    Malformed,
    Label,
    Cardinality,
    Time,
    TooLarge,
    Pending,
    Rate,
    Key,
    Access,
    Unavailable,
}

impl Rejection {
    const ALL: [Self; 10] = [
        Self::Malformed,
        Self::Label,
        Self::Cardinality,
        Self::Time,
        Self::TooLarge,
        Self::Pending,
        Self::Rate,
        Self::Key,
        Self::Access,
        Self::Unavailable,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Label => "label",
            Self::Cardinality => "cardinality",
            Self::Time => "time",
            Self::TooLarge => "too_large",
            Self::Pending => "pending",
            Self::Rate => "rate",
            Self::Key => "key",
            Self::Access => "access",
            Self::Unavailable => "unavailable",
        }
    }
}

fn ack_name(by: AckBy) -> &'static str {
    match by {
        AckBy::Reuse => "reuse",
        AckBy::Deadline => "deadline",
        AckBy::Close => "close",
    }
}

fn nack_name(by: NackBy) -> &'static str {
    match by {
        NackBy::Closed => "closed",
        NackBy::Deadline => "deadline",
        NackBy::Lost => "lost",
    }
}

fn policy_name(policy: Collision) -> &'static str {
    match policy {
        Collision::Defer => "defer",
        Collision::Sum => "sum",
        Collision::Last => "last",
        Collision::Ordinal => "ordinal",
    }
}

/// Counters of all queues, and the states that the gauges show. Clones share them.
#[derive(Clone, Debug)]
pub struct EventMetrics {
    received: Counter,
    repeated: Counter,
    rejected: CounterByLabel,
    delivered: Counter,
    redelivered: Counter,
    undelivered: Counter,
    expired: Counter,
    evicted: Counter,
    folded: CounterByLabel,
    acknowledgements: CounterByLabel,
    refused_deliveries: CounterByLabel,
    scrapers_refused: Counter,
    commit_seconds: Histogram,
    commit_events: Histogram,
    pub(super) states: Arc<ArcSwap<QueueStates>>,
}

impl EventMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let states = Arc::new(ArcSwap::default());
        registry.register_collector(Box::new(QueuesCollector(Arc::clone(&states))));
        let mut counter = |name: &str, help: &str| {
            register(registry, &format!("scrapebroker_events_{name}"), help, Counter::default())
        };
        let received = counter("received", "Events that were stored");
        let repeated = counter(
            "repeated",
            "Events that were stored before, by a request with the same Idempotency-Key",
        );
        let delivered = counter("delivered", "Events that a scraper acknowledged, per scraper");
        let redelivered = counter(
            "redelivered",
            "Events that were sent again because their delivery was not certain",
        );
        let undelivered = counter(
            "undelivered",
            "Events of failed deliveries that are not repeated (events.redelivery: never)",
        );
        let expired = counter(
            "expired",
            "Events that a scraper did not get before they expired, per scraper",
        );
        let evicted = counter(
            "evicted",
            "Events that a scraper did not get because it was forgotten, per scraper",
        );
        let scrapers_refused = counter(
            "scrapers_refused",
            "Scrapes that were refused because the queue has too many scrapers",
        );
        let mut counters = |name: &str, help: &str, label, values: Vec<&'static str>| {
            let name = format!("scrapebroker_events_{name}");
            CounterByLabel::register(registry, &name, help, label, values)
        };
        let rejected = counters(
            "rejected",
            "Posts that were refused",
            "reason",
            Rejection::ALL.map(Rejection::name).to_vec(),
        );
        let policies = [Collision::Defer, Collision::Sum, Collision::Last];
        let folded = counters(
            "folded",
            "Events that were added to an event with equal labels, or replaced by one",
            "policy",
            policies.map(policy_name).to_vec(),
        );
        let acknowledgements = counters(
            "acknowledgements",
            "Responses that count as delivered, by evidence",
            "by",
            [AckBy::Reuse, AckBy::Deadline, AckBy::Close].map(ack_name).to_vec(),
        );
        let refused_deliveries = counters(
            "refused_deliveries",
            "Responses that count as not delivered, by evidence",
            "by",
            [NackBy::Closed, NackBy::Deadline, NackBy::Lost].map(nack_name).to_vec(),
        );
        let commit_seconds = register(
            registry,
            "scrapebroker_events_commit_seconds",
            "Time to store a group of posts",
            Histogram::new(exponential_buckets(0.001, 2.0, 12)),
        );
        let commit_events = register(
            registry,
            "scrapebroker_events_commit_events",
            "Events of a group of posts",
            Histogram::new(exponential_buckets(1.0, 4.0, 8)),
        );
        Self {
            received,
            repeated,
            rejected,
            delivered,
            redelivered,
            undelivered,
            expired,
            evicted,
            folded,
            acknowledgements,
            refused_deliveries,
            scrapers_refused,
            commit_seconds,
            commit_events,
            states,
        }
    }

    /// Counts a post that was refused.
    pub fn rejected(&self, reason: Rejection) {
        self.rejected.count(reason.name());
    }

    pub(super) fn committed(&self, events: i64, duration: Duration) {
        self.received.inc_by(unsigned(events));
        self.commit_seconds.observe(duration.as_secs_f64());
        self.commit_events.observe(events as f64);
    }

    pub(super) fn repeated(&self, events: i64) {
        self.repeated.inc_by(unsigned(events));
    }

    pub fn delivered(&self, events: i64) {
        self.delivered.inc_by(unsigned(events));
    }

    pub fn redelivered(&self, events: i64) {
        self.redelivered.inc_by(unsigned(events));
    }

    pub fn undelivered(&self, events: i64) {
        self.undelivered.inc_by(unsigned(events));
    }

    pub fn expired(&self, events: i64) {
        self.expired.inc_by(unsigned(events));
    }

    pub fn evicted(&self, events: i64) {
        self.evicted.inc_by(unsigned(events));
    }

    pub fn folded(&self, policy: Collision, events: u64) {
        self.folded.add(policy_name(policy), events);
    }

    pub fn acknowledged(&self, by: AckBy) {
        self.acknowledgements.count(ack_name(by));
    }

    pub fn refused_delivery(&self, by: NackBy) {
        self.refused_deliveries.count(nack_name(by));
    }

    pub fn scraper_refused(&self) {
        self.scrapers_refused.inc();
    }

    /// Number of events that were lost: expired, and evicted.
    #[cfg(test)]
    pub(super) fn lost(&self) -> (u64, u64) {
        (self.expired.get(), self.evicted.get())
    }

    #[cfg(test)]
    pub(super) fn stored(&self) -> (u64, u64) {
        (self.received.get(), self.repeated.get())
    }
}

/// Differences of numbers are not negative.
fn unsigned(events: i64) -> u64 {
    u64::try_from(events).unwrap_or(0)
}
