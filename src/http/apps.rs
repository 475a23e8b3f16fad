//! `/v1/apps/…` and `/v2/apps/…`: metrics and descriptions of apps; `/apps…`: their pages.
//!
//! `/v2` is identical to `/v1`, except that it requests only text format 0.0.4 from instances.

mod body;
mod description;
mod error;
pub mod pages;
mod request;
mod scraper;

use crate::{
    broker::{ActiveBinding, BindingTable, Scope},
    discovery::{DEFAULT_PROCESS_TYPE, Endpoint, Match, RouteTable, Snapshot},
    domain::{AppKey, ScrapeOptions},
    http::{
        accept::accepts_gzip,
        access::{Access, Caller, visible},
        forwarded::forwarded_for,
        readiness,
    },
    scrape::{
        self, Exporters, FailureReason, NegotiatedFormats, OwnSeries, ScrapeClient, ScrapePlan,
        ScrapeRequest, ScrapeResponse, ScrapeTarget, ScrapeTimeouts, Scrapes,
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    web,
};
use body::{Gzip, Plain};
use error::AppsError;
use request::{AppRequest, InstanceSelector, View};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Numbers of successfully scraped and of all instances, as in `199/200`.
const INSTANCES: &str = "x-scrapebroker-instances";

/// State of the handlers, shared by all workers.
#[derive(Debug)]
pub struct Apps {
    pub table: RouteTable,
    pub bound: BindingTable,
    /// `routes.keep`: the routes of a source are unknown if it did not respond for this time.
    pub keep: Duration,
    pub access: Access,
    pub scrapes: Scrapes,
    pub timeouts: ScrapeTimeouts,
    /// Respond with 200 and failure series if all instances failed.
    pub series_when_all_failed: bool,
    /// Id of this process in the header for loop detection.
    pub own_id: String,
    /// Scheme of `base_url`.
    pub scheme: &'static str,
    pub exporters: Exporters,
}

/// Path prefix of the API that supports text format 0.0.4 only.
const TEXT_ONLY: &str = "/v2/";

/// Adds the routes. Requires [`Apps`], [`pages::AppPages`] and the worker's [`ScrapeClient`] as app
/// data.
pub fn configure(config: &mut web::ServiceConfig) {
    for version in ["/v1/apps", "/v2/apps"] {
        config.service(super::read_only(&format!("{version}/{{rest:.*}}"), apps));
    }
    pages::configure(config);
}

async fn apps(
    request: HttpRequest,
    apps: web::Data<Apps>,
    client: web::Data<ScrapeClient>,
) -> Result<HttpResponse, AppsError> {
    let started = Instant::now();
    let rest = request.uri().path().splitn(4, '/').nth(3).unwrap_or_default();
    let via = via(request.headers(), &apps.own_id)?;
    let caller = apps.access.scraper(&request).await?;
    let app_request = AppRequest::parse(rest, request.query_string())?;
    if app_request.app_texts().any(|text| apps.access.is_own_credential(text.as_bytes())) {
        return Err(AppsError::OwnCredential);
    }
    let table = apps.table.snapshot();
    let found = apps.find(&caller, &table, &app_request.key)?;
    if app_request.view == View::Description {
        return Ok(HttpResponse::Ok().json(description::describe(
            &table,
            &found,
            |app| apps.binding_for(&caller, app),
            &apps.scrapes.history,
        )));
    }
    let requested_timeout = text(request.headers(), "x-prometheus-scrape-timeout-seconds");
    let mut scrape_request = ScrapeRequest {
        deadline: started + apps.timeouts.total(requested_timeout),
        negotiated: NegotiatedFormats::new(
            joined(request.headers(), &header::ACCEPT).as_deref(),
            request.uri().path().starts_with(TEXT_ONLY),
        ),
        metric_path: app_request.metric_path.clone(),
        query: app_request.forwarded.clone(),
        headers: apps.forwarded_headers(request.headers()),
        forwarded_for: forwarded_for(&request)
            .filter(|chain| !apps.access.is_own_credential(chain.as_bytes())),
        public_scheme: apps.scheme,
        via,
        series: match app_request.view {
            View::OnlyAppMetrics | View::Instance { only_app: true, .. } => OwnSeries::FailuresOnly,
            _ => OwnSeries::All,
        },
        scraper: Arc::new(scraper::scraped_by(&request, &caller, &apps.access)),
    };
    let plan = apps.select(&caller, &found, &scrape_request, &app_request)?;
    let known_formats = apps.scrapes.history.formats(&plan, &scrape_request.negotiated);
    scrape_request.negotiated = scrape_request.negotiated.choose(&known_formats);
    drop(found);
    drop(table);
    let answer = apps.scrapes.scrape(&client, plan, &scrape_request).await?;
    let gzip = accepts_gzip(text(request.headers(), "accept-encoding").unwrap_or(""));
    apps.respond(answer, &scrape_request.negotiated.content_type(), gzip)
}

impl Apps {
    /// The apps that `key` matches, as far as the caller sees them. Never empty.
    fn find<'a>(
        &self,
        caller: &Caller,
        table: &'a Snapshot,
        key: &'a AppKey,
    ) -> Result<Vec<Match<'a>>, AppsError> {
        let found = table.find(key);
        if found.is_empty() {
            return Err(self.unknown(table, key));
        }
        let visible_match = |one| visible(one, |app| caller.sees(app));
        let found: Vec<_> = found.into_iter().filter_map(visible_match).collect();
        if found.is_empty() {
            return Err(self.access.forbidden().into());
        }
        Ok(found)
    }

    fn unknown(&self, table: &Snapshot, key: &AppKey) -> AppsError {
        if !table.has_table() {
            return AppsError::NoTableYet(readiness::waiting_for(table));
        }
        let key = key.as_str();
        let unknown = readiness::unknown_for(table, self.keep, key);
        match unknown.is_empty() {
            true => AppsError::UnknownApp(key.to_owned()),
            false => AppsError::UnknownRoutes(key.to_owned(), readiness::keys(&unknown)),
        }
    }

    /// The scraper's headers for the app, without credentials of this installation. Multiple
    /// `Authorization` headers are dropped, because HTTP implementations disagree about the
    /// effective one.
    fn forwarded_headers(
        &self,
        headers: &HeaderMap,
    ) -> Vec<(header::HeaderName, header::HeaderValue)> {
        let is_single = headers.get_all(header::AUTHORIZATION).count() == 1;
        let drops_authorization = self.access.token_required() || !is_single;
        let mut forwarded = scrape::forwarded_headers(headers);
        forwarded.retain(|(name, value)| match *name == header::AUTHORIZATION {
            true => !drops_authorization && !self.access.is_own_authorization(value.as_bytes()),
            false => !self.access.is_own_credential(value.as_bytes()),
        });
        forwarded
    }

    /// The scrape settings of an app: those of its active binding. For a provisioned Prometheus
    /// they are those of the app's binding to that Prometheus.
    fn binding_for(&self, caller: &Caller, app: &str) -> Option<Arc<ActiveBinding>> {
        match caller {
            Caller::Token(Scope::PrometheusTargets(_, targets)) => {
                targets.binding_for(app).cloned()
            }
            _ => self.bound.binding_for(app),
        }
    }

    /// Selects instances, and also external exporters if all metrics of an app are requested.
    fn select(
        &self,
        caller: &Caller,
        found: &[Match<'_>],
        scrape_request: &ScrapeRequest,
        app_request: &AppRequest,
    ) -> Result<ScrapePlan, AppsError> {
        let mut plan = ScrapePlan::new(self.targets(caller, found, scrape_request, app_request)?);
        if app_request.view == View::Metrics {
            let apps = found.iter().map(|one| one.app);
            self.exporters.add_to(&mut plan, apps, self.scrapes.limits.exposition.max_samples);
        }
        Ok(plan)
    }

    fn targets(
        &self,
        caller: &Caller,
        found: &[Match<'_>],
        scrape_request: &ScrapeRequest,
        app_request: &AppRequest,
    ) -> Result<Vec<ScrapeTarget>, AppsError> {
        let mut targets = Vec::new();
        let mut selected_types = BTreeSet::new();
        for one in found {
            let bound = self.binding_for(caller, one.app.id.as_str());
            let unbound = ScrapeOptions::default();
            let options = bound.as_ref().map_or(&unbound, |bound| &bound.options);
            selected_types.extend(options.process_types.iter().cloned());
            let is_authorized = caller.is_authorized_for(one.app);
            let max_samples = self.scrapes.limits.exposition.max_samples;
            targets.extend(scrape::targets(
                one,
                options,
                scrape_request,
                is_authorized,
                max_samples,
            ));
        }
        if let View::Instance { selector, .. } = &app_request.view {
            return one_instance(targets, selector, app_request.process_type.as_deref());
        }
        if targets.is_empty() {
            let selected_types: Vec<_> = selected_types.into_iter().collect();
            return Err(AppsError::NothingBound(selected_types.join(", ")));
        }
        Ok(targets)
    }

    fn respond(
        &self,
        answer: ScrapeResponse,
        content_type: &str,
        gzip: bool,
    ) -> Result<HttpResponse, AppsError> {
        let instances = format!("{}/{}", answer.succeeded(), answer.instances);
        let all_failed = answer.succeeded() + answer.exporters_succeeded == 0;
        if all_failed && !self.series_when_all_failed {
            let status = if answer.all_failed_with(FailureReason::Status4xx) {
                // promfetcher responds with this status if no instance has this path.
                StatusCode::NOT_ACCEPTABLE
            } else if answer.all_failed_with(FailureReason::Timeout) {
                StatusCode::GATEWAY_TIMEOUT
            } else {
                StatusCode::BAD_GATEWAY
            };
            return Err(AppsError::NoneAnswered {
                status,
                failures: answer.failures,
                externals: answer.exporter_failures,
            });
        }
        for failure in &answer.exporter_failures {
            tracing::debug!(failure, "external exporter failed");
        }
        for one in &answer.failures {
            tracing::debug!(instance = one.name, failure = %one.failure, "instance failed");
        }
        let length = answer.merge.content_length();
        if length > self.scrapes.limits.max_response {
            return Err(AppsError::TooLarge { length, limit: self.scrapes.limits.max_response });
        }
        let mut response = HttpResponse::Ok();
        response
            .insert_header((header::CONTENT_TYPE, content_type))
            .insert_header((header::VARY, "Accept, Accept-Encoding"))
            .insert_header((INSTANCES, instances));
        Ok(if gzip {
            response
                .insert_header((header::CONTENT_ENCODING, "gzip"))
                .body(Gzip::new(answer.merge, answer.memory))
        } else {
            response.body(Plain::new(answer.merge, answer.memory))
        })
    }
}

/// Selects the instance with the requested address or index. An index refers to the requested
/// process type, else to `web`, else to the only process type.
fn one_instance(
    mut targets: Vec<ScrapeTarget>,
    selector: &InstanceSelector,
    process_type: Option<&str>,
) -> Result<Vec<ScrapeTarget>, AppsError> {
    let endpoints: Vec<_> = targets.iter().filter_map(ScrapeTarget::endpoint).collect();
    let types: BTreeSet<_> = endpoints.iter().map(|one| Arc::clone(&one.process_type)).collect();
    let process_type = match process_type {
        Some(process_type) => process_type,
        None if types.len() == 1 => types.first().map_or(DEFAULT_PROCESS_TYPE, |only| only),
        None => DEFAULT_PROCESS_TYPE,
    };
    let name = |endpoint: &Endpoint| {
        let index = endpoint.index.as_ref().map(ToString::to_string);
        format!("{}/{}", endpoint.process_type, index.unwrap_or_default())
    };
    let requested = match selector {
        InstanceSelector::Index(index) => format!("{process_type}/{index}"),
        InstanceSelector::Address(address) => address.to_string(),
    };
    let known: BTreeSet<_> = endpoints.iter().map(|one| name(one)).collect();
    let is_selected = |endpoint: &Endpoint| match selector {
        InstanceSelector::Index(_) => name(endpoint) == requested,
        InstanceSelector::Address(address) => endpoint.address == *address,
    };
    targets.retain(|target| target.endpoint().is_some_and(|one| is_selected(one)));
    // Two apps that share a route may both have an instance with this index.
    targets.truncate(1);
    if targets.is_empty() {
        let known: Vec<_> = known.into_iter().take(50).collect();
        return Err(AppsError::UnknownInstance(requested, known.join(", ")));
    }
    Ok(targets)
}

/// The ids of all Scrapebrokers that forwarded the request, including this one. Invalid ids are
/// removed.
fn via(headers: &HeaderMap, own_id: &str) -> Result<String, AppsError> {
    let before = text(headers, scrape::VIA).unwrap_or_default();
    let ids = before.split(',').map(str::trim).filter(|id| uuid::Uuid::try_parse(id).is_ok());
    let mut ids: Vec<_> = ids.collect();
    if ids.contains(&own_id) {
        return Err(AppsError::Loop);
    }
    ids.push(own_id);
    Ok(ids.join(", "))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// All values of a list header, joined.
fn joined(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}
