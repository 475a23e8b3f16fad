//! Counters of external exporters, by their configured names.

use crate::scrape::failure::Reason;
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

/// What scrapes of external exporters count.
#[derive(Debug)]
pub struct ExporterMetrics {
    scrapes: Family<NameLabel, Counter>,
    failures: Family<FailureLabels, Counter>,
}

/// The reason of an exporter that could not even be asked.
const TEMPLATE: &str = "template";

impl ExporterMetrics {
    /// Adds the families to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { scrapes: Family::default(), failures: Family::default() };
        registry.register(
            "scrapebroker_external_exporter_scrapes",
            "Times that an external exporter was to be asked for an app",
            metrics.scrapes.clone(),
        );
        registry.register(
            "scrapebroker_external_exporter_failures",
            "Times that an external exporter gave no metrics, by reason",
            metrics.failures.clone(),
        );
        metrics
    }

    /// Counters exist before they count.
    pub(super) fn announce(&self, name: &str) {
        self.scrapes.get_or_create_owned(&NameLabel { name: name.to_owned() });
        for reason in Reason::ALL.map(Reason::as_str).into_iter().chain([TEMPLATE]) {
            self.failures.get_or_create_owned(&FailureLabels { name: name.to_owned(), reason });
        }
    }

    pub(super) fn count(&self, name: &str, failed: Option<Reason>) {
        self.count_scrape(name, failed.map(Reason::as_str));
    }

    pub(super) fn count_unfilled(&self, name: &str) {
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
