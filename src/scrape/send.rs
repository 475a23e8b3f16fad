//! Sends one request to one instance, over HTTP/1.1 or HTTP/2.

use super::{
    client::{Location, Peer, ScrapeClient},
    failure::{FailureReason, ScrapeFailure, connect_failure, timed_out},
    http2::{self, GetOutcome, GetRequest},
    plan::ScrapeTarget,
    request::{ScrapeRequest, VIA},
};
use crate::{
    net::{self, RequestEvents},
    tls,
};
use awc::{
    ClientResponse,
    error::{ConnectError, SendRequestError},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use bytes::Bytes;
use futures_util::Stream;
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
};
use tokio::time::{Instant, timeout_at};

/// Header with the remaining timeout in seconds.
const TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// A response whose body is not yet read.
pub(super) enum TargetResponse {
    Http1 { response: ClientResponse, peer: Rc<Peer>, events: RequestEvents },
    Http2(http2::Http2Response),
}

impl TargetResponse {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Http1 { response, .. } => response.status(),
            Self::Http2(response) => response.status,
        }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        match self {
            Self::Http1 { response, .. } => response.headers(),
            Self::Http2(response) => &response.headers,
        }
    }

    /// The next chunk of the body, or `None` at its end.
    pub(super) async fn chunk(&mut self) -> Option<Result<Bytes, ScrapeFailure>> {
        match self {
            Self::Http1 { response, peer, events } => {
                let next = poll_fn(|cx| {
                    events.poll(&peer.events, || Pin::new(&mut *response).poll_next(cx))
                });
                Some(next.await?.map_err(|_| match events.closed {
                    true => truncated(),
                    false => ScrapeFailure::new(
                        FailureReason::NotExposition,
                        "the body is not chunked, although its Transfer-Encoding is",
                    ),
                }))
            }
            Self::Http2(response) => response.chunk().await,
        }
    }

    /// Whether the end of the body is marked by something other than the end of the connection.
    pub(super) fn has_explicit_end(&self) -> bool {
        match self {
            Self::Http1 { response, .. } => {
                response.headers().contains_key(header::TRANSFER_ENCODING)
            }
            Self::Http2(_) => true,
        }
    }
}

pub(super) fn truncated() -> ScrapeFailure {
    ScrapeFailure::new(FailureReason::Truncated, "the connection was closed within the body")
}

/// Sends one GET. Retries it once on a new connection if an idle connection was closed before the
/// first byte of the response.
pub(super) async fn send(
    client: &ScrapeClient,
    location: &Location,
    target: &ScrapeTarget,
    request: &ScrapeRequest,
    path: &str,
) -> Result<TargetResponse, ScrapeFailure> {
    let peer = client.peer(location);
    let headers = headers(target, request)?;
    if let Some(http2) = peer.http2() {
        let get =
            GetRequest { host: &target.host, path, headers: &headers, deadline: request.deadline };
        if let GetOutcome::Response(response) = http2.get(&get).await? {
            return Ok(TargetResponse::Http2(response));
        }
    }
    // The authority is the address, so that only the address decides where the request goes; the
    // app gets the Host header. The connector adds TLS.
    let url = format!("http://{}{path}", location.address);
    let mut events = RequestEvents::default();
    match send_once(&peer, &url, &headers, request.deadline, &mut events).await {
        Ok(response) => return Ok(TargetResponse::new(response, peer)),
        Err(SendError::Client(error)) if events.closed_while_idle(&error) => {}
        Err(error) => return Err(error.failure(events)),
    }
    let peer = client.fresh_peer(location);
    let mut events = RequestEvents::default();
    match send_once(&peer, &url, &headers, request.deadline, &mut events).await {
        Ok(response) => Ok(TargetResponse::new(response, peer)),
        Err(error) => Err(error.failure(events)),
    }
}

/// Why there is no response head.
enum SendError {
    Timeout,
    Client(SendRequestError),
}

impl SendError {
    fn failure(&self, events: RequestEvents) -> ScrapeFailure {
        match self {
            Self::Timeout => timed_out(events.tls_handshake_started),
            Self::Client(error) => send_failure(error, events),
        }
    }
}

impl TargetResponse {
    fn new(response: ClientResponse, peer: Rc<Peer>) -> Self {
        Self::Http1 { response, peer, events: RequestEvents::default() }
    }
}

fn headers(
    target: &ScrapeTarget,
    request: &ScrapeRequest,
) -> Result<Vec<(HeaderName, HeaderValue)>, ScrapeFailure> {
    let left = request.deadline.saturating_duration_since(Instant::now());
    let left = format!("{:.3}", left.as_secs_f64());
    let own: [(HeaderName, &str); 8] = [
        (header::ACCEPT, request.negotiated.accept()),
        (header::ACCEPT_ENCODING, "gzip"),
        (header::USER_AGENT, concat!("scrapebroker/", env!("CARGO_PKG_VERSION"))),
        (HeaderName::from_static("x-forwarded-proto"), request.public_scheme),
        (HeaderName::from_static("x-promfetcher-scrapping"), "true"),
        (HeaderName::from_static(VIA), &request.via),
        (header::HOST, &target.host),
        (HeaderName::from_static(TIMEOUT), &left),
    ];
    let mut headers = Vec::with_capacity(own.len() + target.headers.len());
    for (name, value) in own {
        let value = HeaderValue::from_str(value).map_err(|_| {
            ScrapeFailure::new(FailureReason::Connect, format!("{name} cannot be sent"))
        })?;
        headers.push((name, value));
    }
    let ours = |name: &HeaderName| *name == header::HOST || *name == TIMEOUT;
    headers.extend(target.headers.iter().filter(|(name, _)| !ours(name)).cloned());
    Ok(headers)
}

/// Sends a request and receives the response head.
async fn send_once(
    peer: &Peer,
    url: &str,
    headers: &[(HeaderName, HeaderValue)],
    deadline: Instant,
    events: &mut RequestEvents,
) -> Result<ClientResponse, SendError> {
    let mut http_request = peer.http1.get(url);
    for (name, value) in headers {
        http_request = http_request.append_header((name, value));
    }
    let mut sending = pin!(net::send(http_request));
    let sent = poll_fn(|cx| events.poll(&peer.events, || sending.as_mut().poll(cx)));
    match timeout_at(deadline, sent).await {
        Ok(sent) => sent.map_err(SendError::Client),
        Err(_) => Err(SendError::Timeout),
    }
}

fn send_failure(error: &SendRequestError, events: RequestEvents) -> ScrapeFailure {
    if let SendRequestError::Connect(ConnectError::Io(error)) = error {
        return connect_failure(error);
    }
    if let Some(wrong) = net::response_error(error) {
        return ScrapeFailure::new(FailureReason::NotExposition, wrong.to_string());
    }
    if let Some(alert) = events.alert {
        return ScrapeFailure::new(FailureReason::Tls, tls::alert_text(alert));
    }
    let (reason, detail) = match error {
        _ if events.received && events.closed => {
            (FailureReason::Truncated, "the connection was closed within the response's head")
        }
        _ if events.closed => {
            (FailureReason::Truncated, "the connection was closed before a response")
        }
        SendRequestError::Send(_) => {
            (FailureReason::Truncated, "the connection broke before a response")
        }
        SendRequestError::Response(_) => (FailureReason::NotExposition, "the response is not HTTP"),
        _ => (FailureReason::Connect, "the request could not be sent"),
    };
    ScrapeFailure::new(reason, detail)
}
