//! `/v1/apps/…` and `/v2/apps/…`: an app's metrics, and what is known of it.
//!
//! `/v2` is the same as `/v1`, but asks the instances for text format 0.0.4 only.

mod body;
mod description;
mod error;
mod request;

use crate::{
    broker::{BoundApps, InForce, Scope},
    discovery::{Match, RouteTable, Snapshot},
    domain::ScrapeOptions,
    http::{
        access::{Access, Caller, visible},
        disconnect,
        forwarded::forwarded_for,
        readiness,
    },
    scrape::{
        self, Exporters, FailureReason, MemoryBudget, NegotiatedFormats, OwnSeries, ScrapeClient,
        ScrapeHistory, ScrapeLimits, ScrapeMetrics, ScrapePlan, ScrapeRequest, ScrapeResponse,
        ScrapeTarget, ScrapeTimeouts, WEB,
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
use body::{Gzip, Plain, accepts_gzip};
use error::AppsError;
use request::{AppRequest, InstanceSelector, View};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Says how whole an answer is, as in `199/200`.
const INSTANCES: &str = "x-scrapebroker-instances";

/// What the handlers of this API need; one for all workers.
#[derive(Debug)]
pub struct Apps {
    /// Who exists.
    pub table: RouteTable,
    /// The bindings in force.
    pub bound: BoundApps,
    /// `routes.keep`: after this long without an answer, the routes of a source are not known.
    pub keep: Duration,
    /// Who may scrape what.
    pub access: Access,
    /// Bounds on one scrape.
    pub limits: ScrapeLimits,
    /// Bounds on its time.
    pub timeouts: ScrapeTimeouts,
    /// Answer 200 with failure series when no instance answered.
    pub series_when_all_failed: bool,
    /// Names this process in the header that finds loops.
    pub own_id: String,
    /// Scheme of `base_url`.
    pub scheme: &'static str,
    /// What scrapes count.
    pub metrics: Arc<ScrapeMetrics>,
    /// How the last scrapes went.
    pub last: Arc<ScrapeHistory>,
    /// Memory for the bodies of all scrapes.
    pub budget: MemoryBudget,
    /// Asked beside the instances of each app.
    pub exporters: Exporters,
}

/// The prefix below which instances are asked for text only.
const TEXT_ONLY: &str = "/v2/";

/// Adds the routes. Needs [`Apps`] and a [`ScrapeClient`] of the worker as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    for version in ["/v1/apps", "/v2/apps"] {
        config.service(super::read_only(&format!("{version}/{{rest:.*}}"), apps));
    }
}

async fn apps(
    request: HttpRequest,
    payload: web::Payload,
    apps: web::Data<Apps>,
    client: web::Data<ScrapeClient>,
) -> Result<HttpResponse, AppsError> {
    let version = request.version();
    let answer = answer(request, apps, client);
    disconnect::cancel_on_disconnect(version, payload, answer)
        .await
        .unwrap_or(Err(AppsError::ClientDisconnected))
}

async fn answer(
    request: HttpRequest,
    apps: web::Data<Apps>,
    client: web::Data<ScrapeClient>,
) -> Result<HttpResponse, AppsError> {
    let started = Instant::now();
    let rest = request.uri().path().splitn(4, '/').nth(3).unwrap_or_default();
    let via = via(request.headers(), &apps.own_id)?;
    let caller = apps.access.scraper(&request).await?;
    let asked = AppRequest::parse(rest, request.query_string())?;
    if asked.for_the_app().any(|text| apps.access.is_own_credential(text.as_bytes())) {
        return Err(AppsError::OwnCredential);
    }
    let table = apps.table.snapshot();
    let found = table.find(&asked.key);
    if found.is_empty() {
        return Err(apps.unknown(&table, &asked));
    }
    let seen = |one| visible(one, |app| caller.sees(app));
    let found: Vec<_> = found.into_iter().filter_map(seen).collect();
    if found.is_empty() {
        return Err(apps.access.not_yours().into());
    }
    if asked.view == View::Description {
        return Ok(HttpResponse::Ok().json(description::describe(
            &table,
            &found,
            |app| apps.options_of(&caller, app),
            &apps.last,
        )));
    }
    let announced = text(request.headers(), "x-prometheus-scrape-timeout-seconds");
    let mut ask = ScrapeRequest {
        deadline: started + apps.timeouts.total(announced),
        negotiated: NegotiatedFormats::new(
            joined(request.headers(), &header::ACCEPT).as_deref(),
            request.uri().path().starts_with(TEXT_ONLY),
        ),
        metric_path: asked.metric_path.clone(),
        query: asked.others.clone(),
        headers: apps.passed_on(request.headers()),
        forwarded_for: forwarded_for(&request)
            .filter(|chain| !apps.access.is_own_credential(chain.as_bytes())),
        public_scheme: apps.scheme,
        via,
        series: match asked.view {
            View::OnlyAppMetrics | View::Instance { only_app: true, .. } => OwnSeries::FailuresOnly,
            _ => OwnSeries::All,
        },
    };
    let wanted = apps.wanted(&caller, &found, &ask, &asked)?;
    let spoken = apps.last.formats(&wanted, &ask.negotiated);
    ask.negotiated = ask.negotiated.choose(&spoken);
    drop(found);
    drop(table);
    let answer = scrape::scrape(
        &client,
        wanted,
        &ask,
        &apps.limits,
        &apps.metrics,
        &apps.last,
        &apps.budget,
    )
    .await?;
    let gzip = accepts_gzip(text(request.headers(), "accept-encoding").unwrap_or(""));
    apps.respond(answer, &ask.negotiated.content_type(), gzip)
}

