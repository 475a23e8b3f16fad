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
};
use exporters::ExporterMetrics;
use exposition::Stats;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

/// Labels of promfetcher's success counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AppLabels {
    organization_id: String,
    space_id: String,
    app_id: String,
    organization_name: String,
    space_name: String,
    app_name: String,
}

/// Labels of promfetcher's failure counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstanceLabels {
    organization_id: String,
    space_id: String,
    app_id: String,
    organization_name: String,
    space_name: String,
    app_name: String,
    index: String,
    instance_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug)]
pub struct ScrapeMetrics {
    success: Family<AppLabels, Counter>,
    failed: Family<InstanceLabels, Counter>,
    /// The series of the two families of each app, to remove them when the app leaves the route
    /// table.
    series_of_app: Mutex<HashMap<String, AppSeries>>,
    instances: Counter,
    failures: Family<ReasonLabel, Counter>,
    merge_changes: Family<KindLabel, Counter>,
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
        let metrics = Self {
            success: Family::default(),
            failed: Family::default(),
            series_of_app: Mutex::default(),
            instances: Counter::default(),
            failures: Family::default(),
            merge_changes: Family::default(),
            samples: Counter::default(),
            duration: Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]),
            exporters: ExporterMetrics::register(registry),
        };
        for reason in FailureReason::ALL {
            metrics.failures.get_or_create_owned(&ReasonLabel { reason: reason.as_str() });
        }
        for kind in [
            "type_conflict",
            "renamed_label",
            "duplicate",
            "timestamp",
            "invented",
            "spec_violation",
            "exemplar",
            "unit",
            "native_histogram",
            "created",
        ] {
            metrics.merge_changes.get_or_create_owned(&KindLabel { kind });
        }
        registry.register(
            "promfetch_metric_fetch_success",
            "Scrapes of an app in which at least one instance returned metrics",
            metrics.success.clone(),
        );
        registry.register(
            "promfetch_metric_fetch_failed",
            "Failed scrapes of instances",
            metrics.failed.clone(),
        );
        registry.register(
            "scrapebroker_instances_scraped",
            "Scrapes of app instances",
            metrics.instances.clone(),
        );
        registry.register(
            "scrapebroker_instance_failures",
            "Scrapes of app instances that returned no metrics, by reason",
            metrics.failures.clone(),
        );
        registry.register(
            "scrapebroker_merge_changes",
            "Changes that merges made besides adding labels, such as families without their type, renamed labels, and dropped duplicates, exemplars and units",
            metrics.merge_changes.clone(),
        );
        registry.register(
            "scrapebroker_samples_merged",
            "Samples received from app instances",
            metrics.samples.clone(),
        );
        registry.register(
            "scrapebroker_scrape_duration_seconds",
            "Time from a scraper's request until all instances of the app have responded or failed",
            metrics.duration.clone(),
        );
        metrics
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
                let label = ReasonLabel { reason: failure.reason.as_str() };
                self.failures.get_or_create(&label).inc();
                let index = endpoint.index.as_ref().map(ToString::to_string);
                self.count_failed(&endpoint.app, index.unwrap_or_default());
            }
        }
    }

    pub(super) fn observe_merge(&self, stats: &Stats) {
        let count =
            |kind, n: usize| self.merge_changes.get_or_create(&KindLabel { kind }).inc_by(n as u64);
        count("type_conflict", stats.type_conflicts);
        count("renamed_label", stats.renamed_labels);
        count("duplicate", stats.duplicates);
        count("timestamp", stats.lost_timestamps);
        count("invented", stats.synthesized);
        count("spec_violation", stats.spec_violations);
        count("exemplar", stats.lost_exemplars);
        count("unit", stats.lost_units);
        count("native_histogram", stats.lost_native_histograms);
        count("created", stats.lost_created);
    }

    fn count_success(&self, app: &App) {
        let labels = app_labels(app);
        self.success.get_or_create(&labels).inc();
        self.record_series(app, |known| {
            known.apps.insert(labels);
        });
    }

    fn count_failed(&self, app: &App, index: String) {
        let AppLabels {
            organization_id,
            space_id,
            app_id,
            organization_name,
            space_name,
            app_name,
        } = app_labels(app);
        let labels = InstanceLabels {
            organization_id,
            space_id,
            app_id,
            organization_name,
            space_name,
            app_name,
            instance_id: index.clone(),
            index,
        };
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
    let [
        (_, organization_id),
        (_, space_id),
        (_, app_id),
        (_, organization_name),
        (_, space_name),
        (_, app_name),
    ] = app.labels().map(|(name, value)| (name, value.to_owned()));
    AppLabels { organization_id, space_id, app_id, organization_name, space_name, app_name }
}
