//! `/prometheus/{instance}/…`: the read API of a provisioned Prometheus, and its page.
//!
//! ```text
//! credentials ─► instance ─► allowed endpoint ─► query::Client ─► streamed response
//! ```
//!
//! Credentials are checked first, so that unauthenticated clients cannot find out which instances
//! exist.

mod error;
mod page;
mod state;
mod target;

use crate::{
    broker::{BindingTable, Broker, PrometheusSnapshot},
    discovery::RouteTable,
    domain::{
        BaseUrl,
        prometheus::{Period, segment},
    },
    http::{access::Access, browser::PROMETHEUS_PAGES, disconnect, forwarded::forwarded_for},
    query::{PrometheusClient, QueryRequest, QueryResponse, ReadEndpoint, Upstream},
    scrape::ScrapeHistory,
};
use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, MessageBody, SizedStream},
    http::{
        Method,
        header::{self, HeaderMap, HeaderValue},
    },
    web::{self, Bytes, BytesMut},
};
use error::{Problem, PrometheusError};
use futures_util::StreamExt;
pub(super) use page::explain;
use percent_encoding::percent_decode_str;
pub use state::state;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use target::Target;
use tokio::time::timeout;

/// A stream of notifications that never ends, for the pages of Prometheus 3. A server with too many
/// subscribers responds with 204. Then the pages poll `notifications` every few seconds.
const NOTIFICATIONS_LIVE: &str = "/api/v1/notifications/live";
/// Maximum size of a form in bytes. Queries of Grafana can have many kilobytes.
const MAX_FORM_BYTES: usize = 1 << 20;
const FORM_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum timeout of a query: Prometheus' default.
const MAX_QUERY_TIMEOUT: Duration = Duration::from_secs(120);
/// Added to the timeout of a query, so that Prometheus itself reports the timeout.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(5);

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
}

/// Adds the routes. Requires [`Prometheus`] and the worker's [`PrometheusClient`] as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config.route("/prometheus/{rest:.*}", web::route().to(handle));
}

impl Prometheus {
    /// The instance with this path segment.
    fn find(&self, name: &str) -> Option<Arc<PrometheusSnapshot>> {
        self.bound.prometheus(name).or_else(|| {
            let all = self.bound.all_prometheus();
            all.iter().find(|(id, _)| segment(id) == name).map(|(_, it)| Arc::clone(it))
        })
    }
}

/// The upstream of a provisioned Prometheus.
pub fn upstream(base_url: &BaseUrl, prometheus: &PrometheusSnapshot) -> Upstream {
    let url = format!("{base_url}/prometheus/{}", segment(&prometheus.instance_id));
    Upstream::of_replicas(url, &prometheus.replicas, &prometheus.web_password)
}

async fn handle(
    request: HttpRequest,
    mut payload: web::Payload,
    state: web::Data<Prometheus>,
    client: web::Data<PrometheusClient>,
) -> HttpResponse {
    let target = Target::of(request.uri().path());
    let answered = async {
        let Some(target) = &target else { return Err(Problem::Unknown) };
        let prometheus = authorize(&request, target, &state).await?;
        match target.rest {
            "" => return Ok(redirect_to_page(target)),
            "/" => {
                only_read(request.method())?;
                let work = page::show(&state, &client, &prometheus);
                return until_disconnect(&request, payload, work).await;
            }
            NOTIFICATIONS_LIVE => {
                only_read(request.method())?;
                return Ok(HttpResponse::NoContent().finish());
            }
            _ => {}
        }
        let read = ReadEndpoint::find(target.rest).ok_or(Problem::NotForwarded)?;
        let form = match *request.method() {
            Method::GET | Method::HEAD => None,
            Method::POST if read.takes_form() => Some(form(&request, &mut payload).await?),
            _ => return Err(Problem::Method(read.methods())),
        };
        let upstream = upstream(&state.base_url, &prometheus);
        let work = forward(&request, &client, &state.access, &upstream, &read, form);
        until_disconnect(&request, payload, work).await
    };
    let is_api = target.as_ref().is_some_and(|target| target.rest.starts_with("/api/"));
    answered.await.unwrap_or_else(|problem| PrometheusError { problem, is_api }.response())
}

/// Runs `work` until it finishes or the client disconnects.
async fn until_disconnect(
    request: &HttpRequest,
    payload: web::Payload,
    work: impl Future<Output = Result<HttpResponse, Problem>>,
) -> Result<HttpResponse, Problem> {
    let done = disconnect::cancel_on_disconnect(request.version(), payload, work).await;
    done.unwrap_or(Err(Problem::ClientDisconnected))
}

/// Authenticates the caller, and returns the instance.
async fn authorize(
    request: &HttpRequest,
    target: &Target<'_>,
    state: &Prometheus,
) -> Result<Arc<PrometheusSnapshot>, Problem> {
    let name = &*target.name;
    let is_it = |id: &crate::domain::InstanceId| id.as_str() == name || segment(id) == name;
    state.access.prometheus(request, is_it).await?;
    state.find(name).ok_or(Problem::Unknown)
}

