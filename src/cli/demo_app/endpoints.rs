//! What an instance answers: its pages, its health and its metrics.

use super::{
    Options,
    metrics::{self, HANDLERS, HandlerLabel, Metrics, RequestLabels, TraceLabel},
    render::render,
};
use crate::{domain::BasicAuth, http::Accepted};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
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

    /// Counts a request to one of [`HANDLERS`].
    fn count(&self, request: &HttpRequest, handler: &'static str, duration: Duration) {
        let Metrics { requests, request_duration, .. } = &self.metrics;
        let method = match *request.method() {
            Method::HEAD => metrics::Method::HEAD,
            _ => metrics::Method::GET,
        };
        let trace = trace_id(request.headers().get("traceparent"));
        let trace = trace.map(|trace_id| TraceLabel { trace_id });
        let now = Some(SystemTime::now());
        let labels = RequestLabels { method, handler };
        requests.get_or_create(&labels).inc_by(1, trace.clone(), now);
        let duration_of = request_duration.get_or_create(&HandlerLabel { handler });
        duration_of.observe(duration.as_secs_f64(), trace, now);
    }
}

pub(super) async fn respond(request: HttpRequest, instance: web::Data<Instance>) -> HttpResponse {
    let started = Instant::now();
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return HttpResponse::MethodNotAllowed()
            .insert_header((header::ALLOW, "GET, HEAD"))
            .finish();
    }
    if request.path() == instance.metrics_path() {
        return serve_metrics(&request, &instance);
    }
    if request.path() == "/health" {
        return HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n");
    }
    match HANDLERS.into_iter().find(|handler| *handler == request.path()) {
        Some(handler) => {
            let page = page(&instance);
            instance.count(&request, handler, started.elapsed());
            page
        }
        None => HttpResponse::NotFound().body("There is nothing here; go to /\n"),
    }
}

/// The trace of a request by its header `traceparent` (W3C Trace Context, version 00), or a new one
/// if it is missing or invalid. `None` if the trace is not sampled: it could not be opened.
fn trace_id(traceparent: Option<&HeaderValue>) -> Option<String> {
    let Some((id, flags)) = traceparent.and_then(trace_and_flags) else {
        return Some(format!("{:032x}", fastrand::u128(1..)));
    };
    (flags & SAMPLED != 0).then(|| id.to_owned())
}

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

fn trace_and_flags(traceparent: &HeaderValue) -> Option<(&str, u8)> {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = traceparent.to_str().ok()?.split('-');
    let (_version, id, _parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_id = id.len() == 32 && is_hex(id) && id.bytes().any(|byte| byte != b'0');
    let is_valid = is_id && flags.len() == 2 && is_hex(flags);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    is_valid.then_some((id, flags))
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
         <a href=\"/path2\">/path2</a> is counted.</p>\
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
    fn exemplars_have_the_sampled_trace_of_the_request() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let of = |text: &str| trace_id(Some(&HeaderValue::from_str(text).unwrap()));
        assert_eq!(of(&format!("00-{trace}-b7ad6b7169203331-01")), Some(trace.to_owned()));
        assert_eq!(of(&format!("00-{trace}-b7ad6b7169203331-03")), Some(trace.to_owned()));
        assert_eq!(of(&format!("00-{trace}-b7ad6b7169203331-00")), None);
        let zeros = "0".repeat(32);
        for invalid in [
            String::new(),
            trace.to_owned(),
            format!("00-{trace}-b7ad6b7169203331"),
            format!("00-{trace}-b7ad6b7169203331-1"),
            format!("00-{}-b7ad6b7169203331-01", trace.to_uppercase()),
            format!("00-{zeros}-b7ad6b7169203331-01"),
        ] {
            let new = of(&invalid).unwrap();
            assert!(new.len() == 32 && new != trace && new != zeros, "{invalid:?}: {new}");
        }
        assert_ne!(trace_id(None), trace_id(None));
    }
}