impl Apps {
    fn unknown(&self, table: &Snapshot, asked: &AppRequest) -> AppsError {
        if !table.has_table() {
            return AppsError::NoTableYet(readiness::waiting_for(table));
        }
        let key = asked.key.as_str();
        let unknown = readiness::unknown_for(table, self.keep, key);
        match unknown.is_empty() {
            true => AppsError::UnknownApp(key.to_owned()),
            false => AppsError::UnknownRoutes(key.to_owned(), readiness::keys(&unknown)),
        }
    }

    /// The scraper's headers for the app. What it shows to us stays here. So do
    /// several `Authorization` headers: readers disagree which of them counts.
    fn passed_on(&self, headers: &HeaderMap) -> Vec<(header::HeaderName, header::HeaderValue)> {
        let is_single = headers.get_all(header::AUTHORIZATION).count() == 1;
        let is_for_us = self.access.token_required() || !is_single;
        let mut passed = scrape::forwarded_headers(headers);
        passed.retain(|(name, value)| match *name == header::AUTHORIZATION {
            true => !is_for_us && !self.access.is_own_authorization(value.as_bytes()),
            false => !self.access.is_own_credential(value.as_bytes()),
        });
        passed
    }

    /// How an app is scraped: by the binding in force, but by a Prometheus of ours
    /// as the app is bound to that.
    fn options_of(&self, caller: &Caller, app: &str) -> Option<Arc<InForce>> {
        match caller {
            Caller::Token(Scope::PrometheusTargets(_, targets)) => targets.options_of(app).cloned(),
            _ => self.bound.options_of(app),
        }
    }

    /// Instances, and with all of an app's metrics the external exporters.
    fn wanted(
        &self,
        caller: &Caller,
        found: &[Match<'_>],
        ask: &ScrapeRequest,
        asked: &AppRequest,
    ) -> Result<ScrapePlan, AppsError> {
        let instances = self.targets(caller, found, ask, asked)?;
        let externals = match &asked.view {
            View::Metrics => {
                let apps = found.iter().map(|one| one.app);
                self.exporters.targets_for(apps, self.limits.exposition.max_samples)
            }
            _ => self.exporters.no_targets(),
        };
        Ok(ScrapePlan { instances, externals })
    }

    fn targets(
        &self,
        caller: &Caller,
        found: &[Match<'_>],
        ask: &ScrapeRequest,
        asked: &AppRequest,
    ) -> Result<Vec<ScrapeTarget>, AppsError> {
        let mut targets = Vec::new();
        let mut wanted = BTreeSet::new();
        for one in found {
            let bound = self.options_of(caller, one.app.id.as_str());
            let unbound = ScrapeOptions::default();
            let options = bound.as_ref().map_or(&unbound, |bound| &bound.options);
            wanted.extend(options.process_types.iter().cloned());
            let is_authorized = caller.is_authorized_for(one.app);
            let max_samples = self.limits.exposition.max_samples;
            targets.extend(scrape::targets(one, options, ask, is_authorized, max_samples));
        }
        if let View::Instance { selector, .. } = &asked.view {
            return one_instance(targets, selector, asked.process_type.as_deref());
        }
        if targets.is_empty() {
            let wanted: Vec<_> = wanted.into_iter().collect();
            return Err(AppsError::NothingBound(wanted.join(", ")));
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
        let none_answered = answer.succeeded() + answer.exporters_succeeded == 0;
        if none_answered && !self.series_when_all_failed {
            let status = if answer.all_failed_with(FailureReason::Status4xx) {
                // promfetcher's word for "none of them has this path".
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
        if length > self.limits.max_response {
            return Err(AppsError::TooLarge { length, limit: self.limits.max_response });
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

/// The instance at an address; or with an index of the process type asked for,
/// else of `web`, else of the only type there is.
fn one_instance(
    mut targets: Vec<ScrapeTarget>,
    selector: &InstanceSelector,
    process_type: Option<&str>,
) -> Result<Vec<ScrapeTarget>, AppsError> {
    let types: BTreeSet<_> = targets.iter().map(|t| Arc::clone(&t.endpoint.process_type)).collect();
    let process_type = match process_type {
        Some(process_type) => process_type,
        None if types.len() == 1 => types.first().map_or(WEB, |only| only),
        None => WEB,
    };
    let name = |target: &ScrapeTarget| {
        let index = target.endpoint.index.as_ref().map(ToString::to_string);
        format!("{}/{}", target.endpoint.process_type, index.unwrap_or_default())
    };
    let wanted = match selector {
        InstanceSelector::Index(index) => format!("{process_type}/{index}"),
        InstanceSelector::Address(address) => address.to_string(),
    };
    let known: BTreeSet<_> = targets.iter().map(name).collect();
    targets.retain(|target| match selector {
        InstanceSelector::Index(_) => name(target) == wanted,
        InstanceSelector::Address(address) => target.endpoint.address == *address,
    });
    // A route shared by two apps may have the index twice; one is one.
    targets.truncate(1);
    if targets.is_empty() {
        let known: Vec<_> = known.into_iter().take(50).collect();
        return Err(AppsError::UnknownInstance(wanted, known.join(", ")));
    }
    Ok(targets)
}

/// The chain of Scrapebrokers with ours at its end. What is no id of one is left out.
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

/// All values of a header that is a list, as one.
fn joined(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}
