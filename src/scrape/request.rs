//! One request to one instance, in whichever HTTP it speaks.

use super::{
    Ask,
    client::{Client, Peer},
    connection::Observed,
    failure::{Failure, Reason, late},
    http2::{self, Get, Sent},
    target::Target,
};
use crate::{net, tls};
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
    io,
    pin::{Pin, pin},
    rc::Rc,
};
use tokio::time::{Instant, timeout_at};

/// Tells the instance how long we wait, in seconds.
const TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// An answer, its body still to come.
pub(super) enum Answer {
    Http1 { response: ClientResponse, peer: Rc<Peer>, seen: Observed },
    Http2(http2::Answer),
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Http1 { response, .. } => response.status(),
            Self::Http2(answer) => answer.status,
        }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        match self {
            Self::Http1 { response, .. } => response.headers(),
            Self::Http2(answer) => &answer.headers,
        }
    }

    /// The next piece of the body; nothing after its end.
    pub(super) async fn chunk(&mut self) -> Option<Result<Bytes, Failure>> {
        match self {
            Self::Http1 { response, peer, seen } => {
                let next =
                    poll_fn(|cx| seen.poll(&peer.tally, || Pin::new(&mut *response).poll_next(cx)));
                Some(next.await?.map_err(|_| match seen.closed {
                    true => cut(),
                    false => Failure::new(
                        Reason::NotExposition,
                        "the body is not in chunks, as its Transfer-Encoding says",
                    ),
                }))
            }
            Self::Http2(answer) => answer.chunk().await,
        }
    }

    /// Whether it has an end of its own, other than the connection's.
    pub(super) fn tells_its_end(&self) -> bool {
        match self {
            Self::Http1 { response, .. } => {
                response.headers().contains_key(header::TRANSFER_ENCODING)
            }
            Self::Http2(_) => true,
        }
    }
}

pub(super) fn cut() -> Failure {
    Failure::new(Reason::Cut, "the connection was closed within the body")
}

/// Sends one GET; repeats it once on a new connection when a kept one turned
/// out to be closed before the first byte came back.
pub(super) async fn send(
    client: &Client,
    target: &Target,
    ask: &Ask,
    path: &str,
) -> Result<Answer, Failure> {
    let peer = client.peer(&target.endpoint)?;
    let headers = headers(target, ask)?;
    if let Some(http2) = peer.http2() {
        let get = Get { host: &target.host, path, headers: &headers, deadline: ask.deadline };
        if let Sent::Answer(answer) = http2.get(&get).await? {
            return Ok(Answer::Http2(answer));
        }
    }
    let mut seen = Observed::default();
    match send_once(&peer, target, ask, path, &headers, &mut seen).await {
        Ok(response) => return Ok(Answer::new(response, peer)),
        Err(NotSent::Error(error)) if was_dead(&error, seen) => {}
        Err(error) => return Err(error.failure(seen)),
    }
    let peer = client.fresh_peer(&target.endpoint)?;
    let mut seen = Observed::default();
    match send_once(&peer, target, ask, path, &headers, &mut seen).await {
        Ok(response) => Ok(Answer::new(response, peer)),
        Err(error) => Err(error.failure(seen)),
    }
}

/// Why there is no answer's head.
enum NotSent {
    Late,
    Error(SendRequestError),
}

impl NotSent {
    fn failure(&self, seen: Observed) -> Failure {
        match self {
            Self::Late => late(seen.greeting),
            Self::Error(error) => send_failure(error, seen),
        }
    }
}

impl Answer {
    fn new(response: ClientResponse, peer: Rc<Peer>) -> Self {
        Self::Http1 { response, peer, seen: Observed::default() }
    }
}

fn headers(target: &Target, ask: &Ask) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    let left = ask.deadline.saturating_duration_since(Instant::now());
    let left = format!("{:.3}", left.as_secs_f64());
    let own: [(HeaderName, &str); 8] = [
        (header::ACCEPT, ask.negotiated.accept()),
        (header::ACCEPT_ENCODING, "gzip"),
        (header::USER_AGENT, concat!("scrapebroker/", env!("CARGO_PKG_VERSION"))),
        (HeaderName::from_static("x-forwarded-proto"), ask.our_scheme),
        (HeaderName::from_static("x-promfetcher-scrapping"), "true"),
        (HeaderName::from_static(super::VIA), &ask.via),
        (header::HOST, &target.host),
        (HeaderName::from_static(TIMEOUT), &left),
    ];
    let mut headers = Vec::with_capacity(own.len() + target.headers.len());
    for (name, value) in own {
        let value = HeaderValue::from_str(value)
            .map_err(|_| Failure::new(Reason::Connect, format!("{name} cannot be sent")))?;
        headers.push((name, value));
    }
    let ours = |name: &HeaderName| *name == header::HOST || *name == TIMEOUT;
    headers.extend(target.headers.iter().filter(|(name, _)| !ours(name)).cloned());
    Ok(headers)
}

/// The answer's head.
async fn send_once(
    peer: &Peer,
    target: &Target,
    ask: &Ask,
    path: &str,
    headers: &[(HeaderName, HeaderValue)],
    seen: &mut Observed,
) -> Result<ClientResponse, NotSent> {
    // The authority is the address, so that nothing but the address decides
    // where this goes; the app sees the Host header. TLS is `Place`'s work.
    let mut request = peer.http1.get(format!("http://{}{path}", target.endpoint.address));
    for (name, value) in headers {
        request = request.append_header((name, value));
    }
    let mut sending = pin!(net::send(request));
    let sent = poll_fn(|cx| seen.poll(&peer.tally, || sending.as_mut().poll(cx)));
    match timeout_at(ask.deadline, sent).await {
        Ok(sent) => sent.map_err(NotSent::Error),
        Err(_) => Err(NotSent::Late),
    }
}

/// Whether a kept connection turned out to be closed before the first byte.
fn was_dead(error: &SendRequestError, seen: Observed) -> bool {
    let refused = matches!(error, SendRequestError::Connect(ConnectError::Io(_)));
    !refused && !seen.opened && seen.closed && !seen.received
}

fn send_failure(error: &SendRequestError, seen: Observed) -> Failure {
    if let SendRequestError::Connect(ConnectError::Io(error)) = error {
        return connect_failure(error);
    }
    if let Some(wrong) = net::answer_error(error) {
        return Failure::new(Reason::NotExposition, wrong.to_string());
    }
    if let Some(alert) = seen.alert {
        return Failure::new(Reason::Tls, tls::refused(alert));
    }
    let (reason, detail) = match error {
        _ if seen.received && seen.closed => {
            (Reason::Cut, "the connection was closed within the answer's head")
        }
        _ if seen.closed => (Reason::Cut, "the connection was closed before an answer"),
        SendRequestError::Send(_) => (Reason::Cut, "the connection broke before an answer"),
        SendRequestError::Response(_) => (Reason::NotExposition, "the answer is not HTTP"),
        _ => (Reason::Connect, "the request could not be sent"),
    };
    Failure::new(reason, detail)
}

/// `Place` has said what it is.
fn connect_failure(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Failure>()) {
        Some(failure) => failure.clone(),
        None => Failure::new(Reason::Connect, error.to_string()),
    }
}
