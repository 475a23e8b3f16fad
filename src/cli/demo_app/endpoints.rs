//! What an instance answers: its pages, its health and its metrics.

use super::{
    Options,
    metrics::{self, HANDLERS, HandlerLabel, Metrics, OTHER, RequestLabels, TraceLabel},
    render::render,
    workload::page_seconds,
};
use crate::{domain::BasicAuth, http::Accepted};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
    web,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};
use secrecy::ExposeSecret;
use std::time::{Duration, Instant, SystemTime};

/// Shared by all workers of the server.
pub(super) struct Instance {
    pub(super) options: Options,
    pub(super) metrics: Metrics,
}

impl Instance {
    fn metrics_path(&self) -> &str {
        self.options.path.without_query()
    }

    fn may_read(&self, request: &HttpRequest) -> bool {
        let Some(BasicAuth { username, password }) = &self.options.basic_auth else { return true };
        let expected = format!("{username}:{}", password.expose_secret());
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| {
            let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
            let is_basic = scheme.eq_ignore_ascii_case("basic");
            is_basic.then(|| STANDARD.decode(credentials.trim()).ok())?
        });
        // Digests are compared, so that the duration reveals nothing about the password.
        let hash = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
        given.is_some_and(|given| hash(&given) == hash(expected.as_bytes()))
    }

    /// Counts a request that is neither for the metrics nor for the health.
    fn count(&self, request: &HttpRequest, handler: &'static str, code: StatusCode) {
        let method = match *request.method() {
            Method::GET => metrics::Method::GET,
            Method::HEAD => metrics::Method::HEAD,
            _ => metrics::Method::other,
        };
        let labels = RequestLabels { method, handler, code: code.as_u16() };
        let requests = self.metrics.requests.get_or_create(&labels);
        requests.inc_by(1, trace(request), Some(SystemTime::now()));
    }

    /// Does the work of a page. Its duration includes the work only: pages that are not found would
    /// hide how slow the others are.
    async fn visit(&self, request: &HttpRequest, handler: &'static str) -> HttpResponse {
        let started = Instant::now();
        tokio::time::sleep(Duration::from_secs_f64(page_seconds(fastrand::f64()))).await;
        let page = page(self);
        let duration = self.metrics.request_duration.get_or_create(&HandlerLabel { handler });
        let seconds = started.elapsed().as_secs_f64();
        duration.observe(seconds, trace(request), Some(SystemTime::now()));
        page
    }
}

pub(super) async fn respond(request: HttpRequest, instance: web::Data<Instance>) -> HttpResponse {
    let path = request.path();
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    if is_read && path == instance.metrics_path() {
        return serve_metrics(&request, &instance);
    }
    if is_read && path == "/health" {
        return HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n");
    }
    let handler = HANDLERS.into_iter().find(|handler| *handler == path);
    let response = match handler {
        _ if !is_read => {
            HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "GET, HEAD")).finish()
        }
        Some(handler) => instance.visit(&request, handler).await,
        None => HttpResponse::NotFound().body("There is nothing here; go to /\n"),
    };
    instance.count(&request, handler.unwrap_or(OTHER), response.status());
    response
}

/// The exemplar of a request, if its header `traceparent` has a trace that is sampled. Another trace
/// could not be opened.
fn trace(request: &HttpRequest) -> Option<TraceLabel> {
    let trace_id = sampled_trace(request.headers().get("traceparent")?)?.to_owned();
    Some(TraceLabel { trace_id })
}

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// Reads the trace id of a valid header `traceparent` (W3C Trace Context).
fn sampled_trace(traceparent: &HeaderValue) -> Option<&str> {
    let parts: Vec<_> = traceparent.to_str().ok()?.split('-').collect();
    let [version, trace, parent, flags, more @ ..] = parts.as_slice() else { return None };
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |text: &str, length| {
        text.len() == length && is_hex(text) && text.bytes().any(|byte| byte != b'0')
    };
    let is_byte = |text: &str| text.len() == 2 && is_hex(text);
    // Later versions may append parts. Version ff is forbidden.
    let is_version = is_byte(version) && *version != "ff" && (*version != "00" || more.is_empty());
    let is_valid = is_version && is_id(trace, 32) && is_id(parent, 16) && is_byte(flags);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (is_valid && flags & SAMPLED != 0).then_some(trace)
}

fn serve_metrics(request: &HttpRequest, instance: &Instance) -> HttpResponse {
    if !instance.may_read(request) {
        let challenge = (header::WWW_AUTHENTICATE, "Basic realm=\"metrics\", charset=\"UTF-8\"");
        return HttpResponse::Unauthorized()
            .insert_header(challenge)
            .body("Credentials are required.\n");
    }
    if instance.options.fails_on_purpose {
        return HttpResponse::InternalServerError()
            .content_type("text/plain; charset=utf-8")
            .body("This instance fails on purpose, to show a failed scrape.\n");
    }
    // A scraper that accepts no known format gets text 0.0.4. It is never refused with 406.
    let accepted = Accepted::by(request.headers());
    match render(&instance.metrics, accepted) {
        Ok(body) => accepted.response().body(body),
        Err(error) => HttpResponse::InternalServerError()
            .content_type("text/plain; charset=utf-8")
            .body(format!("The metrics cannot be written: {error:#}\n")),
    }
}

fn page(instance: &Instance) -> HttpResponse {
    let (index, path) = (instance.options.index, instance.metrics_path());
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Demo app</title>\
         <h1>Demo app, instance {index}</h1>\
         <p>Each visit of <a href=\"/\">/</a>, <a href=\"/path1\">/path1</a> and \
         <a href=\"/path2\">/path2</a> is counted, and takes 2 to 200 ms.</p>\
         <ul><li><a href=\"{path}\">Metrics</a> at {path}: counters, gauges, histograms, a summary, \
         a state set and an info, in all formats of Prometheus</li>\
         <li><a href=\"/health\">Health</a></li></ul>\
         <p>Scrapebroker {version}</p></html>\n",
        version = env!("CARGO_PKG_VERSION"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemplars_have_the_sampled_trace_of_a_valid_header() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let parent = "b7ad6b7169203331";
        let of = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            sampled_trace(&value).map(str::to_owned)
        };
        for valid in [
            format!("00-{trace}-{parent}-01"),
            format!("00-{trace}-{parent}-03"),
            format!("01-{trace}-{parent}-01"),
            format!("cc-{trace}-{parent}-01-what-the-future-brings"),
        ] {
            assert_eq!(of(&valid).as_deref(), Some(trace), "{valid}");
        }
        let (no_trace, no_parent) = ("0".repeat(32), "0".repeat(16));
        for unusable in [
            // Not sampled.
            format!("00-{trace}-{parent}-00"),
            format!("00-{trace}-{parent}-02"),
            // Invalid.
            String::new(),
            trace.to_owned(),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-1"),
            format!("00-{trace}-{parent}-+1"),
            format!("00-{trace}-{parent}-01-more"),
            format!("00-{trace}-{no_parent}-01"),
            format!("00-{trace}-{}-01", &parent[1..]),
            format!("00-{no_trace}-{parent}-01"),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("ff-{trace}-{parent}-01"),
            format!("0-{trace}-{parent}-01"),
        ] {
            assert_eq!(of(&unusable), None, "{unusable:?}");
        }
    }
}
