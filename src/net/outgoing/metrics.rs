//! Metrics of outgoing connections.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Gauges and counters of outgoing connections.
#[derive(Clone, Debug, Default)]
pub struct OutgoingMetrics {
    open: Gauge,
    in_use: Gauge,
    waited: Counter,
    refused: Counter,
}

impl OutgoingMetrics {
    /// Adds the families to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "scrapebroker_backend_connections",
            "Open connections to instances, exporters and Prometheus servers, of backends.max_connections",
            metrics.open.clone(),
        );
        registry.register(
            "scrapebroker_backend_connections_in_use",
            "Connections to instances, exporters and Prometheus servers that a request uses",
            metrics.in_use.clone(),
        );
        registry.register(
            "scrapebroker_backend_connection_waits",
            "Times that a request waited for one of backends.max_connections",
            metrics.waited.clone(),
        );
        registry.register(
            "scrapebroker_backend_connection_refused",
            "Requests that were answered 503 because none of backends.max_connections was free in time",
            metrics.refused.clone(),
        );
        metrics
    }

    pub(super) fn open_now(&self, connections: usize) {
        self.open.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    pub(super) fn use_now(&self, connections: usize) {
        self.in_use.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    pub(super) fn waits(&self) {
        self.waited.inc();
    }

    pub(super) fn refuse(&self) {
        self.refused.inc();
    }
}
