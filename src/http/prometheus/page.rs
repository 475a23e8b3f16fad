//! The page of a provisioned Prometheus: its state, and how to use it.
//!
//! If the Prometheus does not respond, the page shows the reason instead of data.

use super::{Problem, Prometheus, backend, state};
use crate::{
    broker::PrometheusSnapshot,
    discovery::{Endpoint, Snapshot},
    domain::prometheus::{Replica, ReplicaState},
    http::{
        ui::{self, Layout, Section, Viewer},
        urls,
    },
    query::{PrometheusClient, Summary, TargetCounts, TargetHealth, TargetStatus},
    scrape::{ScrapeFailure, ScrapeHistory},
};
use actix_web::{HttpResponse, http::header};
use askama::Template;
use std::{sync::Arc, time::SystemTime};

/// Maximum number of targets that are shown.
const MAX_SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "prometheus.html")]
struct Page<'a> {
    layout: Layout<'a>,
    name: &'a str,
    url: String,
    service: String,
    plan: String,
    state: String,
    replicas: &'a [Replica],
    retention: String,
    scrape_interval: String,
    storage: String,
    stored: Option<String>,
    bound_apps: usize,
    counts: Option<TargetCounts>,
    shown: &'a [TargetStatus],
    problem: Option<&'a str>,
}

pub(super) async fn show(
    of: &Prometheus,
    client: &PrometheusClient,
    prometheus: &PrometheusSnapshot,
) -> Result<HttpResponse, Problem> {
    let mut summary = client.summary(&backend(&of.base_url, prometheus, &of.pools)).await;
    explain(&mut summary, &of.table.snapshot(), &of.last);
    let catalog = of.catalog.catalog();
    let service = catalog.service(&prometheus.service_id);
    let plan = service.and_then(|service| service.plan(&prometheus.plan_id));
    let spec = &prometheus.spec;
    let retention = match spec.retention_size {
        None => spec.retention.to_string(),
        Some(bytes) => format!("{}, at most {}", spec.retention, size(bytes)),
    };
    let id = prometheus.instance_id.as_str();
    let page = Page {
        layout: Layout::new(of.base_url.path(), Section::Prometheus, Viewer::Prometheus),
        name: prometheus.names.instance.as_deref().unwrap_or(id),
        url: urls::prometheus(&of.base_url, &prometheus.instance_id),
        service: service.map_or("prometheus", |service| &service.name).to_owned(),
        plan: plan.map_or_else(|| prometheus.plan_id.to_string(), |plan| plan.name.clone()),
        state: state(prometheus),
        replicas: &prometheus.replicas,
        retention,
        scrape_interval: spec.scrape_interval.to_string(),
        storage: spec.storage.to_string(),
        stored: summary.storage.map(|it| match it.bytes {
            // New samples are in memory and in the write-ahead log, whose size not all versions
            // report.
            0 => format!("{} series in memory, nothing written to blocks yet", it.series),
            bytes => format!("{} in files, {} series in memory", size(bytes), it.series),
        }),
        bound_apps: prometheus.targets.len(),
        counts: summary.counts(),
        shown: shown(&summary),
        problem: summary.problem.as_deref(),
    };
    let mut response = ui::page(&page);
    // The page shows the current state and requires credentials, so it must not be cached.
    let no_store = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

fn shown(summary: &Summary) -> &[TargetStatus] {
    let targets = summary.targets.as_deref().unwrap_or_default();
    targets.get(..MAX_SHOWN).unwrap_or(targets)
}

/// Replaces the errors of failed targets by those of Scrapebroker's last scrapes. Prometheus knows
/// only the HTTP status.
pub(in crate::http) fn explain(summary: &mut Summary, table: &Snapshot, last: &ScrapeHistory) {
    let targets = summary.targets.iter_mut().flatten().take(MAX_SHOWN);
    for target in targets.filter(|target| !target.error.is_empty()) {
        if let Some(failure) = last_failure(target, table, last) {
            target.error = failure.to_string();
        }
    }
}

fn last_failure(
    target: &TargetStatus,
    table: &Snapshot,
    last: &ScrapeHistory,
) -> Option<Arc<ScrapeFailure>> {
    let app = table.app(&target.app_id)?;
    // The same format as in `/sd`: process type, and index or address.
    let (process_type, which) = target.name.rsplit_once('/')?;
    let is_it = |endpoint: &&Arc<Endpoint>| {
        &*endpoint.process_type == process_type
            && (endpoint.index.as_deref() == Some(which) || endpoint.address.to_string() == which)
    };
    let endpoint = app.endpoints.into_iter().find(is_it)?;
    last.of(&app.app.id, endpoint.address)?.result.err()
}

/// As in `2026-01-31 12:00:00Z`.
fn at(time: &SystemTime) -> String {
    humantime::format_rfc3339_seconds(*time).to_string().replace('T', " ")
}

/// Formats a size with a unit.
fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}
