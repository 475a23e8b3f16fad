//! A span and an access log line for each request.

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::HeaderMap,
};
use std::{
    borrow::Cow,
    time::{Duration, Instant},
};
use tracing::Span;
use tracing_actix_web::{RequestId, RootSpanBuilder};

/// Creates the span of a request for `TracingLogger`, and writes the access log line when the
/// response head is ready. The level is `info`, `debug` for health checks, and `error` for status
/// 500.
///
/// The span has the fields `method`, `path`, `peer`, `request_id` (Scrapebroker's id) and
/// `platform_request_id` (the router's id). The line adds `status` and `latency_ms`.
#[derive(Clone, Copy, Debug)]
pub struct RequestSpan;

/// Query parameters whose values are logged. Values of other parameters may be API keys, so only
/// their names are logged.
const LOGGED_PARAMETERS: [&str; 2] = ["app", "route_url"];

/// The start of each access token.
const TOKEN_PREFIX: &str = "sbt_";

/// Maximum length of a logged path, in characters.
const MAX_PATH: usize = 512;

/// Start time of the request.
struct Started(Instant);

/// The router's request id. gorouter sets the first header, other routers the second.
fn platform_request_id(headers: &HeaderMap) -> Option<&str> {
    let id =
        ["x-vcap-request-id", "x-request-id"].into_iter().find_map(|name| headers.get(name))?;
    id.to_str().ok().filter(|id| !id.is_empty() && id.len() <= 128)
}

/// The path, and the query without values that may be secrets.
pub(super) fn shown(path: &str, query: &str) -> String {
    let mut shown = shown_path(path);
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_logged = LOGGED_PARAMETERS.contains(&name);
        let value = if is_logged { without_tokens(value) } else { "…".into() };
        shown.push(separator);
        let name = without_tokens(name);
        shown.extend(name.chars().chain(['=']).chain(value.chars()).take(MAX_PATH));
        if shown.len() > 2 * MAX_PATH {
            break;
        }
        separator = '&';
    }
    shown
}

fn shown_path(path: &str) -> String {
    without_tokens(path).chars().take(MAX_PATH).collect()
}

/// Replaces access tokens. People paste them where the name of an app belongs.
fn without_tokens(text: &str) -> Cow<'_, str> {
    let mut parts = text.split(TOKEN_PREFIX);
    let (Some(start), Some(first)) = (parts.next(), parts.next()) else { return text.into() };
    let mut shown = start.to_owned();
    for part in std::iter::once(first).chain(parts) {
        let end = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-".contains(c));
        shown.extend([TOKEN_PREFIX, "…", end]);
    }
    shown.into()
}

/// Milliseconds, rounded to one decimal place.
pub(super) fn rounded_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

fn is_health_check(path: &str) -> bool {
    matches!(path, "/-/healthy" | "/-/ready" | "/health" | "/healthz")
}

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        request.extensions_mut().insert(Started(Instant::now()));
        let request_id = request.extensions().get::<RequestId>().copied();
        // At the highest level, so that all log lines contain the ids.
        tracing::error_span!(
            "request",
            method = %request.method(),
            path = shown(request.path(), request.query_string()),
            peer = request.peer_addr().map(tracing::field::display),
            request_id = request_id.map(tracing::field::display),
            platform_request_id = platform_request_id(request.headers()),
        )
    }

    fn on_request_end<B: MessageBody>(_: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let response = match outcome {
            Ok(response) => response,
            Err(error) => {
                let status = error.as_response_error().status_code().as_u16();
                return tracing::error!(status, %error, "no answer");
            }
        };
        let request = response.request();
        let started = request.extensions().get::<Started>().map(|started| started.0);
        let latency_ms = started.map(|at| rounded_ms(at.elapsed()));
        let status = response.status().as_u16();
        let (method, path) = (request.method(), request.path());
        let path = shown_path(path);
        if is_health_check(&path) {
            tracing::debug!(status, latency_ms, "{method} {path}: {status}");
        } else if status == 500 {
            // Only status 500 indicates a bug in Scrapebroker.
            let error = response.response().error().map(tracing::field::display);
            tracing::error!(status, latency_ms, error, "{method} {path}: {status}");
        } else {
            tracing::info!(status, latency_ms, "{method} {path}: {status}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_query_values_that_select_an_app_are_logged() {
        let cases = [
            ("/metrics", "", "/metrics"),
            ("/v1/apps/metrics", "app=o/s/a&token=hunter2", "/v1/apps/metrics?app=o/s/a&token=…"),
            (
                "/x",
                "hunter2=&route_url=a.b%2Fc&&metric_path=/m%3Fkey=1",
                "/x?hunter2=…&route_url=a.b%2Fc&metric_path=…",
            ),
            (
                "/v1/apps/sbt_dhh_A-9/sbt_x/metrics",
                "app=o/sbt_secret/a&sbt_secret&route_url=sbt_secret%2Fa",
                "/v1/apps/sbt_…/sbt_…/metrics?app=o/sbt_…/a&sbt_…=…&route_url=sbt_…%2Fa",
            ),
        ];
        for (path, query, expected) in cases {
            assert_eq!(shown(path, query), expected, "{path}?{query}");
        }
    }

    #[test]
    fn a_latency_is_rounded() {
        assert_eq!(rounded_ms(Duration::from_nanos(123_456)).to_string(), "0.1");
        assert_eq!(rounded_ms(Duration::from_micros(1_250_060)).to_string(), "1250.1");
    }

    #[test]
    fn long_paths_are_truncated() {
        let long = "x".repeat(1 << 16);
        let query = format!("app={long}&route_url={long}&{}", "y=1&".repeat(1 << 14));
        assert!(shown(&long, &query).len() <= 5 * MAX_PATH);
    }

    #[test]
    fn the_request_id_of_the_router_is_read_from_two_headers() {
        let id = |name: &str, value: &str| {
            let request = actix_web::test::TestRequest::default().insert_header((name, value));
            platform_request_id(request.to_srv_request().headers()).map(str::to_owned)
        };
        assert_eq!(id("X-Vcap-Request-Id", "abc").as_deref(), Some("abc"));
        assert_eq!(id("X-Request-Id", "abc").as_deref(), Some("abc"));
        assert_eq!(id("X-Request-Id", &"x".repeat(129)), None);
        assert_eq!(id("X-Request-Id", "\u{fc}"), None);
        assert_eq!(id("X-Other", "abc"), None);
    }
}
