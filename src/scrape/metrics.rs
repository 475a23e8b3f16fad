//! Metrics of scrapes.

mod exporters;
mod promfetcher;

use super::{
    failure::FailureReason,
    outcome::{ScrapedTarget, TargetOutcome},
    plan::TargetKind,
};
use crate::{
    discovery::{Endpoint, Snapshot},
    domain::App,
    telemetry::metrics::{CounterByLabel, register},
};
use exporters::ExporterMetrics;
use exposition::Stats;
use prometheus_client::{
    metrics::{counter::Counter, histogram::Histogram},
    registry::Registry,
};
use promfetcher::PromfetcherMetrics;
use std::collections::HashMap;

#[derive(Debug)]
pub struct ScrapeMetrics {
    /// None if `telemetry.promfetcher_names` is false.
    promfetcher: Option<PromfetcherMetrics>,
    instances: Counter,
    failures: CounterByLabel,
    merge_changes: CounterByLabel,
    samples: Counter,
    duration: Histogram,
    pub(super) exporters: ExporterMetrics,
}

impl ScrapeMetrics {
    /// `promfetcher_names` adds promfetcher's counters per app.
    pub fn register(registry: &mut Registry, promfetcher_names: bool) -> Self {
        let reasons = FailureReason::ALL.map(FailureReason::as_str);
        let changes = merge_changes(&Stats::default()).map(|(kind, _)| kind);
        let buckets = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
        Self {
            exporters: ExporterMetrics::register(registry),
            promfetcher: promfetcher_names.then(|| PromfetcherMetrics::register(registry)),
            instances: register(
                registry,
                "scrapebroker_instances_scraped",
                "Scrapes of app instances",
                Counter::default(),
            ),
            failures: CounterByLabel::register(
                registry,
                "scrapebroker_instance_failures",
                "Scrapes of app instances that returned no metrics, by reason",
                "reason",
                reasons,
            ),
            merge_changes: CounterByLabel::register(
                registry,
                "scrapebroker_merge_changes",
                "Changes that merges made besides adding labels, such as families without their type, renamed labels, and dropped duplicates, exemplars and units",
                "kind",
                changes,
            ),
            samples: register(
                registry,
                "scrapebroker_samples_merged",
                "Samples received from app instances",
                Counter::default(),
            ),
            duration: register(
                registry,
                "scrapebroker_scrape_duration_seconds",
                "Time from a scraper's request until all instances of the app have responded or failed",
                Histogram::new(buckets),
            ),
        }
    }

    pub(super) fn observe(&self, scraped: &[ScrapedTarget], seconds: f64) {
        self.duration.observe(seconds);
        let mut scraped_apps: HashMap<&str, &App> = HashMap::new();
        for ScrapedTarget { target, outcome } in scraped {
            match &target.kind {
                TargetKind::Instance(endpoint) => {
                    self.observe_instance(endpoint, outcome);
                    if outcome.result.is_ok() {
                        scraped_apps.insert(endpoint.app.id.as_str(), &endpoint.app);
                    }
                }
                TargetKind::Exporter(one) => {
                    self.exporters.count(&one.exporter.name, outcome.failure_reason());
                }
            }
        }
        if let Some(promfetcher) = &self.promfetcher {
            scraped_apps.into_values().for_each(|app| promfetcher.count_success(app));
        }
    }

    fn observe_instance(&self, endpoint: &Endpoint, outcome: &TargetOutcome) {
        self.instances.inc();
        match &outcome.result {
            Ok(body) => {
                self.samples.inc_by(body.samples() as u64);
            }
            Err(failure) => {
                self.failures.count(failure.reason.as_str());
                if let Some(promfetcher) = &self.promfetcher {
                    let index = endpoint.index.as_ref().map(ToString::to_string);
                    promfetcher.count_failed(&endpoint.app, index.unwrap_or_default());
                }
            }
        }
    }

    pub(super) fn observe_merge(&self, stats: &Stats) {
        for (kind, number) in merge_changes(stats) {
            self.merge_changes.add(kind, number as u64);
        }
    }

    /// Removes the series of apps that are no longer in the route table.
    pub fn prune(&self, table: &Snapshot) {
        if let Some(promfetcher) = &self.promfetcher {
            promfetcher.prune(table);
        }
    }
}

/// The changes of a merge by kind.
pub fn merge_changes(stats: &Stats) -> [(&'static str, usize); 10] {
    [
        ("type_conflict", stats.type_conflicts),
        ("renamed_label", stats.renamed_labels),
        ("duplicate", stats.duplicates),
        ("timestamp", stats.lost_timestamps),
        ("invented", stats.synthesized),
        ("spec_violation", stats.spec_violations),
        ("exemplar", stats.lost_exemplars),
        ("unit", stats.lost_units),
        ("native_histogram", stats.lost_native_histograms),
        ("created", stats.lost_created),
    ]
}
