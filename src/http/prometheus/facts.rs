//! What the list and the page of a provisioned Prometheus show of it.

use super::{
    Prometheus,
    state::{RunState, state},
    targets::error_of,
};
use crate::{
    broker::PrometheusSnapshot,
    discovery::Snapshot,
    domain::prometheus::{ReplicaState, segment},
    http::ui::format,
    query::{AlertList, BriefSummary},
};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct InstanceFacts {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) service: String,
    pub(super) plan: String,
    pub(super) space: Option<String>,
    pub(super) state: String,
    pub(super) replicas: Vec<ReplicaFacts>,
    pub(super) storage_bytes: Option<u64>,
    pub(super) storage_limit_bytes: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) memory_limit_bytes: u64,
    pub(super) series: Option<u64>,
    pub(super) targets: Option<usize>,
    pub(super) targets_up: Option<usize>,
    pub(super) last_error: Option<String>,
    pub(super) alerts_firing: Option<usize>,
    /// Why values are missing.
    pub(super) problem: Option<String>,
    /// Names of firing alerts.
    #[serde(skip)]
    pub(super) firing: String,
    #[serde(skip)]
    pub(super) run_state: RunState,
    /// Path of its page.
    #[serde(skip)]
    pub(super) path: String,
}

#[derive(Debug, Serialize)]
pub(super) struct ReplicaFacts {
    pub(super) number: u8,
    pub(super) state: &'static str,
    pub(super) problem: String,
    #[serde(skip)]
    pub(super) is_ready: bool,
}

impl InstanceFacts {
    pub(super) fn new(
        of: &Prometheus,
        table: &Snapshot,
        prometheus: &PrometheusSnapshot,
        summary: &BriefSummary,
        stored: Option<u64>,
    ) -> Self {
        let catalog = of.catalog.catalog();
        let service = catalog.service(&prometheus.service_id);
        let plan = service.and_then(|service| service.plan(&prometheus.plan_id));
        let id = prometheus.instance_id.to_string();
        let firing = summary.alerts.as_ref().map(|alerts| &alerts.firing);
        Self {
            name: prometheus.names.instance.clone().unwrap_or_else(|| id.clone()),
            id,
            service: service.map_or("prometheus", |service| &service.name).to_owned(),
            plan: plan.map_or_else(|| prometheus.plan_id.to_string(), |plan| plan.name.clone()),
            space: space(prometheus),
            state: state(prometheus),
            replicas: replicas(prometheus),
            storage_bytes: stored.or(summary.storage.and_then(|it| it.bytes)),
            storage_limit_bytes: prometheus.spec.retention_size,
            memory_bytes: summary.memory,
            memory_limit_bytes: prometheus.spec.memory_limit,
            series: summary.storage.map(|it| it.series),
            targets: summary.targets.map(|it| it.all),
            targets_up: summary.targets.map(|it| it.up),
            last_error: summary.failing.as_ref().and_then(|target| {
                let error = error_of(target, table, &of.last)?;
                Some(format!("{} instance {}: {error}", target.app, target.instance))
            }),
            alerts_firing: firing.map(|firing| firing.count),
            problem: summary.problem.clone(),
            firing: firing.map(names).unwrap_or_default(),
            run_state: RunState::of(prometheus),
            path: format!("/prometheus/{}/", segment(&prometheus.instance_id)),
        }
    }
}

impl InstanceFacts {
    pub(super) fn storage(&self) -> Option<Usage> {
        Some(Usage { used: self.storage_bytes?, limit: self.storage_limit_bytes })
    }

    /// Why the size of the stored data is unknown although the server responds.
    pub(super) fn storage_note(&self) -> Option<&'static str> {
        let is_missing = self.storage_bytes.is_none() && self.series.is_some();
        is_missing.then_some("this version of Prometheus does not export the size of its log")
    }

    pub(super) fn memory(&self) -> Option<Usage> {
        Some(Usage { used: self.memory_bytes?, limit: Some(self.memory_limit_bytes) })
    }
}

/// A size, and what is allowed.
pub(super) struct Usage {
    pub(super) used: u64,
    pub(super) limit: Option<u64>,
}

impl Usage {
    /// The used part of the limit in percent.
    pub(super) fn share(&self, limit: &u64) -> u64 {
        format::percent(self.used, *limit)
    }
}

/// Names of organization and space, if the platform sent them.
fn space(prometheus: &PrometheusSnapshot) -> Option<String> {
    let names = [&prometheus.names.organization, &prometheus.names.space];
    let names: Vec<_> = names.into_iter().flatten().map(String::as_str).collect();
    (!names.is_empty()).then(|| names.join(" / "))
}

fn replicas(prometheus: &PrometheusSnapshot) -> Vec<ReplicaFacts> {
    let facts = prometheus.replicas.iter().map(|replica| ReplicaFacts {
        number: replica.number,
        state: replica.state.as_str(),
        problem: replica.problem.clone(),
        is_ready: replica.state == ReplicaState::Ready,
    });
    facts.collect()
}

/// The names of the first alerts, each once.
fn names(firing: &AlertList) -> String {
    let mut names: Vec<&str> = Vec::new();
    for alert in &firing.first {
        if !names.contains(&alert.name.as_str()) {
            names.push(&alert.name);
        }
    }
    names.truncate(3);
    names.join(", ")
}
