//! `/apps`: the list of all apps that the viewer may see.

use super::{
    AppPages,
    index::{AppIndex, AppRow},
    list_query::{AppState, ListQuery, SortColumn, SortOrder},
};
use crate::{
    broker::Scope,
    domain::{App, AppGuid, AppKey, Prefer},
    http::{
        access::Caller,
        apps::{Apps, AppsError},
        ui::{self, Layout, Section, Viewer, format},
        urls::app_path,
    },
    scrape::AppSummary,
};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Serialize;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

const PER_PAGE: usize = 100;

/// The apps of one page of the list.
pub(super) struct Selected {
    /// Number of apps that the viewer sees.
    total: usize,
    /// Number of apps that match the filter, by state.
    counts: [usize; 4],
    matching: usize,
    page: usize,
    pages: usize,
    rows: Vec<(usize, Option<AppSummary>)>,
}

#[derive(Template)]
#[template(path = "apps.html")]
struct AppsPage<'a> {
    layout: Layout<'a>,
    query: &'a ListQuery,
    selected: &'a Selected,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    app: &'a App,
    row: &'a AppRow,
    path: String,
    summary: Option<&'a AppSummary>,
}

#[derive(Serialize)]
struct ListTwin<'a> {
    total: usize,
    matching: usize,
    page: usize,
    pages: usize,
    per_page: usize,
    sort: &'static str,
    order: &'static str,
    apps: Vec<AppTwin<'a>>,
}

#[derive(Serialize)]
struct AppTwin<'a> {
    #[serde(flatten)]
    labels: BTreeMap<&'static str, &'a str>,
    routes: &'a [Box<str>],
    routes_total: usize,
    instances: usize,
    up: Option<u32>,
    failing: Option<u32>,
    samples: Option<u64>,
    size_bytes: Option<u64>,
    duration_seconds: Option<f64>,
    last_scrape: Option<String>,
    error: Option<&'static str>,
    detail: Option<&'a str>,
}

/// `GET /apps`.
pub(super) async fn show(
    request: HttpRequest,
    apps: web::Data<Apps>,
    pages: web::Data<AppPages>,
) -> Result<HttpResponse, AppsError> {
    let (caller, _) = apps.access.known(&request).await?;
    if let Caller::Token(Scope::Query(_) | Scope::Events(_)) = caller {
        return Err(apps.access.forbidden().into());
    }
    let query = ListQuery::parse(request.query_string())?;
    let viewer = Viewer::of(&caller);
    let index = pages.indexes.current(&apps.table).await;
    let exact = exact_matches(&apps, &query);
    let (listed, wanted) = (Arc::clone(&index), query.clone());
    let history = Arc::clone(&apps.scrapes.history);
    let select =
        move || select(&listed, &wanted, &exact, |app| caller.sees(app), &history.summaries());
    let Ok(selected) = web::block(select).await else {
        // It fails only while the program ends.
        return Err(AppsError::ClientDisconnected);
    };
    let rows = selected.rows.iter().map(|(row, summary)| {
        let row = &index.rows[*row];
        Row { app: &row.app, row, path: app_path(row.app.id.as_str()), summary: summary.as_ref() }
    });
    let rows: Vec<_> = rows.collect();
    let twin = twin(&query, &selected, &rows);
    let layout = Layout::new(pages.base_url.path(), Section::Apps, viewer);
    let page = AppsPage { layout, query: &query, selected: &selected, rows };
    Ok(ui::respond(&request, &page, &twin))
}

/// The apps that the whole filter identifies, as a GUID, a name or a route.
fn exact_matches(apps: &Apps, query: &ListQuery) -> HashSet<AppGuid> {
    let Ok(key) = AppKey::parse(query.filter.trim(), Prefer::Name) else { return HashSet::new() };
    apps.table.snapshot().find(&key).into_iter().map(|found| found.app.id.clone()).collect()
}

