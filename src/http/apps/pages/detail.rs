//! `/apps/{app}`: the instances of one app, their last scrapes, and how to use its metrics.

mod plots;

use super::{
    AppPages,
    failures::{Failure, FailureGroups},
    snippets::{QuerySource, Snippet, SnippetContext},
    visible_app,
};
use crate::{
    broker::{ActiveBinding, PrometheusSnapshot},
    discovery::Snapshot,
    domain::{App, AppGuid},
    http::{
        access::Caller,
        apps::{
            Apps, AppsError,
            description::{AppDescription, HistoryPoint, InstanceDescription, describe_app},
            request::BadRequest,
        },
        ui::{
            self, Layout, Section, Viewer, format,
            list::{BadParameter, ListParameters, ListState, Paging, StateLink, has_words},
            plot::Plot,
        },
        urls::{self, instance_path, prometheus_path},
    },
    scrape::{ScrapePoint, ScrapedBy},
};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use plots::InstanceHistory;
use serde::Serialize;
use std::{net::IpAddr, time::SystemTime};

/// Number of instances on one page.
const PER_PAGE: usize = 100;

#[derive(Template)]
#[template(path = "app.html")]
struct DetailPage<'a> {
    layout: Layout<'a>,
    path: String,
    twin: &'a DetailTwin,
    counts: InstanceCounts,
    failures: FailureGroups,
    parameters: &'a InstanceParameters,
    shown: &'a ShownInstances,
    /// The instances of this page of the list, failing ones first.
    instances: Vec<&'a InstanceDescription>,
    scraped_at: Option<SystemTime>,
    plots: Vec<Plot>,
}

#[derive(Serialize)]
struct DetailTwin {
    route_table_age_seconds: Option<f64>,
    #[serde(flatten)]
    app: AppDescription,
    scraped_by: Option<ScraperDescription>,
    /// The dedicated Prometheus servers that scrape the app.
    prometheus: Vec<BoundPrometheus>,
    /// How to use the metrics of the app.
    snippets: Vec<Snippet>,
}

#[derive(Serialize)]
struct ScraperDescription {
    agent: String,
    role: &'static str,
    /// For viewers with credentials for the app only.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    at: String,
    #[serde(skip)]
    time: SystemTime,
}

#[derive(Serialize)]
struct BoundPrometheus {
    name: String,
    path: String,
    #[serde(skip)]
    url: String,
}

type InstanceParameters = ListParameters<InstanceState>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InstanceState {
    Failing,
    Up,
    Unscraped,
}

#[derive(Clone, Copy, Debug, Default)]
struct InstanceCounts {
    all: usize,
    up: usize,
    failing: usize,
    unscraped: usize,
}

/// The query of the page that shows the same part of the instances as this request.
///
/// # Errors
/// Returns an error for wrong parameters.
pub(super) fn list_query(request: &HttpRequest) -> Result<String, BadParameter> {
    Ok(InstanceParameters::parse(request.query_string())?.query(&[]))
}

