//! Connections to instances, with or without TLS.

use super::{
    connection::ConnectionEvents,
    failure::{FailureReason, ScrapeFailure},
};
use crate::{
    net::{ConnectionLimiter, MaybeTlsStream, OpenConnection},
    tls::{self, HandshakeError, ServerName, TlsConnectors},
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

/// Address and TLS parameters of an instance.
#[derive(Clone, Debug)]
pub(super) struct PeerAddr {
    pub(super) address: SocketAddr,
    /// With TLS: the name that the certificate must contain, and the TLS configuration.
    pub(super) tls: Option<(ServerName<'static>, Arc<TlsConnectors>)>,
    pub(super) limiter: ConnectionLimiter,
}

#[derive(Debug)]
pub(super) struct InstanceStream {
    stream: MaybeTlsStream,
    events: Rc<ConnectionEvents>,
    /// Error of a failed write that is not yet reported.
    broken: Option<io::Error>,
    _open: OpenConnection,
}

impl PeerAddr {
    /// Connects and, with TLS, verifies the peer.
    pub(super) async fn open(
        &self,
        http2: bool,
        events: &Rc<ConnectionEvents>,
    ) -> Result<InstanceStream, ScrapeFailure> {
        let connect =
            |error: io::Error| ScrapeFailure::new(FailureReason::Connect, error.to_string());
        let _open = self.limiter.open().await;
        let stream = TcpStream::connect(self.address).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let stream = match &self.tls {
            None => MaybeTlsStream::Plain(stream),
            Some((name, connectors)) => {
                events.tls_handshake_started();
                let secured = connectors.connect(stream, name.clone(), http2).await;
                MaybeTlsStream::Tls(Box::new(secured.map_err(handshake_failure)?))
            }
        };
        Ok(InstanceStream { stream, events: Rc::clone(events), broken: None, _open })
    }
}

/// A certificate with another name means that the address was reassigned, not that the app has
/// failed.
fn handshake_failure(error: HandshakeError) -> ScrapeFailure {
    let reason =
        if error.is_name_mismatch { FailureReason::StaleEndpoint } else { FailureReason::Tls };
    ScrapeFailure::new(reason, error.text)
}

impl InstanceStream {
    /// Whether to use HTTP/2: without TLS always (prior knowledge), with TLS if the peer negotiated
    /// it.
    pub(super) fn negotiated_http2(&self) -> bool {
        match &self.stream {
            MaybeTlsStream::Plain(_) => true,
            MaybeTlsStream::Tls(stream) => TlsConnectors::negotiated_http2(stream),
        }
    }

    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        // In TLS 1.3 a peer verifies the client certificate after the client's handshake has ended.
        if let Poll::Ready(Err(error)) = &poll
            && let Some(alert) = tls::alert_of(error)
        {
            self.events.record_alert(alert);
        }
        poll
    }

    /// After a failed write, reads first: the alert that explains why the peer closed the
    /// connection may still be unread.
    fn after_writing<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match poll {
            Poll::Ready(Err(error)) if matches!(self.stream, MaybeTlsStream::Tls(_)) => {
                self.broken = Some(error);
                ready!(self.poll_broken(cx))?;
                Poll::Pending
            }
            poll => poll,
        }
    }

    /// Returns the error of a failed write once the peer's last bytes are read.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken.is_some() {
            let mut scratch = [0; 64];
            // A closed connection is readable, so this does not block.
            let _ = ready!(self.poll_stream(cx, &mut ReadBuf::new(&mut scratch)));
        }
        Poll::Ready(self.broken.take().map_or(Ok(()), Err))
    }
}

impl AsyncRead for InstanceStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_stream(cx, buffer)
    }
}

impl AsyncWrite for InstanceStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_broken(cx))?;
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.after_writing(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_broken(cx))?;
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.after_writing(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl ActixStream for InstanceStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.stream, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.stream, cx)
    }
}
