//! HTTP/2 of the main listener.
//!
//! actix's HTTP/2 server cannot limit the memory that a client may occupy: the size of header
//! lists, the number of streams, and streams whose client reads nothing. This implementation limits
//! all three.

use super::{client_stream::ClientIo, connections::Connections};
use crate::telemetry::causes;
use actix_http::Request;
use actix_web::{
    HttpMessage, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ResponseHead, Service, ServiceResponse},
    error::PayloadError,
    http::{
        Method,
        header::{self, HttpDate},
    },
    web::Bytes,
};
use futures_util::{Stream, future::poll_fn};
use h2::{
    RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};
use tokio::{task::JoinSet, time::timeout};

/// Maximum size of a header list, by HTTP/2's formula: 32 bytes per field in addition to its text.
/// It exceeds the limit on requests, so that these get a response with the reason. It ensures that
/// no list has more fields than a `HeaderMap` allows (24,576).
const MAX_HEADER_LIST: u32 = 256 << 10;
/// Maximum number of concurrent requests per connection.
const MAX_STREAMS: u32 = 100;
/// Maximum size of request body data that a client may send before it is read, per stream and per
/// connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Maximum size of response data that is buffered before the client reads it, in bytes.
const MAX_UNSENT: usize = 64 << 10;
/// Maximum size of a data frame, in bytes.
const MAX_FRAME: usize = 16 << 10;

/// Headers that are not allowed in HTTP/2 (RFC 9113, section 8.2.2).
const HTTP1_HEADERS: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Timeout for the client's preface.
    pub(super) preface_timeout: Duration,
    /// Timeout for a client that reads nothing of a response.
    pub(super) write_timeout: Duration,
}

/// Serves the requests of a connection until it ends. After `stopping`, new requests are refused.
pub(super) async fn serve<S, B>(
    io: ClientIo,
    app: Rc<S>,
    settings: &Settings,
    stopping: impl Future<Output = ()>,
) where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: MessageBody + 'static,
    S::Future: 'static,
{
    let (peer, connection) = (io.socket().peer(), io.socket().connection());
    let (in_use, connections) = (connection.in_use(), connection.all().clone());
    let mut builder = Builder::new();
    builder
        .max_header_list_size(MAX_HEADER_LIST)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MAX_UNSENT);
    let handshake = timeout(settings.preface_timeout, builder.handshake(io));
    let Ok(Ok(mut connection)) = handshake.await else { return };
    let mut stopping = pin!(stopping);
    let mut is_stopping = false;
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, mut respond))) = accepted else { return };
                let request = convert_request(request, peer);
                request.extensions_mut().insert(in_use.clone());
                let answer = Answer {
                    is_head: request.method() == Method::HEAD,
                    write_timeout: settings.write_timeout,
                    connections: connections.clone(),
                };
                let answering = app.call(request);
                answers.spawn_local(async move {
                    let Some(answered) = unless_reset(answering, &mut respond).await else {
                        return;
                    };
                    let response = match answered {
                        Ok(response) => response.map_into_boxed_body().into_parts().1,
                        Err(error) => error.error_response(),
                    };
                    answer.send(response, respond).await;
                });
            }
            // Finished tasks release their memory.
            Some(_) = answers.join_next() => {}
            () = &mut stopping, if !is_stopping => {
                is_stopping = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// Runs a handler until the client resets its stream, as the end of an HTTP/1.1 connection ends its
/// handler. The handler of a reset stream would not count towards [`MAX_STREAMS`] any more.
async fn unless_reset<T>(
    handler: impl Future<Output = T>,
    respond: &mut SendResponse<Bytes>,
) -> Option<T> {
    tokio::select! {
        biased;
        _ = poll_fn(|cx| respond.poll_reset(cx)) => None,
        handled = handler => Some(handled),
    }
}

fn convert_request(request: http::Request<RecvStream>, peer: Option<SocketAddr>) -> Request {
    let (parts, body) = request.into_parts();
    let payload = Payload::Stream { payload: Box::pin(Body(body)) as _ };
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    head.uri = parts.uri;
    head.method = parts.method;
    head.version = parts.version;
    head.headers = parts.headers.into();
    head.peer_addr = peer;
    request
}

/// A request body.
struct Body(RecvStream);

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(chunk) = ready!(self.0.poll_data(cx)) else { return Poll::Ready(None) };
        let taken = chunk.and_then(|chunk| {
            self.0.flow_control().release_capacity(chunk.len())?;
            Ok(chunk)
        });
        Poll::Ready(Some(taken.map_err(PayloadError::from)))
    }
}

