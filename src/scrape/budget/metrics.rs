//! What an operator sees of the budget.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Gauge and counters of the budget.
#[derive(Clone, Debug, Default)]
pub struct BudgetMetrics {
    held: Gauge,
    waited: Counter,
    repeated: Counter,
    refused: Family<ReasonLabel, Counter>,
}

impl BudgetMetrics {
    /// Adds the families to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for reason in ["too_late", "too_large"] {
            metrics.refused.get_or_create_owned(&ReasonLabel { reason });
        }
        registry.register(
            "scrapebroker_body_bytes",
            "Bytes of instances' bodies held now, of scrape.max_memory",
            metrics.held.clone(),
        );
        registry.register(
            "scrapebroker_memory_waits",
            "Requests that waited for scrape.max_memory",
            metrics.waited.clone(),
        );
        registry.register(
            "scrapebroker_memory_repeats",
            "Times that a request let go of its bodies for an older one, to ask for them again later",
            metrics.repeated.clone(),
        );
        registry.register(
            "scrapebroker_memory_refused",
            "Requests refused because of scrape.max_memory",
            metrics.refused.clone(),
        );
        metrics
    }

    pub(super) fn hold(&self, bytes: u64) {
        self.held.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn waits(&self) {
        self.waited.inc();
    }

    pub(super) fn repeats(&self) {
        self.repeated.inc();
    }

    pub(super) fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }
}