pub(super) fn respond(
    request: &HttpRequest,
    apps: &Apps,
    pages: &AppPages,
    caller: &Caller,
    table: &Snapshot,
    id: &AppGuid,
) -> Result<HttpResponse, AppsError> {
    let unknown = || AppsError::UnknownApp(id.as_str().to_owned());
    let found = visible_app(caller, table, id).ok_or_else(unknown)?;
    let active = apps.binding_for(caller, id.as_str());
    let mut app = describe_app(table, &found, active.as_deref(), &apps.scrapes.history);
    app.instances.sort_by_key(|it| state(it) != InstanceState::Failing);
    let parameters = InstanceParameters::parse(request.query_string()).map_err(BadRequest::from)?;
    let shown = ShownInstances::of(&app.instances, &parameters);
    let history = |address: &str| -> Vec<ScrapePoint> {
        let address = address.parse();
        address.map(|address| apps.scrapes.history.points(id, address)).unwrap_or_default()
    };
    for index in &shown.positions {
        let instance = &mut app.instances[*index];
        instance.history = history(&instance.address).into_iter().map(HistoryPoint).collect();
    }
    let with_history = |it: &InstanceDescription| InstanceHistory {
        name: it.name(),
        points: history(&it.address),
    };
    let summary = apps.scrapes.history.summary(id);
    let scraped_by = summary.as_ref().map(|it| &*it.scraped_by);
    let is_authorized = caller.is_authorized_for(found.app);
    let prometheus = bound_prometheus(apps, pages, id);
    let twin = DetailTwin {
        route_table_age_seconds: table.age().map(|age| age.as_secs_f64()),
        app,
        scraped_by: scraped_by.map(|it| ScraperDescription::new(it, is_authorized)),
        snippets: snippets(apps, pages, found.app, active.as_deref(), &prometheus),
        prometheus,
    };
    let detail = DetailPage {
        layout: Layout::new(pages.base_url.path(), Section::Apps, Viewer::of(caller)),
        path: pages.path_of(id.as_str()),
        counts: InstanceCounts::of(&twin.app.instances),
        failures: failures(&twin.app.instances),
        parameters: &parameters,
        shown: &shown,
        instances: shown.positions.iter().map(|index| &twin.app.instances[*index]).collect(),
        scraped_at: summary.as_ref().map(|it| it.at),
        plots: plots::plots(twin.app.instances.iter().map(with_history).collect()),
        twin: &twin,
    };
    Ok(ui::respond(request, &detail, &twin))
}

/// The dedicated Prometheus servers to which the app is bound.
fn bound_prometheus(apps: &Apps, pages: &AppPages, id: &AppGuid) -> Vec<BoundPrometheus> {
    let all = apps.bound.all_prometheus();
    let bound = all.values().filter(|it| it.targets.binding_for(id.as_str()).is_some());
    let describe = |it: &std::sync::Arc<PrometheusSnapshot>| BoundPrometheus {
        name: it.names.instance.clone().unwrap_or_else(|| it.instance_id.to_string()),
        path: prometheus_path(&it.instance_id),
        url: urls::prometheus(&pages.base_url, &it.instance_id),
    };
    let mut bound: Vec<_> = bound.map(describe).collect();
    bound.sort_by(|a, b| a.name.cmp(&b.name));
    bound
}

fn snippets(
    apps: &Apps,
    pages: &AppPages,
    app: &App,
    binding: Option<&ActiveBinding>,
    prometheus: &[BoundPrometheus],
) -> Vec<Snippet> {
    let source = |it: &BoundPrometheus| QuerySource { name: it.name.clone(), url: it.url.clone() };
    let context = SnippetContext {
        app,
        binding,
        base_url: &pages.base_url,
        token_required: apps.access.token_required(),
        prometheus: &prometheus.iter().map(source).collect::<Vec<_>>(),
    };
    context.snippets()
}

impl ScraperDescription {
    fn new(scraped_by: &ScrapedBy, is_authorized: bool) -> Self {
        Self {
            agent: scraped_by.agent.to_string(),
            role: scraped_by.role.as_str(),
            address: scraped_by.address.filter(|_| is_authorized),
            at: humantime::format_rfc3339_millis(scraped_by.at).to_string(),
            time: scraped_by.at,
        }
    }

    /// The role as a part of a sentence.
    fn credentials(&self) -> &'static str {
        match self.role {
            "operator" => "with the credentials of an operator",
            "token" => "with a token",
            "prometheus" => "as a dedicated Prometheus",
            "page" => "from this page",
            _ => "without credentials",
        }
    }
}

/// The part of the instances that is shown.
struct ShownInstances {
    positions: Vec<usize>,
    /// Number of instances on all pages.
    matching: usize,
    paging: Paging,
}

impl ShownInstances {
    fn of(instances: &[InstanceDescription], parameters: &InstanceParameters) -> Self {
        let words = parameters.words();
        let is_shown = |it: &InstanceDescription| {
            parameters.state.is_none_or(|wanted| state(it) == wanted)
                && (words.is_empty() || has_words(&searched(it), &words))
        };
        let matching = instances.iter().enumerate().filter(|(_, it)| is_shown(it));
        let matching: Vec<_> = matching.map(|(index, _)| index).collect();
        let paging = Paging::new(parameters.page, matching.len(), PER_PAGE);
        Self { positions: paging.of(&matching).to_vec(), matching: matching.len(), paging }
    }
}

