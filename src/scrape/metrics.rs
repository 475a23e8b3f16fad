//! Metrics of scrapes.

mod exporters;

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
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

/// Labels of promfetcher's success counter.
type AppLabels = [(&'static str, String); 6];

/// Labels of promfetcher's failure counter: those of the app, `index` and `instance_id`.
type InstanceLabels = [(&'static str, String); 8];

#[derive(Debug)]
pub struct ScrapeMetrics {
    success: Family<AppLabels, Counter>,
    failed: Family<InstanceLabels, Counter>,
    /// The series of the two families of each app, to remove them when the app leaves the route
    /// table.
    series_of_app: Mutex<HashMap<String, AppSeries>>,
    instances: Counter,
    failures: CounterByLabel,
    merge_changes: CounterByLabel,
    samples: Counter,
    duration: Histogram,
    pub(super) exporters: ExporterMetrics,
}

#[derive(Debug, Default)]
struct AppSeries {
    apps: HashSet<AppLabels>,
    instances: HashSet<InstanceLabels>,
}

impl ScrapeMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let reasons = FailureReason::ALL.map(FailureReason::as_str);
        let changes = merge_changes(&Stats::default()).map(|(kind, _)| kind);
        let buckets = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
        Self {
            exporters: ExporterMetrics::register(registry),
            success: register(
                registry,
                "promfetch_metric_fetch_success",
                "Scrapes of an app in which at least one instance returned metrics",
                Family::default(),
            ),
            failed: register(
                registry,
                "promfetch_metric_fetch_failed",
                "Failed scrapes of instances",
                Family::default(),
            ),
            series_of_app: Mutex::default(),
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
        for app in scraped_apps.into_values() {
            self.count_success(app);
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
                let index = endpoint.index.as_ref().map(ToString::to_string);
                self.count_failed(&endpoint.app, index.unwrap_or_default());
            }
        }
    }

    pub(super) fn observe_merge(&self, stats: &Stats) {
        for (kind, number) in merge_changes(stats) {
            self.merge_changes.add(kind, number as u64);
        }
    }

    fn count_success(&self, app: &App) {
        let labels = app_labels(app);
        self.success.get_or_create(&labels).inc();
        self.record_series(app, |known| {
            known.apps.insert(labels);
        });
    }

    fn count_failed(&self, app: &App, index: String) {
        let [organization_id, space_id, app_id, organization_name, space_name, app_name] =
            app_labels(app);
        let labels = [
            organization_id,
            space_id,
            app_id,
            organization_name,
            space_name,
            app_name,
            ("index", index.clone()),
            ("instance_id", index),
        ];
        self.failed.get_or_create(&labels).inc();
        self.record_series(app, |known| {
            known.instances.insert(labels);
        });
    }

    fn record_series(&self, app: &App, add: impl FnOnce(&mut AppSeries)) {
        let mut series_of_app = self.series_of_app.lock().unwrap_or_else(PoisonError::into_inner);
        if !series_of_app.contains_key(app.id.as_str()) {
            series_of_app.insert(app.id.to_string(), AppSeries::default());
        }
        if let Some(known) = series_of_app.get_mut(app.id.as_str()) {
            add(known);
        }
    }

    /// Removes the series of apps that are no longer in the route table. promfetcher keeps them
    /// forever.
    pub fn prune(&self, table: &Snapshot) {
        let mut series_of_app = self.series_of_app.lock().unwrap_or_else(PoisonError::into_inner);
        series_of_app.retain(|app, known| {
            let stays = table.contains_app(app);
            if !stays {
                known.apps.iter().for_each(|labels| {
                    self.success.remove(labels);
                });
                known.instances.iter().for_each(|labels| {
                    self.failed.remove(labels);
                });
            }
            stays
        });
    }
}

fn app_labels(app: &App) -> AppLabels {
    app.labels().map(|(name, value)| (name, value.to_owned()))
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