/// Filters and sorts the apps, and selects one page of them. Exact matches come first.
pub(super) fn select(
    index: &AppIndex,
    query: &ListQuery,
    exact: &HashSet<AppGuid>,
    sees: impl Fn(&App) -> bool,
    summaries: &HashMap<AppGuid, AppSummary>,
) -> Selected {
    let terms = query.terms();
    let (mut total, mut counts) = (0, [0; AppState::ALL.len()]);
    let mut matching = Vec::new();
    for (position, row) in index.rows.iter().enumerate() {
        if !sees(&row.app) {
            continue;
        }
        total += 1;
        let is_exact = !exact.is_empty() && exact.contains(&row.app.id);
        if !is_exact && !row.matches(&terms) {
            continue;
        }
        let summary = summaries.get(&row.app.id);
        let state = state(summary);
        for (count, counted) in counts.iter_mut().zip(AppState::ALL) {
            *count += usize::from(counted == AppState::All || counted == state);
        }
        if query.state == AppState::All || query.state == state {
            matching.push(Candidate { position, is_exact, row, summary });
        }
    }
    if query.sort != SortColumn::Name || query.order != SortOrder::Ascending || !exact.is_empty() {
        matching.sort_by(|a, b| b.is_exact.cmp(&a.is_exact).then_with(|| order(query, a, b)));
    }
    let pages = matching.len().div_ceil(PER_PAGE).max(1);
    let page = query.page.min(pages);
    let shown = matching.iter().skip((page - 1) * PER_PAGE).take(PER_PAGE);
    let rows = shown.map(|it| (it.position, it.summary.cloned())).collect();
    Selected { total, counts, matching: matching.len(), page, pages, rows }
}

struct Candidate<'a> {
    position: usize,
    is_exact: bool,
    row: &'a AppRow,
    summary: Option<&'a AppSummary>,
}

fn state(summary: Option<&AppSummary>) -> AppState {
    match summary {
        None => AppState::Unscraped,
        Some(summary) if summary.failing > 0 => AppState::Failing,
        Some(_) => AppState::Up,
    }
}

/// Orders by the column, then by name. Apps without a value come last in both orders.
fn order(query: &ListQuery, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
    let by_name = a.position.cmp(&b.position);
    let directed = |ordering: Ordering| match query.order {
        SortOrder::Ascending => ordering,
        SortOrder::Descending => ordering.reverse(),
    };
    let key = |value: fn(&AppSummary) -> u64| {
        let (a, b) = (a.summary.map(value), b.summary.map(value));
        match (a, b) {
            (Some(a), Some(b)) => directed(a.cmp(&b)),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    };
    let by_column = match query.sort {
        SortColumn::Name => return directed(by_name),
        SortColumn::Routes => directed(a.row.routes_total.cmp(&b.row.routes_total)),
        SortColumn::Up => key(share_up),
        SortColumn::Samples => key(|summary| summary.samples),
        SortColumn::Size => key(|summary| summary.bytes),
        SortColumn::Duration => {
            key(|summary| u64::try_from(summary.slowest.as_nanos()).unwrap_or(u64::MAX))
        }
        SortColumn::Scraped => key(|summary| {
            let since = summary.at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        }),
        SortColumn::Error => {
            let reason = |it: &Candidate<'_>| {
                it.summary.and_then(|it| it.failure.as_ref()).map(|it| it.reason.as_str())
            };
            match (reason(a), reason(b)) {
                (Some(a), Some(b)) => directed(a.cmp(b)),
                (a, b) => b.is_some().cmp(&a.is_some()),
            }
        }
    };
    by_column.then(by_name)
}

/// The share of instances that are up, in millionths.
fn share_up(summary: &AppSummary) -> u64 {
    let scraped = u64::from(summary.up) + u64::from(summary.failing);
    u64::from(summary.up) * 1_000_000 / scraped.max(1)
}

fn twin<'a>(query: &ListQuery, selected: &Selected, rows: &[Row<'a>]) -> ListTwin<'a> {
    let apps = rows.iter().map(|Row { app, row, summary, .. }| {
        let failure = summary.and_then(|it| it.failure.as_deref());
        AppTwin {
            labels: app.labels().into(),
            routes: &row.routes,
            routes_total: row.routes_total,
            instances: row.instances,
            up: summary.map(|it| it.up),
            failing: summary.map(|it| it.failing),
            samples: summary.map(|it| it.samples),
            size_bytes: summary.map(|it| it.bytes),
            duration_seconds: summary.map(|it| it.slowest.as_secs_f64()),
            last_scrape: summary.map(|it| humantime::format_rfc3339_millis(it.at).to_string()),
            error: failure.map(|it| it.reason.as_str()),
            detail: failure.map(|it| &*it.detail),
        }
    });
    ListTwin {
        total: selected.total,
        matching: selected.matching,
        page: selected.page,
        pages: selected.pages,
        per_page: PER_PAGE,
        sort: query.sort.as_str(),
        order: query.order.as_str(),
        apps: apps.collect(),
    }
}

impl Selected {
    /// The states with the numbers of apps that match the filter.
    fn states(&self) -> impl Iterator<Item = (AppState, usize)> {
        AppState::ALL.into_iter().zip(self.counts)
    }
}
