//! An open connection to a server, plain or secured by TLS, that counts its events.

use super::{connection_limiter::OpenConnection, events::ConnectionEvents, stream::MaybeTlsStream};
use crate::tls::{self, ClientConfig, ServerName};
use actix_rt::net::{ActixStream, Ready, TcpStream};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::ToSocketAddrs,
};

/// A server at a known address.
#[derive(Clone)]
pub struct PeerAddr {
    pub address: SocketAddr,
    pub tls: Option<PeerTls>,
}

/// TLS to one server.
#[derive(Clone)]
pub struct PeerTls {
    pub config: Arc<ClientConfig>,
    /// The name that the certificate must contain.
    pub name: ServerName<'static>,
}

#[derive(Debug)]
pub struct ServerStream {
    stream: MaybeTlsStream<TcpStream>,
    events: Rc<ConnectionEvents>,
    /// Error of a failed write that is not yet reported.
    broken: Option<io::Error>,
    _open: Option<OpenConnection>,
}

impl ServerStream {
    /// Connects to the first address that accepts the connection and, with TLS, verifies the
    /// server. `open` counts the connection until it is dropped.
    ///
    /// # Errors
    /// No address accepts the connection, or the error contains a
    /// [`HandshakeError`](tls::HandshakeError).
    pub async fn connect(
        addresses: impl ToSocketAddrs,
        tls: Option<PeerTls>,
        open: Option<OpenConnection>,
        events: Rc<ConnectionEvents>,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(addresses).await?;
        stream.set_nodelay(true)?;
        let stream = match tls {
            None => MaybeTlsStream::Plain(stream),
            Some(PeerTls { config, name }) => {
                events.tls_handshake_started();
                let secured = tls::connect(config, stream, name).await;
                MaybeTlsStream::tls(secured.map_err(io::Error::other)?)
            }
        };
        events.opened();
        Ok(Self { stream, events, broken: None, _open: open })
    }

    /// Whether the server selected HTTP/2 in the TLS handshake.
    pub fn negotiated_http2(&self) -> bool {
        self.stream.negotiated_http2()
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
            self.events.alert_received(alert);
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

    fn poll_stream_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_broken(cx))?;
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.after_writing(cx, poll)
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let poll = self.poll_stream(cx, buffer);
        match &poll {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if room == 0 => {}
            Poll::Ready(Ok(())) if buffer.filled().len() > before => self.events.received(),
            Poll::Ready(_) => self.events.closed(),
        }
        poll
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = self.poll_stream_write(cx, bytes);
        if matches!(poll, Poll::Ready(Err(_))) {
            self.events.closed();
        }
        poll
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

impl ActixStream for ServerStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.stream.socket(), cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.stream.socket(), cx)
    }
}
