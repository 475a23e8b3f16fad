//! Metrics of the main listener's connections.

use crate::telemetry::metrics::{CounterByLabel, register};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Reasons why Scrapebroker closed a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    /// No request ran for the idle timeout.
    Idle,
    /// It was idle, and the limit was reached.
    Evicted,
}

impl Ended {
    fn reason(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Evicted => "evicted",
        }
    }
}

/// Metrics of the main listener's connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionMetrics {
    open: Gauge,
    refused: Counter,
    ended: CounterByLabel,
    stalled: Counter,
}

impl ConnectionMetrics {
    /// Adds the families to `registry`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        Self {
            open: register(
                registry,
                "scrapebroker_connections",
                "Open connections of the main listener, of max_connections",
                Default::default(),
            ),
            refused: register(
                registry,
                "scrapebroker_connections_refused",
                "Connections that were closed when they were accepted, since max_connections were open and none of them idle",
                Default::default(),
            ),
            ended: CounterByLabel::register(
                registry,
                "scrapebroker_connections_closed",
                "Connections without a request that were closed: idle for too long, or evicted for a new one",
                "reason",
                [Ended::Idle, Ended::Evicted].map(Ended::reason),
            ),
            stalled: register(
                registry,
                "scrapebroker_answers_stalled",
                "Responses that were aborted because the client read nothing for write_timeout",
                Default::default(),
            ),
        }
    }

    pub(super) fn open_now(&self, connections: usize) {
        self.open.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    pub(super) fn refuse(&self) {
        self.refused.inc();
    }

    pub(super) fn end(&self, reason: Ended) {
        self.ended.count(reason.reason());
    }

    pub(super) fn stalled(&self) {
        self.stalled.inc();
    }
}