/// Sends the response to one request.
struct Answer {
    is_head: bool,
    write_timeout: Duration,
    connections: Connections,
}

impl Answer {
    async fn send(self, response: HttpResponse, mut respond: SendResponse<Bytes>) {
        let (response, body) = response.into_parts();
        let size = body.size();
        let ends = self.is_head || size.is_eof();
        // Errors mean that the client has disconnected.
        let Ok(mut stream) = respond.send_response(head(response.head(), size), ends) else {
            return;
        };
        if !ends && let Err(error) = self.send_body(body, &mut stream).await {
            let reason = match error {
                Unsent::Gone => return,
                Unsent::Stalled => {
                    self.connections.count_stalled();
                    h2::Reason::CANCEL
                }
                Unsent::Cut => h2::Reason::INTERNAL_ERROR,
            };
            stream.send_reset(reason);
        }
    }

    async fn send_body(&self, body: BoxBody, stream: &mut SendStream<Bytes>) -> Result<(), Unsent> {
        let mut body = pin!(body);
        loop {
            let next = poll_fn(|cx| match body.as_mut().poll_next(cx) {
                Poll::Pending => stream.poll_reset(cx).map(|_| Err(Unsent::Gone)),
                chunk => chunk.map(Ok),
            });
            let Some(chunk) = next.await? else { break };
            let chunk = chunk.map_err(|error| {
                tracing::warn!(error = causes(&*error), "response aborted");
                Unsent::Cut
            })?;
            self.send_chunk(chunk, stream).await?;
        }
        stream.send_data(Bytes::new(), true).map_err(|_| Unsent::Gone)
    }

    async fn send_chunk(
        &self,
        mut chunk: Bytes,
        stream: &mut SendStream<Bytes>,
    ) -> Result<(), Unsent> {
        while !chunk.is_empty() {
            stream.reserve_capacity(chunk.len().min(MAX_FRAME));
            let capacity = timeout(self.write_timeout, capacity(stream)).await;
            let capacity = capacity.map_err(|_| Unsent::Stalled)?.ok_or(Unsent::Gone)?;
            let now = chunk.split_to(capacity.min(chunk.len()));
            stream.send_data(now, false).map_err(|_| Unsent::Gone)?;
        }
        Ok(())
    }
}

/// Waits until the send window is positive, and returns it.
async fn capacity(stream: &mut SendStream<Bytes>) -> Option<usize> {
    loop {
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(0)) => {}
            Some(Ok(capacity)) => return Some(capacity),
            Some(Err(_)) | None => return None,
        }
    }
}

/// Reasons why a response was not sent completely.
enum Unsent {
    Gone,
    Stalled,
    Cut,
}

fn head(answer: &ResponseHead, size: BodySize) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = answer.status;
    *head.version_mut() = http::Version::HTTP_2;
    let headers = head.headers_mut();
    for (name, value) in answer.headers() {
        if !HTTP1_HEADERS.contains(&name.as_str()) && name != header::CONTENT_LENGTH {
            headers.append(name, value.clone());
        }
    }
    let bodiless =
        answer.status.is_informational() || answer.status == http::StatusCode::NO_CONTENT;
    if let BodySize::Sized(length) = size
        && !bodiless
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    if !headers.contains_key(header::DATE)
        && let Ok(now) = HttpDate::from(SystemTime::now()).to_string().parse()
    {
        headers.insert(header::DATE, now);
    }
    head
}
