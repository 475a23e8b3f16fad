//! `/prometheus`: all provisioned Prometheus servers, or the one of a token.

use super::{Prometheus, backend, facts::InstanceFacts, state::RunState, target_query};
use crate::{
    broker::{PrometheusSnapshot, Scope},
    domain::prometheus::ReplicaState,
    http::{
        access::Caller,
        query::{Problem, PrometheusError},
        ui::{
            self, Layout, Section, Viewer, format,
            list::{Paging, StateLink},
        },
    },
    query::{BriefSummary, PrometheusClient},
};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Serialize;
use std::sync::Arc;
use url::form_urlencoded;

/// Each instance of a page is queried.
const PER_PAGE: usize = 25;

#[derive(Debug, Serialize)]
struct ListTwin {
    instances: Vec<InstanceFacts>,
    total: usize,
    matching: usize,
    page: usize,
    pages: usize,
}

#[derive(Template)]
#[template(path = "prometheus_list.html")]
struct ListPage<'a> {
    layout: Layout<'a>,
    /// The selected state. `None`: all.
    selected: Option<RunState>,
    /// The number of instances in each state.
    counts: [usize; 3],
    twin: &'a ListTwin,
}

/// Parameters of the list.
struct ListParameters {
    run_state: Option<RunState>,
    page: usize,
}

pub(super) async fn show(
    request: HttpRequest,
    state: web::Data<Prometheus>,
    client: web::Data<PrometheusClient>,
) -> HttpResponse {
    let answered = async {
        let (visible, viewer) = state.visible(&request).await?;
        let parameters = ListParameters::parse(request.query_string())?;
        let count = |run_state| visible.iter().filter(|it| RunState::of(it) == run_state).count();
        let counts = RunState::ALL.map(count);
        let total = visible.len();
        let in_state = |it: &Arc<PrometheusSnapshot>| {
            parameters.run_state.is_none_or(|run_state| RunState::of(it) == run_state)
        };
        let matching: Vec<_> = visible.into_iter().filter(in_state).collect();
        let paging = Paging::new(parameters.page, matching.len(), PER_PAGE);
        let instances = state.facts(&client, paging.of(&matching)).await;
        let Paging { page, pages, .. } = paging;
        let twin = ListTwin { instances, total, matching: matching.len(), page, pages };
        let layout = Layout::new(state.base_url.path(), Section::Prometheus, viewer);
        let page = ListPage { layout, selected: parameters.run_state, counts, twin: &twin };
        Ok(ui::respond(&request, &page, &twin))
    };
    answered.await.unwrap_or_else(|problem| PrometheusError { problem, is_api: false }.response())
}

impl ListParameters {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut parsed = Self { run_state: None, page: 1 };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                _ if value.is_empty() => {}
                "state" if value == "all" => parsed.run_state = None,
                "state" => {
                    let found = RunState::ALL.into_iter().find(|it| it.as_str() == value);
                    let expected = "one of all, failing, changing, running";
                    parsed.run_state = Some(found.ok_or(Problem::Parameter("state", expected))?);
                }
                "page" => parsed.page = target_query::page(&value)?,
                _ => {}
            }
        }
        Ok(parsed)
    }
}

/// An instance with firing alerts.
#[derive(Debug, Serialize)]
pub(in crate::http) struct FiringAlerts {
    pub(in crate::http) name: String,
    pub(in crate::http) path: String,
    pub(in crate::http) count: usize,
    /// The first names, as in `DiskFull, HighLatency`.
    pub(in crate::http) names: String,
}

fn sort_by_name(instances: &mut [Arc<PrometheusSnapshot>]) {
    instances.sort_by(|a, b| {
        let key = |it: &PrometheusSnapshot| (it.names.instance.clone(), it.instance_id.clone());
        key(a).cmp(&key(b))
    });
}

impl Prometheus {
    /// The instances that the caller may see, sorted by name.
    async fn visible(
        &self,
        request: &HttpRequest,
    ) -> Result<(Vec<Arc<PrometheusSnapshot>>, Viewer), Problem> {
        let all = self.bound.all_prometheus();
        let (caller, _) = self.access.known(request).await?;
        let mut visible: Vec<_> = match &caller {
            Caller::Operator => all.values().cloned().collect(),
            Caller::Token(Scope::Query(id)) => all.get(id).cloned().into_iter().collect(),
            _ => return Err(self.access.forbidden().into()),
        };
        sort_by_name(&mut visible);
        Ok((visible, Viewer::of(&caller)))
    }

    /// The alerts that fire in the first instances in the order of their names.
    pub(in crate::http) async fn firing_alerts(
        &self,
        client: &PrometheusClient,
    ) -> Vec<FiringAlerts> {
        let mut instances: Vec<_> = self.bound.all_prometheus().values().cloned().collect();
        sort_by_name(&mut instances);
        instances.truncate(PER_PAGE);
        let facts = self.facts(client, &instances).await.into_iter();
        let firing = facts.filter_map(|it| {
            let count = it.alerts_firing.filter(|count| *count > 0)?;
            Some(FiringAlerts { name: it.name, path: it.path, count, names: it.firing })
        });
        firing.collect()
    }

    /// The facts of `instances`. Those without a ready replica are not queried.
    async fn facts(
        &self,
        client: &PrometheusClient,
        instances: &[Arc<PrometheusSnapshot>],
    ) -> Vec<InstanceFacts> {
        let is_ready = |it: &&Arc<PrometheusSnapshot>| {
            it.replicas.iter().any(|replica| replica.state == ReplicaState::Ready)
        };
        let queried = instances.iter().filter(is_ready);
        let queried = queried
            .map(|it| (it.instance_id.clone(), backend(&self.base_url, it, &self.pools)))
            .collect::<Vec<_>>();
        let mut summaries = self.summaries.read(client, &queried).await.into_iter();
        let ids: Vec<_> = instances.iter().map(|it| it.instance_id.clone()).collect();
        let stored = self.measure(&ids).await;
        let table = self.table.snapshot();
        let facts = instances.iter().zip(stored).map(|(prometheus, stored)| {
            let summary = if is_ready(&prometheus) { summaries.next() } else { None };
            let unknown = Arc::<BriefSummary>::default;
            let summary = summary.unwrap_or_else(unknown);
            InstanceFacts::new(self, &table, prometheus, &summary, stored)
        });
        facts.collect()
    }
}

impl ListPage<'_> {
    fn href(&self, run_state: Option<RunState>, page: usize) -> String {
        let run_state = run_state.map_or("all", RunState::as_str);
        format!("{}/prometheus?state={run_state}&page={page}", self.layout.site)
    }

    fn page_link(&self, page: usize) -> String {
        self.href(self.selected, page)
    }

    fn states(&self) -> impl Iterator<Item = StateLink> {
        let states = RunState::ALL.into_iter().zip(self.counts);
        let states = states.map(|(run_state, count)| (Some(run_state), run_state.title(), count));
        let all = std::iter::once((None, "All", self.twin.total));
        all.chain(states).map(|(run_state, title, count)| StateLink {
            href: self.href(run_state, 1),
            title,
            count,
            is_current: run_state == self.selected,
        })
    }

    fn status(&self) -> String {
        format!("{}.", format::counted(self.twin.matching, "instance"))
    }
}