/// The text of an instance that a filter searches.
fn searched(instance: &InstanceDescription) -> String {
    let InstanceDescription { address, availability_zone, last_scrape, .. } = instance;
    let (error, detail) = match last_scrape {
        Some(last) => (last.error.unwrap_or_default(), last.detail.as_deref().unwrap_or_default()),
        None => ("", ""),
    };
    let zone = availability_zone.as_deref().unwrap_or_default();
    format!("{} {address} {zone} {error} {detail}", instance.name())
}

fn failures(instances: &[InstanceDescription]) -> FailureGroups {
    FailureGroups::of(instances.iter().filter_map(failure))
}

fn failure(instance: &InstanceDescription) -> Option<Failure<'_>> {
    let last = instance.last_scrape.as_ref()?;
    Some(Failure {
        instance: instance.name(),
        reason: last.error?,
        detail: last.detail.as_deref().unwrap_or_default(),
        explanation: last.explanation.clone()?,
    })
}

impl ListState for InstanceState {
    const ALL: &'static [Self] = &[Self::Failing, Self::Up, Self::Unscraped];

    fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Up => "up",
            Self::Unscraped => "unscraped",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Failing => "Failing",
            Self::Up => "Up",
            Self::Unscraped => "Not scraped",
        }
    }
}

fn state(instance: &InstanceDescription) -> InstanceState {
    match &instance.last_scrape {
        None => InstanceState::Unscraped,
        Some(last) if last.up => InstanceState::Up,
        Some(_) => InstanceState::Failing,
    }
}

impl InstanceCounts {
    fn of(instances: &[InstanceDescription]) -> Self {
        let mut counts = Self { all: instances.len(), ..Self::default() };
        for instance in instances {
            *match state(instance) {
                InstanceState::Up => &mut counts.up,
                InstanceState::Failing => &mut counts.failing,
                InstanceState::Unscraped => &mut counts.unscraped,
            } += 1;
        }
        counts
    }

    fn of_state(&self, state: InstanceState) -> usize {
        match state {
            InstanceState::Up => self.up,
            InstanceState::Failing => self.failing,
            InstanceState::Unscraped => self.unscraped,
        }
    }
}

impl DetailPage<'_> {
    /// The state of all instances as a sentence.
    fn status(&self) -> String {
        let InstanceCounts { all, up, failing, unscraped } = self.counts;
        let all_instances = format::counted(all, "instance");
        if unscraped == all {
            return format!("{all_instances}, not scraped yet.");
        }
        let mut status = format!("{up} of {all_instances} up");
        if failing > 0 {
            status.push_str(&format!(", {failing} failing"));
        }
        if unscraped > 0 {
            status.push_str(&format!(", {unscraped} not scraped"));
        }
        status.push('.');
        if !self.parameters.filter.is_empty() {
            let matching = format::counted(self.shown.matching, "instance");
            status.push_str(&format!(" The filter shows {matching}."));
        }
        status
    }

    fn states(&self) -> Vec<StateLink> {
        let count =
            |state: Option<_>| state.map_or(self.counts.all, |state| self.counts.of_state(state));
        self.parameters.state_links(count, list_link)
    }

    fn page_link(&self, page: usize) -> String {
        list_link(&self.parameters.with_page(page))
    }

    /// Path of a scrape that leads back to the same part of the list.
    fn scrape_path(&self) -> String {
        format!("{}/scrape{}", self.path, self.parameters.query(&[]))
    }

    /// Path of the metrics of one instance.
    fn metrics_path(&self, instance: &InstanceDescription) -> String {
        let InstanceDescription { index, address, process_type, .. } = instance;
        let app = self.twin.app.label("app_id");
        let site = self.layout.site;
        let path = instance_path(app, index.as_deref().unwrap_or(address), process_type);
        format!("{site}{path}")
    }
}

/// A relative link to a part of the instances.
fn list_link(parameters: &InstanceParameters) -> String {
    format!("{}#instances", parameters.query(&[]))
}
