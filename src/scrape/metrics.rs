//! Counters of this room; it registers them, nobody else sees their names.

use super::{failure::Reason, fan_out::Scraped};
use crate::{discovery::Snapshot, domain::App};
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

/// What scrapes count.
#[derive(Debug)]
pub struct Metrics {
    success: Family<AppLabels, Counter>,
    failed: Family<InstanceLabels, Counter>,
    /// Which series of the two families belong to which app, so that they go
    /// when the app goes.
    of_app: Mutex<HashMap<String, Labels>>,
    instances: Counter,
    failures: Family<ReasonLabel, Counter>,
    altered: Family<KindLabel, Counter>,
    samples: Counter,
    duration: Histogram,
}

#[derive(Debug, Default)]
struct Labels {
    apps: HashSet<AppLabels>,
    instances: HashSet<InstanceLabels>,
}

impl Metrics {
    /// Adds the families to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            success: Family::default(),
            failed: Family::default(),
            of_app: Mutex::default(),
            instances: Counter::default(),
            failures: Family::default(),
            altered: Family::default(),
            samples: Counter::default(),
            duration: Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]),
        };
        for reason in Reason::ALL {
            metrics.failures.get_or_create_owned(&ReasonLabel { reason: reason.as_str() });
        }
        for kind in [
            "type_conflict",
            "renamed_label",
            "duplicate",
            "timestamp",
            "invented",
            "broken_rule",
            "exemplar",
            "unit",
            "native_histogram",
            "created",
        ] {
            metrics.altered.get_or_create_owned(&KindLabel { kind });
        }
        registry.register(
            "promfetch_metric_fetch_success",
            "Scrapes of an app that at least one instance answered",
            metrics.success.clone(),
        );
        registry.register(
            "promfetch_metric_fetch_failed",
            "Instances that could not be scraped",
            metrics.failed.clone(),
        );
        registry.register(
            "scrapebroker_instances_scraped",
            "App instances asked for metrics",
            metrics.instances.clone(),
        );
        registry.register(
            "scrapebroker_instance_failures",
            "App instances that gave no metrics, by reason",
            metrics.failures.clone(),
        );
        registry.register(
            "scrapebroker_merge_changes",
            "What merges did to metrics besides adding labels: families that lost their type, labels renamed, duplicates, exemplars and units dropped",
            metrics.altered.clone(),
        );
        registry.register(
            "scrapebroker_samples_merged",
            "Samples received from app instances",
            metrics.samples.clone(),
        );
        registry.register(
            "scrapebroker_scrape_duration_seconds",
            "From a scraper's request until all instances of the app had answered or failed",
            metrics.duration.clone(),
        );
        metrics
    }

    pub(super) fn observe(&self, scraped: &[Scraped], seconds: f64) {
        self.duration.observe(seconds);
        self.instances.inc_by(scraped.len() as u64);
        let mut answered: HashMap<&str, &App> = HashMap::new();
        for one in scraped {
            let endpoint = &one.target.endpoint;
            match &one.result {
                Ok(instance) => {
                    self.samples.inc_by(instance.samples() as u64);
                    answered.insert(endpoint.app.id.as_str(), &endpoint.app);
                }
                Err(failure) => {
                    self.failures
                        .get_or_create(&ReasonLabel { reason: failure.reason.as_str() })
                        .inc();
                    let index = endpoint.index.as_ref().map(ToString::to_string);
                    self.count_failed(&endpoint.app, index.unwrap_or_default());
                }
            }
        }
        for app in answered.into_values() {
            self.count_success(app);
        }
    }

    pub(super) fn observe_merge(&self, stats: &Stats) {
        let count =
            |kind, n: usize| self.altered.get_or_create(&KindLabel { kind }).inc_by(n as u64);
        count("type_conflict", stats.type_conflicts);
        count("renamed_label", stats.renamed_labels);
        count("duplicate", stats.duplicates);
        count("timestamp", stats.lost_timestamps);
        count("invented", stats.synthesized);
        count("broken_rule", stats.spec_violations);
        count("exemplar", stats.lost_exemplars);
        count("unit", stats.lost_units);
        count("native_histogram", stats.lost_native_histograms);
        count("created", stats.lost_created);
    }

    fn count_success(&self, app: &App) {
        let labels = app_labels(app);
        self.success.get_or_create(&labels).inc();
        self.remember(app, |known| {
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
        self.remember(app, |known| {
            known.instances.insert(labels);
        });
    }

    fn remember(&self, app: &App, add: impl FnOnce(&mut Labels)) {
        let mut of_app = self.of_app.lock().unwrap_or_else(PoisonError::into_inner);
        if !of_app.contains_key(app.id.as_str()) {
            of_app.insert(app.id.to_string(), Labels::default());
        }
        if let Some(known) = of_app.get_mut(app.id.as_str()) {
            add(known);
        }
    }

    /// Removes the series of apps that left the table (promfetcher keeps them
    /// for ever).
    pub fn forget_gone(&self, table: &Snapshot) {
        let mut of_app = self.of_app.lock().unwrap_or_else(PoisonError::into_inner);
        of_app.retain(|app, known| {
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
