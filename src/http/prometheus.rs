//! `/prometheus/{instance}/…`: the read API of a provisioned Prometheus, and a page
//! about it.
//!
//! ```text
//! credentials ─► instance ─► allowed read ─► query::Client ─► streamed answer
//! ```
//!
//! Credentials are checked first: an unauthenticated client does not learn which instances exist.

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

/// An endless stream of warnings for the pages of version 3. A server with too many subscribers answers
/// 204, and the pages then request `notifications` every few seconds.
const LIVE: &str = "/api/v1/notifications/live";
/// Longest form. Grafana writes queries of many kilobytes.
const LONGEST_FORM: usize = 1 << 20;
/// Timeout for receiving a form.
const SLOWEST_FORM: Duration = Duration::from_secs(30);
/// Prometheus' default timeout of a query.
const LONGEST_QUERY: Duration = Duration::from_secs(120);
/// Added to the timeout, so that Prometheus itself reports a query that took too long.
const TO_SAY_SO: Duration = Duration::from_secs(5);

/// Data of the handlers, shared by all workers.
#[derive(Clone, Debug)]
pub struct Prometheus {
    pub bound: BindingTable,
    pub catalog: Broker,
    pub access: Access,
    /// The public URL.
    pub base_url: BaseUrl,
    /// Finds the instance behind a target.
    pub table: RouteTable,
    /// Why an instance could not be scraped.
    pub last: Arc<ScrapeHistory>,
}

/// Adds the routes. Needs [`Prometheus`] and a [`PrometheusClient`] of the worker as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config.route("/prometheus/{rest:.*}", web::route().to(ask));
}

impl Prometheus {
    /// The instance that is called `name`.
    fn find(&self, name: &str) -> Option<Arc<PrometheusSnapshot>> {
        self.bound.prometheus(name).or_else(|| {
            let all = self.bound.all_prometheus();
            all.iter().find(|(id, _)| segment(id) == name).map(|(_, it)| Arc::clone(it))
        })
    }
}

/// How an instance is reached.
pub fn upstream(base_url: &BaseUrl, prometheus: &PrometheusSnapshot) -> Upstream {
    let segment = segment(&prometheus.instance_id);
    Upstream {
        external_url: format!("{base_url}/prometheus/{segment}"),
        replicas: prometheus.replicas.clone(),
        password: prometheus.web_password.clone(),
    }
}

async fn ask(
    request: HttpRequest,
    mut payload: web::Payload,
    state: web::Data<Prometheus>,
    client: web::Data<PrometheusClient>,
) -> HttpResponse {
    let target = Target::of(request.uri().path());
    let answered = async {
        let Some(target) = &target else { return Err(Problem::Unknown) };
        let prometheus = admit(&request, target, &state).await?;
        match target.rest {
            "" => return Ok(to_the_page(target)),
            "/" => {
                only_read(request.method())?;
                let work = page::show(&state, &client, &prometheus);
                return finished(&request, payload, work).await;
            }
            LIVE => {
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
        finished(&request, payload, work).await
    };
    let is_api = target.as_ref().is_some_and(|target| target.rest.starts_with("/api/"));
    answered.await.unwrap_or_else(|problem| PrometheusError { problem, is_api }.response())
}

/// The result of `work`, unless the client disconnects.
async fn finished(
    request: &HttpRequest,
    payload: web::Payload,
    work: impl Future<Output = Result<HttpResponse, Problem>>,
) -> Result<HttpResponse, Problem> {
    let done = disconnect::cancel_on_disconnect(request.version(), payload, work).await;
    done.unwrap_or(Err(Problem::ClientDisconnected))
}

/// Finds the instance for an authorized caller.
async fn admit(
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

/// A relative redirect works behind every router.
fn to_the_page(target: &Target<'_>) -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, format!("./{}/", target.segment)))
        .finish()
}

/// The parameters that came as a form. A POST without a body has its parameters in the query,
/// whatever type it names: vmalert names `application/json`, later versions none.
async fn form(request: &HttpRequest, payload: &mut web::Payload) -> Result<Bytes, Problem> {
    let is_form = is_form(request.headers().get(header::CONTENT_TYPE));
    let reading = async {
        let mut form = BytesMut::new();
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(|_| Problem::ClientDisconnected)?;
            if !is_form && !piece.is_empty() {
                return Err(Problem::NoForm);
            }
            if form.len() + piece.len() > LONGEST_FORM {
                return Err(Problem::TooLong);
            }
            form.extend_from_slice(&piece);
        }
        Ok(form.freeze())
    };
    timeout(SLOWEST_FORM, reading).await.unwrap_or(Err(Problem::TooSlow))
}

/// Without a type it is a form.
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
    let ask = QueryRequest {
        target: format!("{}{question_mark}{query}", read.path),
        headers: &headers,
        forwarded_for: forwarded_for(request)
            .filter(|chain| !access.is_own_credential(chain.as_bytes())),
        files: read.files(),
        timeout: patience(query, form.as_deref().unwrap_or_default()),
        form,
    };
    let answer = client.forward(upstream, &ask).await?;
    Ok(respond(answer, request.method() == Method::HEAD))
}

/// The headers without credentials of this installation.
fn without_credentials(headers: &HeaderMap, access: &Access) -> HeaderMap {
    let kept = |value: &[u8]| !access.is_own_credential(value);
    let kept = headers.iter().filter(|(_, value)| kept(value.as_bytes()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Timeout of an answer: Prometheus' own timeout of the query.
fn patience(query: &str, form: &[u8]) -> Duration {
    let form = std::str::from_utf8(form).unwrap_or_default();
    let mut pairs = form.split('&').chain(query.split('&'));
    let wanted = pairs.find_map(|pair| pair.strip_prefix("timeout=")).and_then(duration);
    wanted.map_or(LONGEST_QUERY, |wanted| wanted.min(LONGEST_QUERY)) + TO_SAY_SO
}

/// A duration as Prometheus takes it in parameters: `1m30s`, or seconds.
fn duration(encoded: &str) -> Option<Duration> {
    let text = percent_decode_str(encoded).decode_utf8().ok()?;
    let seconds = text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.or_else(|| text.parse::<Period>().ok().map(Period::duration))
}

/// Forwards an answer. Prometheus has no HEAD, so the request was a GET.
fn respond(answer: QueryResponse, only_head: bool) -> HttpResponse {
    let QueryResponse { status, headers, length, body } = answer;
    let mut response = HttpResponse::build(status);
    for (name, value) in &headers {
        response.append_header((name, value));
    }
    response.insert_header((header::CONTENT_SECURITY_POLICY, PROMETHEUS_PAGES));
    match length {
        _ if only_head => response.body(Head(length)),
        Some(length) => response.body(SizedStream::new(length, body)),
        None if status.is_success() || status.is_client_error() || status.is_server_error() => {
            response.streaming(body)
        }
        None => response.finish(),
    }
}

/// No body, only what its length would be.
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
    fn an_answer_may_take_as_long_as_the_query() {
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
            let found = patience(query, form.as_bytes());
            assert_eq!(found, Duration::from_secs_f64(seconds), "{query} {form}");
        }
    }
}
