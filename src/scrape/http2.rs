//! Requests to instances that speak HTTP/2.
//!
//! awc speaks it only to peers that it has secured itself. A connection
//! carries one request at a time, as in HTTP/1.1: requests that share one also
//! share its flow control, and one that waits for memory would stop the others.

use super::{
    connection::Tally,
    failure::{Failure, Reason, late},
    wire::Place,
};
use crate::tls;
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
    rc::Rc,
    time::{Duration, Instant},
};
use tokio_util::task::AbortOnDropHandle;

/// What a peer may send before we have taken it, bytes. It lies outside the
/// budget, so it is no more than other buffers of a connection.
const WINDOW: u32 = 64 << 10;
/// Largest head of an answer, bytes; as much as HTTP/1.1 gets.
const MAX_HEAD: u32 = 128 << 10;

/// Headers that HTTP/2 has no place for (RFC 9113, section 8.2.2).
const OF_HTTP1: [&str; 6] =
    ["connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Connections to one place.
pub(super) struct Http2 {
    place: Place,
    idle: Rc<RefCell<Vec<Connection>>>,
    idle_timeout: Duration,
    refused: Cell<bool>,
}

/// What is asked for.
pub(super) struct Get<'a> {
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    pub(super) deadline: tokio::time::Instant,
}

/// What came of a request.
pub(super) enum Sent {
    /// An answer has begun.
    Answer(Answer),
    /// The peer did not take the offer of HTTP/2: it wants HTTP/1.1.
    WantsHttp1,
}

/// An answer, its body still to come.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: RecvStream,
    connection: Option<Connection>,
    idle: Rc<RefCell<Vec<Connection>>>,
}

struct Connection {
    sender: SendRequest<Bytes>,
    tally: Rc<Tally>,
    since: Instant,
    _task: AbortOnDropHandle<()>,
}

impl Http2 {
    pub(super) fn new(place: Place, idle_timeout: Duration) -> Self {
        Self { place, idle: Rc::default(), idle_timeout, refused: Cell::new(false) }
    }

    /// Whether the peer is known to want HTTP/1.1.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.get()
    }

    /// Sends one GET; repeats it once on a new connection when a kept one
    /// turned out to be closed before the answer began.
    pub(super) async fn get(&self, get: &Get<'_>) -> Result<Sent, Failure> {
        let scheme = if self.place.tls.is_some() { "https" } else { "http" };
        if let Some(kept) = self.kept() {
            match self.send(kept, get.request(scheme)?).await {
                // The peer has read the request and says so.
                Err((error, failure)) if error.is_reset() => return Err(failure),
                Err(_) => self.idle.borrow_mut().clear(),
                Ok(answer) => return Ok(Sent::Answer(answer)),
            }
        }
        match self.open(get.deadline).await? {
            None => Ok(Sent::WantsHttp1),
            Some(new) => match self.send(new, get.request(scheme)?).await {
                Ok(answer) => Ok(Sent::Answer(answer)),
                Err((_, failure)) => Err(failure),
            },
        }
    }

    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|connection| connection.since.elapsed() < self.idle_timeout);
        idle.pop()
    }

    async fn open(&self, deadline: tokio::time::Instant) -> Result<Option<Connection>, Failure> {
        let tally = Rc::new(Tally::default());
        let wire = tokio::time::timeout_at(deadline, self.place.open(true, &tally)).await;
        let wire = wire.map_err(|_| late(tally.has_greeted()))??;
        if !wire.speaks_http2() {
            self.refused.set(true);
            return Ok(None);
        }
        let mut builder = Builder::new();
        builder
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(MAX_HEAD)
            .enable_push(false);
        let handshake = builder.handshake(wire).await;
        let (sender, connection) = handshake.map_err(|error| failure(&error, &tally))?;
        let task = actix_rt::spawn(async move {
            // What ends it is told to the request as well.
            let _ = connection.await;
        });
        let _task = AbortOnDropHandle::new(task);
        Ok(Some(Connection { sender, tally, since: Instant::now(), _task }))
    }

    async fn send(
        &self,
        mut connection: Connection,
        request: Request<()>,
    ) -> Result<Answer, (h2::Error, Failure)> {
        let tally = Rc::clone(&connection.tally);
        let told = |error: h2::Error| {
            let failure = failure(&error, &tally);
            (error, failure)
        };
        poll_fn(|cx| connection.sender.poll_ready(cx)).await.map_err(told)?;
        let (answer, _) = connection.sender.send_request(request, true).map_err(told)?;
        let (head, body) = answer.await.map_err(told)?.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers.into(),
            body,
            connection: Some(connection),
            idle: Rc::clone(&self.idle),
        })
    }
}

impl Get<'_> {
    fn request(&self, scheme: &str) -> Result<Request<()>, Failure> {
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
            Failure::new(Reason::Connect, "the route or the path cannot be written as a URL")
        })
    }
}

impl Answer {
    /// The next piece of the body; nothing after its end.
    pub(super) async fn chunk(&mut self) -> Option<Result<Bytes, Failure>> {
        let cut = |_| Failure::new(Reason::Cut, "the answer was broken off within the body");
        match self.body.data().await {
            None => {
                if let Some(mut connection) = self.connection.take() {
                    connection.since = Instant::now();
                    self.idle.borrow_mut().push(connection);
                }
                None
            }
            Some(piece) => Some(piece.map_err(cut).and_then(|piece| {
                self.body.flow_control().release_capacity(piece.len()).map_err(cut)?;
                Ok(piece)
            })),
        }
    }
}

fn failure(error: &h2::Error, tally: &Tally) -> Failure {
    if let Some(alert) = tally.alert() {
        return Failure::new(Reason::Tls, tls::refused(alert));
    }
    let (reason, detail) = if error.is_io() {
        (Reason::Cut, "the connection was closed before an answer")
    } else if error.is_library() {
        (Reason::NotExposition, "the answer is not HTTP/2")
    } else if error.is_reset() {
        (Reason::Cut, "the instance broke off the request")
    } else if error.is_go_away() {
        (Reason::Cut, "the instance ended the connection before an answer")
    } else {
        (Reason::Connect, "the request could not be sent")
    };
    Failure::new(reason, detail)
}
