//! The page of a provisioned Prometheus: its state, and how to use it.
//!
//! If the Prometheus does not respond, the page shows the reason instead of data.

use super::{
    Problem, Prometheus, alerts::AlertsTwin, backend, facts::InstanceFacts, metric_plot::PlotTwin,
    state::RunState, target_query::TargetQuery, targets::TargetList,
};
use crate::{
    broker::PrometheusSnapshot,
    http::{
        ui::{self, Layout, Section, Viewer, format, list::StateLink, plot::Plot},
        urls,
    },
    query::{BriefSummary, MetricName, PrometheusClient, QueryFailure, TargetCounts, TargetHealth},
};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// Timeout of the request for alerts.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
struct PrometheusTwin {
    #[serde(flatten)]
    facts: InstanceFacts,
    target_list: TargetList,
    alerts: Option<AlertsTwin>,
    plot: Option<PlotTwin>,
}

#[derive(Template)]
#[template(path = "prometheus.html")]
struct PrometheusPage<'a> {
    layout: Layout<'a>,
    twin: &'a PrometheusTwin,
    counts: Option<TargetCounts>,
    query: &'a TargetQuery,
    /// Whether the viewer may open the pages of apps.
    links_apps: bool,
    bound_apps: usize,
    /// Public URL of its API.
    url: String,
    retention: String,
    scrape_interval: String,
    storage: String,
    metric: &'a str,
    /// Names of metrics that the viewer may select.
    names: Vec<MetricName>,
    plot: Option<Plot>,
    /// Why alerts are unknown.
    alerts_problem: Option<String>,
    /// Why there is no plot.
    plot_problem: Option<String>,
}

pub(super) async fn show(
    request: &HttpRequest,
    of: &Prometheus,
    client: &PrometheusClient,
    prometheus: &PrometheusSnapshot,
    viewer: Viewer,
) -> Result<HttpResponse, Problem> {
    let query = TargetQuery::parse(request.query_string())?;
    let metric = query.metric.clone().unwrap_or_default();
    let (backend, now) = (backend(&of.base_url, prometheus, &of.pools), SystemTime::now());
    let (summary, alerts, names, range, stored) = futures_util::join!(
        client.summary(&backend),
        client.alerts(&backend, TIMEOUT),
        client.metric_names(&backend, now),
        client.range(&backend, &metric, now),
        of.measure(std::slice::from_ref(&prometheus.instance_id)),
    );
    let (alerts, alerts_problem) = split(alerts);
    let (range, plot_problem) = split(range);
    let table = of.table.snapshot();
    let brief = BriefSummary::new(&summary, alerts);
    let targets = summary.targets.as_deref().unwrap_or_default();
    let twin = PrometheusTwin {
        facts: InstanceFacts::new(
            of,
            &table,
            prometheus,
            &brief,
            stored.first().copied().flatten(),
        ),
        target_list: TargetList::new(targets, &query, &table, &of.last),
        alerts: brief.alerts.map(AlertsTwin::new),
        plot: range.map(|range| PlotTwin::new(&metric, range)),
    };
    let page = PrometheusPage {
        layout: Layout::new(of.base_url.path(), Section::Prometheus, viewer),
        counts: summary.counts(),
        query: &query,
        links_apps: viewer == Viewer::Operator || !of.access.token_required(),
        bound_apps: prometheus.targets.len(),
        url: urls::prometheus(&of.base_url, &prometheus.instance_id),
        retention: prometheus.spec.retention.to_string(),
        scrape_interval: prometheus.spec.scrape_interval.to_string(),
        storage: prometheus.spec.storage.to_string(),
        metric: metric.as_str(),
        names: names.unwrap_or_default(),
        plot: twin.plot.as_ref().and_then(PlotTwin::plot),
        alerts_problem,
        plot_problem,
        twin: &twin,
    };
    Ok(ui::respond(request, &page, &twin))
}

fn split<T>(result: Result<T, QueryFailure>) -> (Option<T>, Option<String>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(failure) => (None, Some(failure.to_string())),
    }
}

impl PrometheusPage<'_> {
    /// Path of this page.
    fn path(&self) -> String {
        format!("{}{}", self.layout.site, self.twin.facts.path)
    }

    /// Result of the filter, which the script announces while it is typed.
    fn status(&self) -> String {
        let Some(TargetCounts { all, up, .. }) = self.counts else {
            return format!("Their state is unknown. Bound apps: {}.", self.bound_apps);
        };
        let matching = match (self.query.filter.is_empty(), self.twin.target_list.matching) {
            (true, _) => String::new(),
            (false, 1) => " 1 matches the filter.".to_owned(),
            (false, matching) => format!(" {matching} match the filter."),
        };
        format!("{up} of {all} are up. Bound apps: {}.{matching}", self.bound_apps)
    }

    fn states(&self) -> [StateLink; 4] {
        let TargetCounts { all, up, down, unknown } = self.counts.unwrap_or_default();
        [
            (None, "All", all),
            (Some(TargetHealth::Down), "Down", down),
            (Some(TargetHealth::Up), "Up", up),
            (Some(TargetHealth::Unknown), "Not scraped yet", unknown),
        ]
        .map(|(health, title, count)| StateLink {
            href: self.query.with_health(health),
            title,
            count,
            is_current: health == self.query.health,
        })
    }
}
