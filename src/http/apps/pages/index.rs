//! A sorted copy of what the list of apps shows of the route table.
//!
//! It is made for the first view after a change of the table, at most once per second, so a busy
//! platform does not make each view sort all its apps.

use crate::{
    discovery::{Match, RouteTable, Snapshot, TableVersion},
    domain::App,
};
use actix_web::web;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// How long an index is used although the table has changed.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Number of routes that a row shows.
const SHOWN_ROUTES: usize = 3;

/// Maximum size of the routes in the text that is searched, bytes. An exact route is found without
/// this text.
const MAX_SEARCHED_ROUTES: usize = 1024;

#[derive(Debug)]
pub(super) struct AppIndex {
    /// Ordered by organization, space and name.
    pub(super) rows: Box<[AppRow]>,
}

#[derive(Debug)]
pub(super) struct AppRow {
    pub(super) app: Arc<App>,
    /// The first routes.
    pub(super) routes: Box<[Box<str>]>,
    pub(super) routes_total: usize,
    pub(super) instances: usize,
    /// Names, GUID and routes in lower case.
    searched: Box<str>,
}

/// The index of the current table. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct AppIndexes(Arc<Mutex<Option<Cached>>>);

#[derive(Debug)]
struct Cached {
    index: Arc<AppIndex>,
    version: TableVersion,
    built: Instant,
}

impl AppIndex {
    pub(super) fn build(table: &Snapshot) -> Self {
        let mut rows: Vec<_> = table.unordered_apps().map(|found| row(table, &found)).collect();
        rows.sort_unstable_by(|a, b| order(&a.app).cmp(&order(&b.app)));
        Self { rows: rows.into() }
    }
}

impl AppRow {
    /// Whether all terms, which are in lower case, occur.
    pub(super) fn matches(&self, terms: &[String]) -> bool {
        let searched = self.searched.as_bytes();
        terms.iter().all(|term| memchr::memmem::find(searched, term.as_bytes()).is_some())
    }
}

impl AppIndexes {
    /// The index of the table, at most [`MAX_AGE`] behind it. Concurrent callers wait for one that
    /// builds it, on a thread that serves no requests.
    pub(super) async fn current(&self, table: &RouteTable) -> Arc<AppIndex> {
        let mut cached = self.0.lock().await;
        let snapshot = table.snapshot();
        let version = snapshot.version();
        if let Some(cached) = &*cached
            && (cached.version == version || cached.built.elapsed() < MAX_AGE)
        {
            return Arc::clone(&cached.index);
        }
        let built = web::block(move || AppIndex::build(&snapshot)).await;
        // It fails only while the program ends.
        let index = Arc::new(built.unwrap_or_else(|_| AppIndex { rows: Box::default() }));
        *cached = Some(Cached { index: Arc::clone(&index), version, built: Instant::now() });
        index
    }
}

fn row(table: &Snapshot, found: &Match<'_>) -> AppRow {
    let app = found.app;
    let (mut routes, mut total) = (Vec::new(), 0);
    let mut searched =
        format!("{}/{}/{}\n{}\n", app.organization_name, app.space_name, app.name, app.id);
    let end = searched.len() + MAX_SEARCHED_ROUTES;
    for route in table.routes_of(app.id.as_str()) {
        total += 1;
        if routes.len() < SHOWN_ROUTES {
            routes.push(route.into());
        }
        if searched.len() + route.len() < end {
            searched.push_str(route);
            searched.push('\n');
        }
    }
    AppRow {
        app: Arc::clone(app),
        routes: routes.into(),
        routes_total: total,
        instances: found.endpoints.len(),
        searched: searched.to_lowercase().into(),
    }
}

fn order(app: &App) -> (&str, &str, &str, &str) {
    (&app.organization_name, &app.space_name, &app.name, app.id.as_str())
}
