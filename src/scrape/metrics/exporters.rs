//! Metrics of external exporters.

use crate::scrape::failure::FailureReason;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabel {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    name: String,
    reason: &'static str,
}

#[derive(Debug)]
pub(in crate::scrape) struct ExporterMetrics {
    scrapes: Family<NameLabel, Counter>,
    failures: Family<FailureLabels, Counter>,
}

/// Reason for exporters that were not scraped because a template cannot be filled in.
const TEMPLATE: &str = "template";

impl ExporterMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { scrapes: Family::default(), failures: Family::default() };
        registry.register(
            "scrapebroker_external_exporter_scrapes",
            "Scrapes of external exporters",
            metrics.scrapes.clone(),
        );
        registry.register(
            "scrapebroker_external_exporter_failures",
            "Scrapes of external exporters that returned no metrics, by reason",
            metrics.failures.clone(),
        );
        metrics
    }

    /// Creates all counters with value 0.
    pub(in crate::scrape) fn announce(&self, name: &str) {
        self.scrapes.get_or_create_owned(&NameLabel { name: name.to_owned() });
        for reason in FailureReason::ALL.map(FailureReason::as_str).into_iter().chain([TEMPLATE]) {
            self.failures.get_or_create_owned(&FailureLabels { name: name.to_owned(), reason });
        }
    }

    pub(super) fn count(&self, name: &str, failed: Option<FailureReason>) {
        self.count_scrape(name, failed.map(FailureReason::as_str));
    }

    pub(in crate::scrape) fn count_unfilled(&self, name: &str) {
        self.count_scrape(name, Some(TEMPLATE));
    }

    fn count_scrape(&self, name: &str, failed: Option<&'static str>) {
        self.scrapes.get_or_create(&NameLabel { name: name.to_owned() }).inc();
        if let Some(reason) = failed {
            let labels = FailureLabels { name: name.to_owned(), reason };
            self.failures.get_or_create(&labels).inc();
        }
    }
}
