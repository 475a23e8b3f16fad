//! HTTP/2 requests to instances.
//!
//! awc supports HTTP/2 only over its own TLS connections. A connection here carries one request at
//! a time, as in HTTP/1.1: requests on one connection share its flow control, so a request that
//! waits for memory would block the others.

use super::failure::{FailureReason, ScrapeFailure, connect_failure, timed_out};
use crate::{
    net::{ConnectionEvents, ConnectionLimiter, PeerAddr, ServerStream},
    tls,
};
use awc::http::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use h2::{
    RecvStream,
    client::{Builder, SendRequest},
};
use http::Request;
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio_util::task::AbortOnDropHandle;

/// Receive window, bytes. It is outside the memory budget, so it is no larger than other buffers of
/// a connection.
const WINDOW: u32 = 64 << 10;
/// Maximum size of a response head, bytes; the same as in HTTP/1.1.
const MAX_HEAD: u32 = 128 << 10;

/// Headers that HTTP/2 does not allow (RFC 9113, section 8.2.2).
const OF_HTTP1: [&str; 6] =
    ["connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Connections to one instance.
pub(super) struct Http2 {
    peer: PeerAddr,
    limiter: ConnectionLimiter,
    idle: Rc<RefCell<Vec<Http2Connection>>>,
    idle_timeout: Duration,
    requires_http1: Cell<bool>,
}

pub(super) struct GetRequest<'a> {
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    pub(super) deadline: tokio::time::Instant,
}

pub(super) enum GetOutcome {
    /// The response has started.
    Response(Http2Response),
    /// The peer did not negotiate HTTP/2.
    Http1Required,
}

/// A response whose body is not yet read.
pub(super) struct Http2Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: RecvStream,
    connection: Option<Http2Connection>,
    idle: Rc<RefCell<Vec<Http2Connection>>>,
}

struct Http2Connection {
    sender: SendRequest<Bytes>,
    events: Rc<ConnectionEvents>,
    since: Instant,
    _task: AbortOnDropHandle<()>,
}

impl Http2 {
    pub(super) fn new(peer: PeerAddr, limiter: ConnectionLimiter, idle_timeout: Duration) -> Self {
        let (idle, requires_http1) = (Rc::default(), Cell::new(false));
        Self { peer, limiter, idle, idle_timeout, requires_http1 }
    }

    /// Whether the peer is known to require HTTP/1.1.
    pub(super) fn requires_http1(&self) -> bool {
        self.requires_http1.get()
    }

    /// Sends one GET. Retries it once on a new connection if an idle connection was closed before
    /// the response started.
    pub(super) async fn get(&self, get: &GetRequest<'_>) -> Result<GetOutcome, ScrapeFailure> {
        let scheme = if self.peer.tls.is_some() { "https" } else { "http" };
        if let Some(kept) = self.kept() {
            match self.send(kept, get.request(scheme)?).await {
                // The peer has read the request and rejects it.
                Err((error, failure)) if error.is_reset() => return Err(failure),
                Err(_) => self.idle.borrow_mut().clear(),
                Ok(response) => return Ok(GetOutcome::Response(response)),
            }
        }
        match self.open(get.deadline).await? {
            None => Ok(GetOutcome::Http1Required),
            Some(new) => match self.send(new, get.request(scheme)?).await {
                Ok(response) => Ok(GetOutcome::Response(response)),
                Err((_, failure)) => Err(failure),
            },
        }
    }

