//! Metrics of external exporters.

use crate::{
    scrape::failure::FailureReason,
    telemetry::metrics::{Label, register},
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Debug)]
pub(in crate::scrape) struct ExporterMetrics {
    scrapes: Family<Label<String>, Counter>,
    failures: Family<[(&'static str, String); 2], Counter>,
}

/// Reason for exporters that were not scraped because a template cannot be filled in.
const TEMPLATE: &str = "template";

impl ExporterMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            scrapes: register(
                registry,
                "scrapebroker_external_exporter_scrapes",
                "Scrapes of external exporters",
                Family::default(),
            ),
            failures: register(
                registry,
                "scrapebroker_external_exporter_failures",
                "Scrapes of external exporters that returned no metrics, by reason",
                Family::default(),
            ),
        }
    }

    /// Creates all counters with value 0.
    pub(in crate::scrape) fn announce(&self, name: &str) {
        self.scrapes.get_or_create_owned(&[("name", name.to_owned())]);
        for reason in FailureReason::ALL.map(FailureReason::as_str).into_iter().chain([TEMPLATE]) {
            self.failures.get_or_create_owned(&failure_labels(name, reason));
        }
    }

    pub(super) fn count(&self, name: &str, failed: Option<FailureReason>) {
        self.count_scrape(name, failed.map(FailureReason::as_str));
    }

    pub(in crate::scrape) fn count_unfilled(&self, name: &str) {
        self.count_scrape(name, Some(TEMPLATE));
    }

    fn count_scrape(&self, name: &str, failed: Option<&'static str>) {
        self.scrapes.get_or_create(&[("name", name.to_owned())]).inc();
        if let Some(reason) = failed {
            self.failures.get_or_create(&failure_labels(name, reason)).inc();
        }
    }
}

fn failure_labels(name: &str, reason: &str) -> [(&'static str, String); 2] {
    [("name", name.to_owned()), ("reason", reason.to_owned())]
}
