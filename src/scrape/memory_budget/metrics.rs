//! Metrics of the memory budget.

use crate::telemetry::metrics::{CounterByLabel, register};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Default)]
pub struct MemoryBudgetMetrics {
    allocated: Gauge,
    waits: Counter,
    retries: Counter,
    refused: CounterByLabel,
}

impl MemoryBudgetMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            allocated: register(
                registry,
                "scrapebroker_body_memory_bytes",
                "Bytes of scrape.max_memory that are allocated to instances' bodies and their indexes",
                Default::default(),
            ),
            waits: register(
                registry,
                "scrapebroker_memory_waits",
                "Requests that waited for scrape.max_memory",
                Default::default(),
            ),
            retries: register(
                registry,
                "scrapebroker_memory_retries",
                "Scrapes that were aborted because others needed or held the memory, and are run again",
                Default::default(),
            ),
            refused: CounterByLabel::register(
                registry,
                "scrapebroker_memory_refused",
                "Requests rejected because of scrape.max_memory",
                "reason",
                ["too_late", "too_large"],
            ),
        }
    }

    pub(super) fn set_allocated(&self, bytes: u64) {
        self.allocated.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn count_wait(&self) {
        self.waits.inc();
    }

    pub(super) fn count_retry(&self) {
        self.retries.inc();
    }

    pub(super) fn count_refused(&self, reason: &'static str) {
        self.refused.count(reason);
    }
}