    fn kept(&self) -> Option<Http2Connection> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|connection| connection.since.elapsed() < self.idle_timeout);
        idle.pop()
    }

    async fn open(
        &self,
        deadline: tokio::time::Instant,
    ) -> Result<Option<Http2Connection>, ScrapeFailure> {
        let events = Rc::new(ConnectionEvents::default());
        let stream = tokio::time::timeout_at(deadline, self.connect(Rc::clone(&events))).await;
        let stream = stream.map_err(|_| timed_out(events.has_tls_handshake_started()))?;
        let stream = stream.map_err(|error| connect_failure(&error))?;
        // Without TLS the route announces HTTP/2.
        if self.peer.tls.is_some() && !stream.negotiated_http2() {
            self.requires_http1.set(true);
            return Ok(None);
        }
        let mut builder = Builder::new();
        builder
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(MAX_HEAD)
            .enable_push(false);
        let handshake = builder.handshake(stream).await;
        let (sender, connection) = handshake.map_err(|error| failure(&error, &events))?;
        let task = actix_rt::spawn(async move {
            // The request gets the same error.
            let _ = connection.await;
        });
        let _task = AbortOnDropHandle::new(task);
        Ok(Some(Http2Connection { sender, events, since: Instant::now(), _task }))
    }

    async fn connect(&self, events: Rc<ConnectionEvents>) -> io::Result<ServerStream> {
        let PeerAddr { address, tls } = self.peer.clone();
        ServerStream::connect(address, tls, Some(self.limiter.open().await), events).await
    }

    async fn send(
        &self,
        mut connection: Http2Connection,
        request: Request<()>,
    ) -> Result<Http2Response, (h2::Error, ScrapeFailure)> {
        let events = Rc::clone(&connection.events);
        let with_failure = |error: h2::Error| {
            let failure = failure(&error, &events);
            (error, failure)
        };
        poll_fn(|cx| connection.sender.poll_ready(cx)).await.map_err(with_failure)?;
        let (response, _) = connection.sender.send_request(request, true).map_err(with_failure)?;
        let (head, body) = response.await.map_err(with_failure)?.into_parts();
        Ok(Http2Response {
            status: head.status,
            headers: head.headers.into(),
            body,
            connection: Some(connection),
            idle: Rc::clone(&self.idle),
        })
    }
}

impl GetRequest<'_> {
    fn request(&self, scheme: &str) -> Result<Request<()>, ScrapeFailure> {
        let uri = http::Uri::builder()
            .scheme(scheme)
            .authority(self.host)
            .path_and_query(self.path)
            .build();
        let mut request = uri.and_then(|uri| Request::get(uri).body(()));
        if let Ok(request) = &mut request {
            *request.version_mut() = http::Version::HTTP_2;
            for (name, value) in self.headers {
                if !OF_HTTP1.contains(&name.as_str()) {
                    request.headers_mut().append(name, value.clone());
                }
            }
        }
        request.map_err(|_| {
            ScrapeFailure::new(
                FailureReason::Connect,
                "the route or the path cannot be written as a URL",
            )
        })
    }
}

impl Http2Response {
    /// The next chunk of the body, or `None` at its end.
    pub(super) async fn chunk(&mut self) -> Option<Result<Bytes, ScrapeFailure>> {
        let truncated =
            |_| ScrapeFailure::new(FailureReason::Truncated, "the response ended within the body");
        match self.body.data().await {
            None => {
                if let Some(mut connection) = self.connection.take() {
                    connection.since = Instant::now();
                    self.idle.borrow_mut().push(connection);
                }
                None
            }
            Some(piece) => Some(piece.map_err(truncated).and_then(|piece| {
                self.body.flow_control().release_capacity(piece.len()).map_err(truncated)?;
                Ok(piece)
            })),
        }
    }
}

fn failure(error: &h2::Error, events: &ConnectionEvents) -> ScrapeFailure {
    if let Some(alert) = events.last_alert() {
        return ScrapeFailure::new(FailureReason::Tls, tls::alert_text(alert));
    }
    let (reason, detail) = if error.is_io() {
        (FailureReason::Truncated, "the connection was closed before a response")
    } else if error.is_library() {
        (FailureReason::NotExposition, "the response is not HTTP/2")
    } else if error.is_reset() {
        (FailureReason::Truncated, "the instance reset the request")
    } else if error.is_go_away() {
        (FailureReason::Truncated, "the instance ended the connection before a response")
    } else {
        (FailureReason::Connect, "the request could not be sent")
    };
    ScrapeFailure::new(reason, detail)
}
