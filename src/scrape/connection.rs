//! Connections that record events which awc does not report.
//!
//! awc does not report whether a request used an idle connection. A GET may be retried only when an
//! idle connection turned out to be closed. All polling happens in the caller's task, so comparing
//! [`ConnectionEvents`] before and after a poll shows the [`RequestEvents`] of that request.

use super::stream::{InstanceStream, PeerAddr};
use crate::{net::Http1Stream, tls::AlertDescription};
use actix_rt::net::{ActixStream, Ready};
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use futures_util::future::LocalBoxFuture;
use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Number of events on the connections of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct EventCounts {
    /// TLS handshakes started.
    tls_handshakes: u64,
    opened: u64,
    /// Connections closed or reset by the peer.
    closed: u64,
    /// Reads that returned bytes.
    received: u64,
    /// Connections that the peer ended with a TLS alert.
    alerts: u64,
    /// The last of these alerts.
    alert: Option<AlertDescription>,
}

/// Event counters, shared by the connections of one peer.
#[derive(Debug, Default)]
pub(super) struct ConnectionEvents(Cell<EventCounts>);

impl ConnectionEvents {
    fn add(&self, change: impl FnOnce(&mut EventCounts)) {
        let mut counts = self.0.get();
        change(&mut counts);
        self.0.set(counts);
    }

    pub(super) fn tls_handshake_started(&self) {
        self.add(|counts| counts.tls_handshakes += 1);
    }

    pub(super) fn has_tls_handshake_started(&self) -> bool {
        self.0.get().tls_handshakes > 0
    }

    pub(super) fn record_alert(&self, alert: AlertDescription) {
        self.add(|counts| {
            counts.alerts += 1;
            counts.alert = Some(alert);
        });
    }

    pub(super) fn alert(&self) -> Option<AlertDescription> {
        self.0.get().alert
    }
}

/// Events on the connection of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestEvents {
    /// Its TLS handshake has started.
    pub(super) tls_handshake_started: bool,
    /// The connection was opened for this request.
    pub(super) opened: bool,
    pub(super) closed: bool,
    /// At least one byte of the response was received.
    pub(super) received: bool,
    /// The TLS alert with which the peer rejected the connection.
    pub(super) alert: Option<AlertDescription>,
}

impl RequestEvents {
    /// Polls once and records the events of this poll.
    pub(super) fn poll<T>(&mut self, events: &ConnectionEvents, poll: impl FnOnce() -> T) -> T {
        let before = events.0.get();
        let result = poll();
        let after = events.0.get();
        if before.opened != after.opened {
            // Earlier events belong to an idle connection that was closed.
            *self = Self { opened: true, ..Self::default() };
        } else {
            self.tls_handshake_started |= before.tls_handshakes != after.tls_handshakes;
            self.closed |= before.closed != after.closed;
            self.received |= before.received != after.received;
        }
        if before.alerts != after.alerts {
            self.alert = after.alert;
        }
        result
    }
}

/// Opens connections to one instance, regardless of the URI.
#[derive(Clone, Debug)]
pub(super) struct InstanceConnector {
    pub(super) address: PeerAddr,
    pub(super) events: Rc<ConnectionEvents>,
}

impl Service<ConnectInfo<Uri>> for InstanceConnector {
    type Response = Connection<Uri, Http1Stream<ObservedStream>>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let Self { address, events } = self.clone();
        Box::pin(async move {
            let stream = address.open(false, &events).await;
            // awc returns this error unchanged.
            let stream = stream.map_err(|failure| ConnectError::Io(io::Error::other(failure)))?;
            events.add(|counts| counts.opened += 1);
            let stream = Http1Stream::new(ObservedStream { stream, events });
            Ok(Connection::new(request.request().clone(), stream))
        })
    }
}

/// Records received bytes and the end of the connection.
#[derive(Debug)]
pub(super) struct ObservedStream {
    stream: InstanceStream,
    events: Rc<ConnectionEvents>,
}

impl AsyncRead for ObservedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match &poll {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if room == 0 => {}
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                self.events.add(|counts| counts.received += 1);
            }
            Poll::Ready(_) => self.events.add(|counts| counts.closed += 1),
        }
        poll
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(poll, Poll::Ready(Err(_))) {
            self.events.add(|counts| counts.closed += 1);
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl ActixStream for ObservedStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.stream, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.stream, cx)
    }
}
