//! Metrics of outgoing connections.

use crate::telemetry::metrics::register;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug)]
pub struct ConnectionLimiterMetrics {
    open: Gauge,
    in_use: Gauge,
    waited: Counter,
    refused: Counter,
}

impl ConnectionLimiterMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            open: register(
                registry,
                "scrapebroker_backend_connections",
                "Open connections to instances, exporters and Prometheus servers, of backends.max_connections",
                Default::default(),
            ),
            in_use: register(
                registry,
                "scrapebroker_backend_connections_in_use",
                "Connections to instances, exporters and Prometheus servers that are in use by a request",
                Default::default(),
            ),
            waited: register(
                registry,
                "scrapebroker_backend_connection_waits",
                "Times that a request waited for one of backends.max_connections",
                Default::default(),
            ),
            refused: register(
                registry,
                "scrapebroker_backend_connection_refused",
                "Requests rejected with 503 because none of backends.max_connections was free in time",
                Default::default(),
            ),
        }
    }

    pub(super) fn set_open(&self, connections: usize) {
        self.open.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    pub(super) fn set_in_use(&self, connections: usize) {
        self.in_use.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    pub(super) fn count_wait(&self) {
        self.waited.inc();
    }

    pub(super) fn count_refused(&self) {
        self.refused.inc();
    }
}
