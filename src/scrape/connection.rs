//! Connections that tell what awc does not.
//!
//! awc does not say whether a request went over a connection used before. A GET
//! may be repeated only when a kept connection turned out to be dead. All
//! polling happens in the caller's task, so comparing a [`Tally`] before and
//! after one poll tells what that very request did ([`Observed`]).

use super::wire::{Place, Wire};
use crate::{net::Answers, tls::AlertDescription};
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

/// What happened on the connections of one peer, each a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// A connection is there, and its TLS handshake has begun.
    greeted: u64,
    opened: u64,
    /// The peer was seen to have closed or reset its side.
    closed: u64,
    /// Bytes came.
    received: u64,
    /// The peer ended the connection with an alert of TLS.
    refused: u64,
    /// The last of these.
    alert: Option<AlertDescription>,
}

/// [`Counts`] that connections add to.
#[derive(Debug, Default)]
pub(super) struct Tally(Cell<Counts>);

impl Tally {
    fn add(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.0.get();
        change(&mut counts);
        self.0.set(counts);
    }

    /// Notes that a handshake has begun.
    pub(super) fn greeted(&self) {
        self.add(|counts| counts.greeted += 1);
    }

    /// Whether a handshake has begun on the only connection.
    pub(super) fn has_greeted(&self) -> bool {
        self.0.get().greeted > 0
    }

    /// Notes with which alert the peer ended a connection.
    pub(super) fn refused(&self, alert: AlertDescription) {
        self.add(|counts| {
            counts.refused += 1;
            counts.alert = Some(alert);
        });
    }

    /// The last alert.
    pub(super) fn alert(&self) -> Option<AlertDescription> {
        self.0.get().alert
    }
}

/// What one request saw of its connection so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Observed {
    /// It waits for the end of its TLS handshake.
    pub(super) greeting: bool,
    /// It was opened for this request, not kept from one before.
    pub(super) opened: bool,
    /// The peer closed it.
    pub(super) closed: bool,
    /// At least a byte of an answer came.
    pub(super) received: bool,
    /// The peer said by an alert of TLS that it does not want us.
    pub(super) alert: Option<AlertDescription>,
}

impl Observed {
    /// Polls once, and notes what that did to the peer's connections.
    pub(super) fn poll<T>(&mut self, tally: &Tally, poll: impl FnOnce() -> T) -> T {
        let before = tally.0.get();
        let result = poll();
        let after = tally.0.get();
        if before.opened != after.opened {
            // What was seen before was a kept connection, found closed.
            *self = Self { opened: true, ..Self::default() };
        } else {
            self.greeting |= before.greeted != after.greeted;
            self.closed |= before.closed != after.closed;
            self.received |= before.received != after.received;
        }
        if before.refused != after.refused {
            self.alert = after.alert;
        }
        result
    }
}

/// Opens connections to one place, whatever the URI names.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    pub(super) place: Place,
    pub(super) tally: Rc<Tally>,
}

impl Service<ConnectInfo<Uri>> for Dial {
    type Response = Connection<Uri, Answers<Watched>>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, request: ConnectInfo<Uri>) -> Self::Future {
        let Self { place, tally } = self.clone();
        Box::pin(async move {
            let stream = place.open(false, &tally).await;
            // awc passes it on as it is.
            let stream = stream.map_err(|failure| ConnectError::Io(io::Error::other(failure)))?;
            tally.add(|counts| counts.opened += 1);
            let answers = Answers::new(Watched { stream, tally });
            Ok(Connection::new(request.request().clone(), answers))
        })
    }
}

/// A stream that notes when its peer has sent something or closed it.
#[derive(Debug)]
pub(super) struct Watched {
    stream: Wire,
    tally: Rc<Tally>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, wanted) = (buffer.filled().len(), buffer.remaining());
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match &poll {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if wanted == 0 => {}
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                self.tally.add(|counts| counts.received += 1);
            }
            Poll::Ready(_) => self.tally.add(|counts| counts.closed += 1),
        }
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(poll, Poll::Ready(Err(_))) {
            self.tally.add(|counts| counts.closed += 1);
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

impl ActixStream for Watched {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.stream, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.stream, cx)
    }
}
