//! `GET /metrics` of the events listener, and `GET /v1/events/metrics`.

use super::{EventsError, EventsState, is_browser, memory::ReservedBody, parameters};
use crate::{
    events::{Exposition, ScrapeConnection, ScrapeRequest, Timestamps},
    http::exposition_body::Accepted,
    telemetry::running::Use,
};
use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{
        Method, Version,
        header::{self, HeaderMap},
    },
    web,
};
use exposition::Format;
use std::time::Duration;
use tokio::time::Instant;

/// The timeout of a scraper that announces none: Prometheus' default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const MIN_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) async fn metrics(request: HttpRequest, state: web::Data<EventsState>) -> HttpResponse {
    scrape(&request, &state).await.unwrap_or_else(|error| error.respond(&request))
}

/// The parameters of a scrape.
#[derive(Debug, Default)]
struct ScrapeQuery {
    scraper: Option<String>,
    limit: Option<usize>,
    counters: Option<bool>,
    is_peek: bool,
}

async fn scrape(request: &HttpRequest, state: &EventsState) -> Result<HttpResponse, EventsError> {
    let arrived = Instant::now();
    let caller = state.scraper(request).await?;
    let query = ScrapeQuery::parse(request.query_string())?;
    let settings = state.events.settings(caller.queue);
    let (max, counters) =
        (settings.max_scrape_samples, query.counters.unwrap_or(settings.counters));
    let limit = query.limit.unwrap_or(max).min(max);
    let only_looks = query.is_peek || *request.method() == Method::HEAD || is_browser(request);
    let exposition = if only_looks {
        state.events.peek(caller.queue, limit, counters).await?
    } else {
        let has_evidence = request.version() <= Version::HTTP_11;
        // Requests of HTTP/2 share a connection, so its later use says nothing about this one.
        if !has_evidence && settings.timestamps == Timestamps::Scrape {
            return Err(EventsError::Http2);
        }
        let principal = caller.principal.as_deref();
        let scraper = state.identity.name(request, query.scraper.as_deref(), principal)?;
        let is_draining = state.lifecycle.is_draining();
        let (queue, connection) = (caller.queue, connection(request, arrived));
        let scrape = ScrapeRequest {
            queue,
            scraper,
            limit,
            counters,
            connection,
            has_evidence,
            is_draining,
        };
        state.events.scrape(scrape).await?
    };
    respond(request.headers(), exposition, state)
}

impl ScrapeQuery {
    fn parse(text: &str) -> Result<Self, EventsError> {
        let mut query = Self::default();
        for (name, value) in parameters::pairs(text.as_bytes())? {
            match &*name {
                "scraper" => query.scraper = Some(value),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| *limit > 0);
                    let problem = || "is not a number of at least 1".to_owned();
                    query.limit = Some(limit.ok_or_else(|| wrong("limit", problem()))?);
                }
                "counters" => {
                    let flag = value.parse();
                    let problem = |_| wrong("counters", "is neither true nor false".to_owned());
                    query.counters = Some(flag.map_err(problem)?);
                }
                "peek" => query.is_peek = true,
                // Prometheus sends the `params` of its scrape configuration.
                _ => {}
            }
        }
        Ok(query)
    }
}

fn wrong(name: &'static str, problem: String) -> EventsError {
    EventsError::Query { name, problem }
}

fn connection(request: &HttpRequest, arrived: Instant) -> ScrapeConnection {
    let in_use = request.extensions().get::<Use>().cloned().unwrap_or_default();
    ScrapeConnection::new(in_use, arrived + timeout(request.headers()))
}

/// The scraper's own timeout: after it the scraper has closed its connection, or has read the
/// response.
fn timeout(headers: &HeaderMap) -> Duration {
    let announced = headers.get("x-prometheus-scrape-timeout-seconds");
    let seconds = announced.and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    timeout.unwrap_or(DEFAULT_TIMEOUT).clamp(MIN_TIMEOUT, MAX_TIMEOUT)
}

/// The response has a length, so that a scraper never takes a part of it for the whole.
fn respond(
    headers: &HeaderMap,
    exposition: Exposition,
    state: &EventsState,
) -> Result<HttpResponse, EventsError> {
    let accepted = Accepted::by(headers);
    let bytes = accepted.convert([(exposition.text, Format::Text004)]);
    let bytes = bytes.map_err(|error| EventsError::Render(error.to_string()))?;
    let mut response = accepted.response();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.body(ReservedBody::new(bytes, &state.memory)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn the_timeout_is_that_of_the_scraper_within_limits() {
        for (announced, expected) in [
            (Some("0.9"), 900),
            (Some("1e-9"), 100),
            (Some("1e300"), 10_000),
            (Some("999"), 120_000),
            (Some("-1"), 10_000),
            (Some("NaN"), 10_000),
            (Some("x"), 10_000),
            (None, 10_000),
        ] {
            let mut request = TestRequest::default();
            if let Some(seconds) = announced {
                request = request.append_header(("X-Prometheus-Scrape-Timeout-Seconds", seconds));
            }
            let found = timeout(request.to_http_request().headers());
            assert_eq!(found, Duration::from_millis(expected), "{announced:?}");
        }
    }
}
