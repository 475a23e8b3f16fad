//! `POST /apps/{app}/scrape`: scrapes all instances for the page of the app.

use super::visible_app;
use crate::{
    domain::{App, AppGuid},
    http::{
        access::Caller,
        apps::{
            Apps, AppsError,
            request::{AppRequest, View},
            scraper,
        },
    },
    scrape::{NegotiatedFormats, OwnSeries, ScrapeClient, ScrapePlan, ScrapeRequest, ScraperRole},
};
use actix_web::HttpRequest;
use std::sync::Arc;
use tokio::time::Instant;

/// The `Accept` header of Prometheus 3 without native histograms, so that instances and the merge
/// have the usual formats.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,\
    text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

/// Scrapes the app. The history of scrapes has the result; the merged metrics are dropped.
pub(super) async fn run(
    request: &HttpRequest,
    apps: &Apps,
    client: &ScrapeClient,
    caller: &Caller,
    id: &AppGuid,
) -> Result<(), AppsError> {
    let (_, plan, scrape_request) = plan(request, apps, caller, id)?;
    apps.scrapes.scrape(client, plan, &scrape_request).await?;
    Ok(())
}

/// Plans a scrape of all instances without external exporters, in the format that Prometheus would
/// get.
pub(super) fn plan(
    request: &HttpRequest,
    apps: &Apps,
    caller: &Caller,
    id: &AppGuid,
) -> Result<(Arc<App>, ScrapePlan, ScrapeRequest), AppsError> {
    let mut scrape_request = scrape_request(request, apps, caller)?;
    let table = apps.table.snapshot();
    let found = visible_app(caller, &table, id);
    let found = found.ok_or_else(|| AppsError::UnknownApp(id.as_str().to_owned()))?;
    let app = Arc::clone(found.app);
    let app_request = AppRequest::of_app(id, View::OnlyAppMetrics);
    let plan = apps.select(caller, &[found], &scrape_request, &app_request)?;
    let known_formats = apps.scrapes.history.formats(&plan, &scrape_request.negotiated);
    scrape_request.negotiated = scrape_request.negotiated.choose(&known_formats);
    Ok((app, plan, scrape_request))
}

/// The parameters of a scrape for a page. Headers of the browser are not sent to apps.
fn scrape_request(
    request: &HttpRequest,
    apps: &Apps,
    caller: &Caller,
) -> Result<ScrapeRequest, AppsError> {
    let mut scraper = scraper::scraped_by(request, caller, &apps.access);
    scraper.role = ScraperRole::Page;
    Ok(ScrapeRequest {
        deadline: Instant::now() + apps.timeouts.total(None),
        negotiated: NegotiatedFormats::new(Some(ACCEPT), false),
        metric_path: None,
        query: Vec::new(),
        headers: Vec::new(),
        forwarded_for: None,
        public_scheme: apps.scheme,
        via: super::via(request.headers(), &apps.own_id)?,
        series: OwnSeries::FailuresOnly,
        scraper: Arc::new(scraper),
    })
}
