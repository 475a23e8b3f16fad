//! The byte stream of a client connection.
//!
//! A [`ClientStream`] ends when its [`Connection`] is closed. It fails if the client reads nothing
//! for too long. Then actix drops the response and releases its memory.

use super::connections::Connection;
use crate::{net::MaybeTlsStream, telemetry::running::ConnectionEnds};
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// Maximum number of unsent bytes in the kernel. With a higher limit, a slowly reading client could
/// be mistaken for one that does not read. A lower limit slows large responses down.
const MAX_UNSENT: u32 = 128 << 10;

/// A client connection, below TLS.
#[derive(Debug)]
pub(super) struct ClientStream {
    socket: TcpStream,
    connection: Connection,
    write_timeout: Duration,
    /// Runs while the client reads nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    is_stalled: bool,
}

impl ClientStream {
    pub(super) fn new(socket: TcpStream, connection: Connection, write_timeout: Duration) -> Self {
        // If the option is not supported, slow clients are disconnected slightly too early.
        let _ = SockRef::from(&socket).set_tcp_notsent_lowat(MAX_UNSENT);
        let _ = socket.set_nodelay(true);
        Self { socket, connection, write_timeout, stalled: None, is_stalled: false }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The address of the client. An IPv4 client of a socket for both protocols has its IPv4
    /// address, not the IPv6 form of it.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok().map(canonical)
    }

    /// The first byte that the client sends, which stays unread. `None` if the connection ended
    /// before.
    pub(super) fn poll_first_byte(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
        if self.connection.is_ended(cx) {
            return Poll::Ready(Ok(None));
        }
        let mut bytes = [0];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(self.socket.poll_peek(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().first().copied()))
    }

    pub(super) fn ends(&self) -> Option<ConnectionEnds> {
        let (local, peer) = (canonical(self.socket.local_addr().ok()?), self.peer()?);
        Some(ConnectionEnds { local, peer })
    }

    /// Resolves with an error if the client reads nothing for `write_timeout`.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.is_stalled {
            self.is_stalled = true;
            self.connection.in_use().set_blocked(true);
            stalled.as_mut().reset(Instant::now() + limit);
        }
        ready!(stalled.as_mut().poll(cx));
        self.connection.all().count_stalled();
        // Also discards unsent data in the kernel.
        let _ = self.socket.set_zero_linger();
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        // With its zone.
        IpAddr::V6(_) => address,
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.connection.is_ended(cx) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write(cx, bytes) {
            Poll::Pending => self.poll_stalled(cx).map(Err),
            written => {
                if self.is_stalled {
                    self.is_stalled = false;
                    self.connection.in_use().set_blocked(false);
                }
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// A client connection, with or without TLS.
pub(super) type ClientIo = MaybeTlsStream<ClientStream>;
