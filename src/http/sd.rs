//! `GET /sd`: service discovery for a Prometheus (`http_sd_configs`).
//!
//! Prometheus drops all targets if a list is empty, and keeps them for any status other than 200.
//! So a list is never partial: while routes are unknown, a list that may lack targets is answered
//! with 503 ([`incomplete`]).
//!
//! A list is cached until routes or bindings change ([`cache`]). It is rendered on a thread that
//! serves no scrapes.

mod answer;
mod cache;
mod error;
mod incomplete;
mod limit;
mod list;
mod metrics;
mod query;
mod target;

pub use metrics::SdMetrics;

use crate::{
    broker::{ActiveBindings, BindingTable, Scope},
    discovery::{RouteTable, Snapshot},
    domain::{AppGuid, BaseUrl, InstanceId, SpaceGuid},
    http::{
        access::{Access, Caller},
        read_only, readiness,
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ETag, IfNoneMatch},
    web,
};
use answer::Answer;
use cache::{Cache, Key, Versions};
use error::SdError;
use limit::Limit;
use metrics::Outcome;
use query::SdQuery;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::Semaphore;

/// State of the handler, shared by all workers.
#[derive(Debug)]
pub struct Sd {
    table: RouteTable,
    bound: BindingTable,
    access: Access,
    keep: Duration,
    base: BaseUrl,
    /// Base URL for provisioned Prometheus servers.
    own_base: Arc<OnceLock<BaseUrl>>,
    cache: Cache,
    limit: Limit,
    /// Lists are rendered sequentially, so that they use at most one CPU core.
    render_permit: Arc<Semaphore>,
    metrics: SdMetrics,
}

#[derive(Debug)]
pub struct SdSettings {
    pub table: RouteTable,
    pub bound: BindingTable,
    pub access: Access,
    /// `routes.keep`: the routes of a source are unknown if it did not respond for this time.
    pub keep: Duration,
    /// The public URL.
    pub base_url: BaseUrl,
    /// Base URL for provisioned Prometheus servers, once it is known.
    pub own_base_url: Arc<OnceLock<BaseUrl>>,
    pub metrics: SdMetrics,
}

/// The apps that a caller can see.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Visibility {
    Everything,
    App(AppGuid),
    Space(SpaceGuid),
    /// The apps that are bound to the calling Prometheus.
    BoundApps(InstanceId),
}

impl Visibility {
    /// The equivalent scope, by the current bindings. `None` means everything.
    fn scope(&self, bound: &ActiveBindings) -> Option<Scope> {
        Some(match self {
            Self::Everything => return None,
            Self::App(app) => Scope::App(app.clone()),
            Self::Space(space) => Scope::Space(space.clone()),
            Self::BoundApps(instance) => {
                let prometheus = bound.prometheus(instance.as_str());
                let targets = prometheus.map(|it| it.targets.clone()).unwrap_or_default();
                Scope::PrometheusTargets(instance.clone(), targets)
            }
        })
    }
}

impl Sd {
    pub fn new(settings: SdSettings) -> Self {
        Self {
            base: settings.base_url,
            table: settings.table,
            bound: settings.bound,
            access: settings.access,
            keep: settings.keep,
            own_base: settings.own_base_url,
            cache: Cache::default(),
            limit: Limit::default(),
            render_permit: Arc::new(Semaphore::new(1)),
            metrics: settings.metrics,
        }
    }

    /// Base URL of the targets in a list, or `None` while it is unknown.
    fn base_for(&self, visibility: &Visibility) -> Option<&BaseUrl> {
        match visibility {
            Visibility::BoundApps(_) => self.own_base.get(),
            _ => Some(&self.base),
        }
    }

