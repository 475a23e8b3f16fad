//! The bytes to and from an instance, plain or secured by TLS.

use super::{
    connection::Tally,
    failure::{Failure, Reason},
};
use crate::{
    net::{OpenConnection, Outgoing},
    tls::{self, Connectors, HandshakeError, ServerName, TlsStream},
};
use actix_rt::net::{ActixStream, Ready, TcpStream};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where an instance is, and how it is known there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    /// With TLS: the name that its certificate must carry, and our certificates.
    pub(super) tls: Option<(ServerName<'static>, Arc<Connectors>)>,
    pub(super) outgoing: Outgoing,
}

/// A connection to an instance.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    tally: Rc<Tally>,
    /// A write has failed.
    broken: Option<io::Error>,
    _open: OpenConnection,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Place {
    /// Connects, and makes sure of who answers.
    pub(super) async fn open(&self, http2: bool, tally: &Rc<Tally>) -> Result<Wire, Failure> {
        let connect = |error: io::Error| Failure::new(Reason::Connect, error.to_string());
        let _open = self.outgoing.open().await;
        let stream = TcpStream::connect(self.address).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some((name, connectors)) => {
                tally.greeted();
                let secured = connectors.connect(stream, name.clone(), http2).await;
                Stream::Tls(Box::new(secured.map_err(handshake_failure)?))
            }
        };
        Ok(Wire { stream, tally: Rc::clone(tally), broken: None, _open })
    }
}

/// Somebody else's certificate means that the address was given away, not that
/// the app has failed.
fn handshake_failure(error: HandshakeError) -> Failure {
    let reason = if error.is_another { Reason::StaleEndpoint } else { Reason::Tls };
    Failure::new(reason, error.text)
}

impl Wire {
    /// Whether the peer is to be spoken to in HTTP/2: without TLS by prior
    /// knowledge, with it when it took the offer.
    pub(super) fn speaks_http2(&self) -> bool {
        match &self.stream {
            Stream::Plain(_) => true,
            Stream::Tls(stream) => Connectors::speaks_http2(stream),
        }
    }

    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        // In TLS 1.3 a peer judges our certificate after our handshake has ended.
        if let Poll::Ready(Err(error)) = &poll
            && let Some(alert) = tls::alert_of(error)
        {
            self.tally.refused(alert);
        }
        poll
    }

    /// Why the peer closed the connection may lie there unread: what could not
    /// be written fails only after that was looked for.
    fn after_writing<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match poll {
            Poll::Ready(Err(error)) if matches!(self.stream, Stream::Tls(_)) => {
                self.broken = Some(error);
                ready!(self.poll_broken(cx))?;
                Poll::Pending
            }
            poll => poll,
        }
    }

    /// The error of a write before, once the peer's last words were read.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken.is_some() {
            let mut scratch = [0; 64];
            // That the peer is gone is an event for readers, so this ends.
            let _ = ready!(self.poll_stream(cx, &mut ReadBuf::new(&mut scratch)));
        }
        Poll::Ready(self.broken.take().map_or(Ok(()), Err))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_stream(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_broken(cx))?;
        let poll = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.after_writing(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_broken(cx))?;
        let poll = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        self.after_writing(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Wire {
    fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl ActixStream for Wire {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.socket(), cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.socket(), cx)
    }
}
