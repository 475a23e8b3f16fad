//! ScrapeMetrics of the memory budget.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Default)]
pub struct MemoryBudgetMetrics {
    allocated: Gauge,
    waits: Counter,
    retries: Counter,
    refused: Family<ReasonLabel, Counter>,
}

impl MemoryBudgetMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for reason in ["too_late", "too_large"] {
            metrics.refused.get_or_create_owned(&ReasonLabel { reason });
        }
        registry.register(
            "scrapebroker_body_memory_bytes",
            "Bytes of scrape.max_memory that are allocated to instances' bodies",
            metrics.allocated.clone(),
        );
        registry.register(
            "scrapebroker_memory_waits",
            "Requests that waited for scrape.max_memory",
            metrics.waits.clone(),
        );
        registry.register(
            "scrapebroker_memory_retries",
            "Scrapes that were aborted to free memory for an older request and are run again",
            metrics.retries.clone(),
        );
        registry.register(
            "scrapebroker_memory_refused",
            "Requests rejected because of scrape.max_memory",
            metrics.refused.clone(),
        );
        metrics
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
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }
}