fn only_read(method: &Method) -> Result<(), Problem> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Problem::Method("GET, HEAD")),
    }
}

/// The redirect is relative, so that it works behind every router.
fn redirect_to_page(target: &Target<'_>) -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, format!("./{}/", target.segment)))
        .finish()
}

/// The parameters of a form. Some clients send a POST request without a body, and parameters in the
/// query. vmalert then sends the type `application/json`, and later versions send none.
async fn form(request: &HttpRequest, payload: &mut web::Payload) -> Result<Bytes, Problem> {
    let is_form = is_form(request.headers().get(header::CONTENT_TYPE));
    let reading = async {
        let mut form = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Problem::ClientDisconnected)?;
            if !is_form && !chunk.is_empty() {
                return Err(Problem::NoForm);
            }
            if form.len() + chunk.len() > MAX_FORM_BYTES {
                return Err(Problem::TooLong);
            }
            form.extend_from_slice(&chunk);
        }
        Ok(form.freeze())
    };
    timeout(FORM_TIMEOUT, reading).await.unwrap_or(Err(Problem::TooSlow))
}

/// A missing content type means a form.
fn is_form(content_type: Option<&HeaderValue>) -> bool {
    let Some(content_type) = content_type else { return true };
    let media_type = content_type.to_str().unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    media_type.is_empty() || media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

async fn forward(
    request: &HttpRequest,
    client: &PrometheusClient,
    access: &Access,
    upstream: &Upstream,
    read: &ReadEndpoint,
    form: Option<Bytes>,
) -> Result<HttpResponse, Problem> {
    let query = request.query_string();
    let question_mark = if query.is_empty() { "" } else { "?" };
    let headers = without_credentials(request.headers(), access);
    let query_request = QueryRequest {
        target: format!("{}{question_mark}{query}", read.path),
        headers: &headers,
        forwarded_for: forwarded_for(request)
            .filter(|chain| !access.is_own_credential(chain.as_bytes())),
        files: read.files(),
        timeout: query_timeout(query, form.as_deref().unwrap_or_default()),
        form,
    };
    let answer = client.forward(upstream, &query_request).await?;
    Ok(respond(answer, request.method() == Method::HEAD))
}

/// Removes headers that contain credentials of this installation.
fn without_credentials(headers: &HeaderMap, access: &Access) -> HeaderMap {
    let kept = |value: &[u8]| !access.is_own_credential(value);
    let kept = headers.iter().filter(|(_, value)| kept(value.as_bytes()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Timeout of a request: the timeout of the query, and a margin.
fn query_timeout(query: &str, form: &[u8]) -> Duration {
    let form = std::str::from_utf8(form).unwrap_or_default();
    let mut pairs = form.split('&').chain(query.split('&'));
    let requested = pairs.find_map(|pair| pair.strip_prefix("timeout=")).and_then(duration);
    requested.map_or(MAX_QUERY_TIMEOUT, |requested| requested.min(MAX_QUERY_TIMEOUT))
        + TIMEOUT_MARGIN
}

/// Parses a duration parameter like Prometheus: `1m30s`, or seconds.
fn duration(encoded: &str) -> Option<Duration> {
    let text = percent_decode_str(encoded).decode_utf8().ok()?;
    let seconds = text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.or_else(|| text.parse::<Period>().ok().map(Period::duration))
}

/// Converts the response. Prometheus does not support HEAD, so a GET request was sent.
fn respond(answer: QueryResponse, is_head: bool) -> HttpResponse {
    let QueryResponse { status, headers, length, body } = answer;
    let mut response = HttpResponse::build(status);
    for (name, value) in &headers {
        response.append_header((name, value));
    }
    response.insert_header((header::CONTENT_SECURITY_POLICY, PROMETHEUS_PAGES));
    match length {
        _ if is_head => response.body(Head(length)),
        Some(length) => response.body(SizedStream::new(length, body)),
        None if status.is_success() || status.is_client_error() || status.is_server_error() => {
            response.streaming(body)
        }
        None => response.finish(),
    }
}

/// An empty body with the length of the omitted one.
struct Head(Option<u64>);

impl MessageBody for Head {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.0.map_or(BodySize::Stream, BodySize::Sized)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_is_that_of_the_query() {
        for (query, form, seconds) in [
            ("", "", 125.0),
            ("query=up&timeout=10s", "", 15.0),
            ("timeout=1m30s", "", 95.0),
            ("timeout=2.5", "", 7.5),
            ("timeout=1h", "", 125.0),
            ("timeout=1e300", "", 125.0),
            ("timeout=-1", "", 125.0),
            ("timeout=NaN", "", 125.0),
            ("timeout=soon", "", 125.0),
            ("timeout=%31s", "", 6.0),
            ("timeout=9s", "query=up&timeout=3s", 8.0),
        ] {
            let found = query_timeout(query, form.as_bytes());
            assert_eq!(found, Duration::from_secs_f64(seconds), "{query} {form}");
        }
    }
}
