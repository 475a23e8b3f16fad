//! What all listeners and paths of the query proxy share: how a request is read, and how a response
//! is written.

mod body;
mod error;

use crate::{
    domain::prometheus::Period,
    http::{access::Access, browser::PROMETHEUS_PAGES, forwarded::forwarded_for},
    query::{BodyContent, QueryRequest, QueryResponse, ReadEndpoint, RequestBody, Writes},
};
use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, MessageBody, SizedStream},
    http::{
        Method,
        header::{self, HeaderMap},
    },
    web::Bytes,
};
pub(super) use body::ClientBody;
pub(super) use error::{Problem, PrometheusError};
use percent_encoding::percent_decode_str;
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// A stream of notifications that never ends, for the pages of Prometheus 3. A server with too many
/// subscribers responds with 204. Then the pages poll `notifications` every few seconds.
pub(super) const NOTIFICATIONS_LIVE: &str = "/api/v1/notifications/live";
/// Added to the timeout of a query, so that Prometheus itself reports the timeout.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(5);

/// A request that may be forwarded.
pub(super) struct ReadQuery {
    endpoint: ReadEndpoint,
    /// The body of a POST request.
    body: Option<RequestBody>,
}

/// Reads a request to a `path` of Prometheus.
pub(super) async fn read(
    request: &HttpRequest,
    client_body: &ClientBody,
    path: &str,
    writes: Writes,
) -> Result<ReadQuery, Problem> {
    let endpoint = ReadEndpoint::find(path, writes).ok_or(Problem::NotForwarded)?;
    let body = match (request.method(), endpoint.body()) {
        (&Method::GET | &Method::HEAD, _) if endpoint.allows_get() => None,
        (&Method::POST, Some(kind)) => Some(client_body.read(kind, request.headers()).await?),
        _ => return Err(Problem::Method(endpoint.methods())),
    };
    Ok(ReadQuery { endpoint, body })
}

pub(super) fn only_read(method: &Method) -> Result<(), Problem> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Problem::Method("GET, HEAD")),
    }
}

impl ReadQuery {
    /// The request to forward. `max_timeout` limits the timeout that it may ask for.
    pub(super) fn request<'a>(
        &self,
        request: &HttpRequest,
        headers: &'a HeaderMap,
        mount: Option<&'a str>,
        max_timeout: Duration,
    ) -> QueryRequest<'a> {
        let query = request.query_string();
        let question_mark = if query.is_empty() { "" } else { "?" };
        let form = match self.body.as_ref().map(|it| &it.content) {
            None => &Bytes::new(),
            Some(BodyContent::Kept(form)) => form,
            Some(BodyContent::Streamed(form)) => form.kept(),
        };
        QueryRequest {
            target: format!("{}{question_mark}{query}", self.endpoint.path),
            headers,
            forwarded_for: forwarded_for(request),
            files: self.endpoint.files(),
            is_uncompressed: false,
            mount,
            timeout: query_timeout(query, form, max_timeout),
            body: self.body.clone(),
        }
    }
}

/// Removes headers that contain credentials of this installation.
pub(super) fn without_credentials(headers: &HeaderMap, access: &Access) -> HeaderMap {
    let kept = |value: &[u8]| !access.is_own_credential(value);
    let kept = headers.iter().filter(|(_, value)| kept(value.as_bytes()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Timeout of a request: the timeout of the query, and a margin.
fn query_timeout(query: &str, form: &[u8], max: Duration) -> Duration {
    let form = std::str::from_utf8(form).unwrap_or_default();
    let mut pairs = form.split('&').chain(query.split('&'));
    let requested = pairs.find_map(|pair| pair.strip_prefix("timeout=")).and_then(duration);
    requested.map_or(max, |requested| requested.min(max)) + TIMEOUT_MARGIN
}

/// Parses a duration parameter like Prometheus: `1m30s`, or seconds.
fn duration(encoded: &str) -> Option<Duration> {
    let text = percent_decode_str(encoded).decode_utf8().ok()?;
    let seconds = text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.or_else(|| text.parse::<Period>().ok().map(Period::duration))
}

/// Converts the response. Prometheus does not support HEAD, so a GET request was sent.
pub(super) fn respond(response: QueryResponse, method: &Method) -> HttpResponse {
    let QueryResponse { status, headers, length, body, .. } = response;
    let mut response = HttpResponse::build(status);
    for (name, value) in &headers {
        response.append_header((name, value));
    }
    response.insert_header((header::CONTENT_SECURITY_POLICY, PROMETHEUS_PAGES));
    match length {
        _ if *method == Method::HEAD => response.body(Head(length)),
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
            let found = query_timeout(query, form.as_bytes(), Duration::from_secs(120));
            assert_eq!(found, Duration::from_secs_f64(seconds), "{query} {form}");
        }
    }
}
