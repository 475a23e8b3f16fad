//! `/prometheus`: the list of provisioned Prometheus servers. `/prometheus/{instance}/…`: the read API
//! of one, and its page.
//!
//! ```text
//! credentials ─► instance ─► allowed endpoint ─► its pool, or its servers ─► streamed response
//! ```
//!
//! Credentials are checked first, so that unauthenticated clients cannot find out which instances
//! exist.

mod alerts;
mod facts;
mod list;
mod metric_plot;
mod page;
mod state;
mod target;
mod target_query;
mod targets;

use crate::{
    broker::{BindingTable, Broker, PrometheusSnapshot},
    discovery::RouteTable,
    domain::{
        BaseUrl, InstanceId,
        prometheus::{ReplicaState, segment},
    },
    http::{
        access::{Access, Caller},
        query::{self, ClientBody, NOTIFICATIONS_LIVE, Problem, PrometheusError, only_read},
        read_only,
        ui::Viewer,
    },
    query::{InstancePools, PrometheusClient, QueryBackend, Summaries, Upstream, Writes},
    scrape::ScrapeHistory,
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use futures_util::future::BoxFuture;
pub(super) use list::FiringAlerts;
pub use state::state;
use std::{fmt, sync::Arc, time::Duration};
use target::Target;
pub(super) use targets::error_of;

/// Maximum timeout of a query: Prometheus' default.
const MAX_QUERY_TIMEOUT: Duration = Duration::from_secs(120);

/// State of the handlers, shared by all workers.
#[derive(Clone, Debug)]
pub struct Prometheus {
    pub bound: BindingTable,
    pub catalog: Broker,
    pub access: Access,
    /// The public URL.
    pub base_url: BaseUrl,
    /// Finds the instance of a target.
    pub table: RouteTable,
    /// Results of the last scrapes, with the reasons of failures.
    pub last: Arc<ScrapeHistory>,
    /// Pools of instances with several replicas.
    pub pools: InstancePools,
    /// Summaries for the list.
    pub summaries: Summaries,
    /// Measures stored samples. `None` if servers do not run on this machine.
    pub stored_sizes: Option<Arc<dyn MeasureStoredSizes>>,
}

/// Measures the stored samples of instances whose servers run on this machine.
pub trait MeasureStoredSizes: fmt::Debug + Send + Sync {
    /// The sizes in bytes, in the order of `instances`. `None` if an instance has no folder here.
    fn measure<'a>(&'a self, instances: &'a [InstanceId]) -> BoxFuture<'a, Vec<Option<u64>>>;
}

/// Adds the routes. Requires [`Prometheus`] and the worker's [`PrometheusClient`] as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(read_only("/prometheus", list::show))
        .route("/prometheus/{rest:.*}", web::route().to(handle));
}

impl Prometheus {
    /// The sizes of the stored samples of instances, as far as they can be measured.
    async fn measure(&self, instances: &[InstanceId]) -> Vec<Option<u64>> {
        match &self.stored_sizes {
            Some(sizes) => sizes.measure(instances).await,
            None => vec![None; instances.len()],
        }
    }

    /// The instance with this path segment.
    fn find(&self, name: &str) -> Option<Arc<PrometheusSnapshot>> {
        self.bound.prometheus(name).or_else(|| {
            let all = self.bound.all_prometheus();
            all.iter().find(|(id, _)| segment(id) == name).map(|(_, it)| Arc::clone(it))
        })
    }
}

/// What queries of a provisioned Prometheus are sent to: its pool, if that has found one of the
/// replicas that are ready, and otherwise the ready replicas themselves.
pub fn backend(
    base_url: &BaseUrl,
    prometheus: &PrometheusSnapshot,
    pools: &InstancePools,
) -> QueryBackend {
    let ready = prometheus.replicas.iter().filter(|it| it.state == ReplicaState::Ready);
    let ready: Vec<BaseUrl> = ready.filter_map(|it| it.url.parse().ok()).collect();
    let pool = pools.get(&prometheus.instance_id);
    match pool.filter(|pool| ready.iter().any(|url| pool.has_found(url))) {
        Some(pool) => QueryBackend::Pool(pool),
        None => {
            let url = format!("{base_url}/prometheus/{}", segment(&prometheus.instance_id));
            let (replicas, password) = (&prometheus.replicas, &prometheus.web_password);
            QueryBackend::Upstream(Box::new(Upstream::of_replicas(url, replicas, password)))
        }
    }
}

async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<Prometheus>,
    client: web::Data<PrometheusClient>,
) -> HttpResponse {
    let target = Target::of(request.uri().path());
    let body = ClientBody::new(payload);
    let answered = async {
        let Some(target) = &target else { return Err(Problem::Unknown) };
        let (prometheus, caller) = authorize(&request, target, &state).await?;
        match target.rest {
            "" => return Ok(redirect_to_page(target)),
            "/" => {
                only_read(request.method())?;
                let viewer = Viewer::of(&caller);
                return page::show(&request, &state, &client, &prometheus, viewer).await;
            }
            NOTIFICATIONS_LIVE => {
                only_read(request.method())?;
                return Ok(HttpResponse::NoContent().finish());
            }
            _ => {}
        }
        let read = query::read(&request, &body, target.rest, Writes::Deny).await?;
        let backend = backend(&state.base_url, &prometheus, &state.pools);
        let headers = query::without_credentials(request.headers(), &state.access);
        let query_request = read.request(&request, &headers, None, MAX_QUERY_TIMEOUT);
        let response = backend.forward(&client, &query_request).await?;
        Ok(query::respond(response, request.method()))
    };
    let is_api = target.as_ref().is_some_and(|target| target.rest.starts_with("/api/"));
    answered.await.unwrap_or_else(|problem| PrometheusError { problem, is_api }.response())
}

/// Authenticates the caller, and returns the instance and the caller.
async fn authorize(
    request: &HttpRequest,
    target: &Target<'_>,
    state: &Prometheus,
) -> Result<(Arc<PrometheusSnapshot>, Caller), Problem> {
    let name = &*target.name;
    let is_it = |id: &InstanceId| id.as_str() == name || segment(id) == name;
    let caller = state.access.prometheus(request, is_it).await?;
    Ok((state.find(name).ok_or(Problem::Unknown)?, caller))
}

/// The redirect is relative, so that it works behind every router.
fn redirect_to_page(target: &Target<'_>) -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, format!("./{}/", target.segment)))
        .finish()
}