    /// Returns the list from the cache, or renders it.
    async fn list(
        &self,
        key: Key,
        table: Arc<Snapshot>,
        bound: ActiveBindings,
    ) -> Result<(Arc<Answer>, Outcome), SdError> {
        let versions = Versions { routes: table.version(), bindings: bound.version() };
        if let Some(answer) = self.cache.get(&key, &versions) {
            return Ok((answer, Outcome::Cached));
        }
        let base = self.base_for(&key.visibility).ok_or(SdError::NotYet)?.clone();
        let permit =
            Arc::clone(&self.render_permit).acquire_owned().await.map_err(|_| SdError::Failed)?;
        // Another request may have rendered it in the meantime.
        if let Some(answer) = self.cache.get(&key, &versions) {
            return Ok((answer, Outcome::Cached));
        }
        let (visibility, query) = (key.visibility.clone(), key.query.clone());
        let rendered = web::block(move || {
            let rendered = Answer::of(list::list(&table, &bound, &visibility, &query, &base));
            // The permit is released after rendering, even if the client has disconnected.
            drop(permit);
            rendered
        });
        let answer = Arc::new(rendered.await.map_err(|_| SdError::Failed)??);
        self.cache.put(key, versions, Arc::clone(&answer));
        Ok((answer, Outcome::Rendered))
    }
}

/// Adds `/sd` and `/v1/sd/apps/…`. Requires [`Sd`] as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(read_only("/sd", sd))
        .service(read_only("/v1/sd/apps", sd))
        .service(read_only("/v1/sd/apps/{rest:.*}", sd));
}

async fn sd(
    request: HttpRequest,
    if_none_match: Option<web::Header<IfNoneMatch>>,
    sd: web::Data<Sd>,
) -> Result<HttpResponse, SdError> {
    let known = if_none_match.map(web::Header::into_inner);
    let answered = answer(&request, known.as_ref(), &sd).await;
    let outcome = match &answered {
        Ok((_, outcome)) => *outcome,
        Err(error) => error.outcome(),
    };
    sd.metrics.count(outcome);
    answered.map(|(response, _)| response)
}

async fn answer(
    request: &HttpRequest,
    known: Option<&IfNoneMatch>,
    sd: &web::Data<Sd>,
) -> Result<(HttpResponse, Outcome), SdError> {
    let (caller, identity) = sd.access.known(request).await?;
    if let Err(wait) = sd.limit.take(&identity) {
        return Err(SdError::TooOften(wait));
    }
    let rest = request.uri().path().strip_prefix("/v1/sd/apps").unwrap_or_default();
    let query = SdQuery::parse(rest, request.query_string())?;
    let table = sd.table.snapshot();
    let bound = sd.bound.snapshot();
    if sd.bound.age().is_none() {
        return Err(SdError::NotYet);
    }
    if !table.has_table() {
        return Err(SdError::NoTableYet(readiness::waiting_for(&table)));
    }
    let key = Key { visibility: visibility(&caller, sd)?, query };
    let unknown = incomplete::unknown_routes(&table, &bound, &key, sd.keep);
    if !unknown.is_empty() {
        return Err(SdError::Incomplete(readiness::keys(&unknown)));
    }
    let (list, outcome) = sd.list(key, table, bound).await?;
    let not_modified = match known {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&list.tag)),
        None => false,
    };
    let (mut response, outcome) = match not_modified {
        true => (HttpResponse::NotModified(), Outcome::NotModified),
        false => (HttpResponse::Ok(), outcome),
    };
    response
        .insert_header(ETag(list.tag.clone()))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::VARY, "Authorization"));
    let response = match not_modified {
        true => response.finish(),
        false => response.content_type("application/json").body(list.body.clone()),
    };
    Ok((response, outcome))
}

fn visibility(caller: &Caller, sd: &Sd) -> Result<Visibility, SdError> {
    match caller {
        Caller::Operator => Ok(Visibility::Everything),
        Caller::Token(Scope::App(app)) => Ok(Visibility::App(app.clone())),
        Caller::Token(Scope::Space(space)) => Ok(Visibility::Space(space.clone())),
        Caller::Token(Scope::PrometheusTargets(instance, _)) => {
            Ok(Visibility::BoundApps(instance.clone()))
        }
        Caller::Token(Scope::Query(_) | Scope::Events(_))
        | Caller::OptionalToken(_)
        | Caller::Anyone => Err(sd.access.forbidden().into()),
    }
}
