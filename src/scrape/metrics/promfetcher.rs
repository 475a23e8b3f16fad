//! promfetcher's counters of scrapes, with the labels of each app.

use crate::{discovery::Snapshot, domain::App, telemetry::metrics::register};
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

/// Labels of the success counter.
type AppLabels = [(&'static str, String); 6];

/// Labels of the failure counter: those of the app, `index` and `instance_id`.
type InstanceLabels = [(&'static str, String); 8];

#[derive(Debug)]
pub(super) struct PromfetcherMetrics {
    success: Family<AppLabels, Counter>,
    failed: Family<InstanceLabels, Counter>,
    /// The series of the two families of each app, to remove them when the app leaves the route
    /// table.
    series_of_app: Mutex<HashMap<String, AppSeries>>,
}

#[derive(Debug, Default)]
struct AppSeries {
    apps: HashSet<AppLabels>,
    instances: HashSet<InstanceLabels>,
}

impl PromfetcherMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
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
        }
    }

    pub(super) fn count_success(&self, app: &App) {
        let labels = app_labels(app);
        self.success.get_or_create(&labels).inc();
        self.record_series(app, |known| {
            known.apps.insert(labels);
        });
    }

    pub(super) fn count_failed(&self, app: &App, index: String) {
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
    pub(super) fn prune(&self, table: &Snapshot) {
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
