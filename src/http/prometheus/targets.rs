//! Targets on pages, with the reasons of failures that Scrapebroker knows.

use super::{paging::Paging, target_query::TargetQuery};
use crate::{
    discovery::{Endpoint, Snapshot},
    http::{ui::format, urls},
    query::{TargetHealth, TargetStatus},
    scrape::{Explanation, Platform, ScrapeFailure, ScrapeHistory},
};
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

const PER_PAGE: usize = 100;

/// The targets that a page shows.
#[derive(Debug, Serialize)]
pub(super) struct TargetList {
    pub(super) matching: usize,
    pub(super) page: usize,
    pub(super) pages: usize,
    pub(super) targets: Vec<TargetRow>,
}

#[derive(Debug, Serialize)]
pub(super) struct TargetRow {
    pub(super) app: String,
    pub(super) app_id: String,
    pub(super) instance: String,
    pub(super) health: &'static str,
    last_scrape: Option<String>,
    duration_seconds: f64,
    pub(super) error: Option<String>,
    pub(super) explanation: Option<Explanation>,
    #[serde(skip)]
    pub(super) scraped_at: Option<SystemTime>,
    #[serde(skip)]
    pub(super) duration: Duration,
    /// Path of the app's page.
    #[serde(skip)]
    pub(super) path: Option<String>,
}

impl TargetList {
    pub(super) fn new(
        targets: &[TargetStatus],
        query: &TargetQuery,
        table: &Snapshot,
        last: &ScrapeHistory,
    ) -> Self {
        let selected = query.select(targets);
        let paging = Paging::new(query.page, selected.len(), PER_PAGE);
        let rows = paging.of(&selected).iter().map(|target| TargetRow::new(target, table, last));
        Self {
            matching: selected.len(),
            page: paging.page,
            pages: paging.pages,
            targets: rows.collect(),
        }
    }
}

impl TargetRow {
    fn new(target: &TargetStatus, table: &Snapshot, last: &ScrapeHistory) -> Self {
        let app = table.app(&target.app_id);
        let failure = last_failure(target, table, last);
        let explain = |failure: &Arc<ScrapeFailure>| {
            app.as_ref().map(|found| failure.explain(Platform::of(&found.app.id)))
        };
        Self {
            app: target.app.clone(),
            app_id: target.app_id.clone(),
            instance: target.instance.clone(),
            health: target.health.as_str(),
            last_scrape: target.last_scrape.as_ref().map(format::rfc3339),
            duration_seconds: target.duration.as_secs_f64(),
            error: (!target.error.is_empty()).then(|| error_of(target, table, last)),
            explanation: failure.as_ref().and_then(explain),
            scraped_at: target.last_scrape,
            duration: target.duration,
            path: app.is_some().then(|| urls::app_path(&target.app_id)),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.health == TargetHealth::Up.as_str()
    }

    pub(super) fn is_down(&self) -> bool {
        self.health == TargetHealth::Down.as_str()
    }
}

/// The error of a failed target: that of Scrapebroker's last scrape if there is one, because
/// Prometheus knows only the HTTP status.
pub(in crate::http) fn error_of(
    target: &TargetStatus,
    table: &Snapshot,
    last: &ScrapeHistory,
) -> String {
    match last_failure(target, table, last) {
        Some(failure) => failure.to_string(),
        None => target.error.clone(),
    }
}

fn last_failure(
    target: &TargetStatus,
    table: &Snapshot,
    last: &ScrapeHistory,
) -> Option<Arc<ScrapeFailure>> {
    if target.error.is_empty() {
        return None;
    }
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
