//! Metrics of the main listener's connections.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Reasons why Scrapebroker closed a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    /// No request ran for the idle timeout.
    Idle,
    /// It was idle, and the limit was reached.
    ForAnother,
}

impl Ended {
    fn label(self) -> ReasonLabel {
        let reason = match self {
            Self::Idle => "idle",
            Self::ForAnother => "evicted",
        };
        ReasonLabel { reason }
    }
}

/// Metrics of the main listener's connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionMetrics {
    open: Gauge,
    refused: Counter,
    ended: Family<ReasonLabel, Counter>,
    stalled: Counter,
}

impl ConnectionMetrics {
    /// Adds the families to `registry`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for ended in [Ended::Idle, Ended::ForAnother] {
            metrics.ended.get_or_create_owned(&ended.label());
        }
        registry.register(
            "scrapebroker_connections",
            "Open connections of the main listener, of max_connections",
            metrics.open.clone(),
        );
        registry.register(
            "scrapebroker_connections_refused",
            "Connections that were closed when they were accepted, since max_connections were open and none of them idle",
            metrics.refused.clone(),
        );
        registry.register(
            "scrapebroker_connections_closed",
            "Connections without a request that we closed: idle for too long, or evicted for a new one",
            metrics.ended.clone(),
        );
        registry.register(
            "scrapebroker_answers_stalled",
            "Answers that were ended because the client took nothing of them for write_timeout",
            metrics.stalled.clone(),
        );
        metrics
    }

    pub(super) fn open_now(&self, connections: usize) {
        self.open.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    pub(super) fn refuse(&self) {
        self.refused.inc();
    }

    pub(super) fn end(&self, reason: Ended) {
        self.ended.get_or_create(&reason.label()).inc();
    }

    pub(super) fn stalled(&self) {
        self.stalled.inc();
    }
}
