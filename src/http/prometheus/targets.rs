//! Targets on pages, with the reasons of failures that Scrapebroker knows.

use super::target_query::TargetQuery;
use crate::{
    discovery::{Endpoint, Snapshot},
    domain::AppGuid,
    http::{
        ui::{format, list::Paging},
        urls,
    },
    query::{TargetHealth, TargetStatus},
    scrape::{Explanation, ScrapeFailure, ScrapeHistory},
};
use serde::Serialize;
use std::{
    cell::RefCell,
    collections::HashMap,
    net::SocketAddr,
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
        let failures = KnownFailures { table, last, apps: RefCell::default() };
        let selected = query.select(targets, |target| failures.error_of(target));
        let paging = Paging::new(query.page, selected.len(), PER_PAGE);
        let rows = paging.of(&selected).iter().map(|it| TargetRow::new(it, table, &failures));
        Self {
            matching: selected.len(),
            page: paging.page,
            pages: paging.pages,
            targets: rows.collect(),
        }
    }
}

impl TargetRow {
    fn new(target: &TargetStatus, table: &Snapshot, failures: &KnownFailures<'_>) -> Self {
        let app = table.app(&target.app_id);
        let explanation = failures.of(target).zip(app.as_ref());
        Self {
            app: target.app.clone(),
            app_id: target.app_id.clone(),
            instance: target.instance.clone(),
            health: target.health.as_str(),
            last_scrape: target.last_scrape.as_ref().map(format::rfc3339),
            duration_seconds: target.duration.as_secs_f64(),
            error: failures.error_of(target),
            explanation: explanation
                .map(|(failure, found)| format::explanation(&failure, found.app)),
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
) -> Option<String> {
    KnownFailures { table, last, apps: RefCell::default() }.error_of(target)
}

/// Finds the failures of Scrapebroker's last scrapes of targets. The instances of each app are
/// indexed once, because an app may have thousands of targets.
struct KnownFailures<'a> {
    table: &'a Snapshot,
    last: &'a ScrapeHistory,
    apps: RefCell<HashMap<String, Option<KnownApp>>>,
}

struct KnownApp {
    id: AppGuid,
    /// Addresses by the names of targets, as in `/sd`: process type, and index or address.
    addresses: HashMap<String, SocketAddr>,
}

impl KnownFailures<'_> {
    /// None for a target that does not fail.
    fn error_of(&self, target: &TargetStatus) -> Option<String> {
        (!target.error.is_empty()).then(|| match self.of(target) {
            Some(failure) => failure.to_string(),
            None => target.error.clone(),
        })
    }

    fn of(&self, target: &TargetStatus) -> Option<Arc<ScrapeFailure>> {
        if target.error.is_empty() {
            return None;
        }
        let mut apps = self.apps.borrow_mut();
        if !apps.contains_key(&target.app_id) {
            apps.insert(target.app_id.clone(), KnownApp::find(self.table, &target.app_id));
        }
        let app = apps.get(&target.app_id)?.as_ref()?;
        self.last.of(&app.id, *app.addresses.get(&target.name)?)?.result.err()
    }
}

impl KnownApp {
    fn find(table: &Snapshot, id: &str) -> Option<Self> {
        let found = table.app(id)?;
        let mut addresses = HashMap::new();
        for endpoint in &found.endpoints {
            let Endpoint { process_type, address, index, .. } = &***endpoint;
            let by_address = format!("{process_type}/{address}");
            let by_index = index.as_deref().map(|index| format!("{process_type}/{index}"));
            for name in [Some(by_address), by_index].into_iter().flatten() {
                addresses.entry(name).or_insert(*address);
            }
        }
        Some(Self { id: found.app.id.clone(), addresses })
    }
}
