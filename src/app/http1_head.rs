//! Limits of HTTP/1.1 request heads.
//!
//! actix responds with 431 and an empty body if a head has more than 96 fields, and resets the
//! connection if it has more than 128 KiB. A [`HeadGuard`] checks heads while they arrive, and
//! responds with 431 and the reason before these limits are reached.

use super::client_stream::{ClientIo, ClientStream};
use crate::{http::head_limits, telemetry::running::Use};
use actix_web::web::{Buf, Bytes};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Maximum size of a head in bytes, including the request line and separators.
const MAX_BYTES: usize = 64 << 10;
/// Maximum number of lines of a head: the request line and 96 fields.
const MAX_LINES: usize = 97;
/// Data that the client sends after a refused head is discarded for this time. Closing a connection
/// with unread data would reset it, and the client might not receive the response.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// An HTTP/1.1 connection that limits request heads.
pub(super) struct HeadGuard {
    io: ClientIo,
    in_use: Use,
    state: State,
}

enum State {
    Head(Head),
    /// A head has ended. The number counts the requests that had begun on the connection.
    Request(u64),
    Refused(Refusal),
}

/// Counters of a head that has not ended.
#[derive(Default)]
struct Head {
    bytes: usize,
    lines: usize,
    /// Bytes of the current line, without its line break.
    line: usize,
}

struct Refusal {
    answer: Bytes,
    is_shut_down: bool,
    discard_timer: Option<Pin<Box<Sleep>>>,
}

impl HeadGuard {
    pub(super) fn new(io: ClientIo) -> Self {
        let in_use = io.socket().connection().in_use();
        Self { io, in_use, state: State::Head(Head::default()) }
    }

    pub(super) fn stream(&self) -> &ClientStream {
        self.io.socket()
    }

    /// Checks received bytes. Returns false if the head is refused.
    fn check(&mut self, read: &[u8]) -> bool {
        let State::Head(head) = &mut self.state else { return true };
        let has_ended = head.read(read);
        if head.is_too_large() {
            self.state = State::Refused(Refusal::new(head.lines > MAX_LINES));
            return false;
        }
        if has_ended {
            self.state = State::Request(self.in_use.begun());
        }
        true
    }
}

impl Head {
    /// Counts received bytes. Returns true if the head has ended.
    fn read(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            self.bytes += 1;
            match byte {
                // Empty lines before a request are allowed.
                b'\n' if self.line == 0 && self.lines > 0 => return true,
                b'\n' if self.line > 0 => {
                    self.lines += 1;
                    self.line = 0;
                }
                b'\n' | b'\r' => {}
                _ => self.line += 1,
            }
        }
        false
    }

    fn is_too_large(&self) -> bool {
        self.bytes > MAX_BYTES || self.lines > MAX_LINES
    }
}

impl Refusal {
    fn new(has_too_many_fields: bool) -> Self {
        let reason = head_limits::refusal(has_too_many_fields);
        let answer = format!(
            "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{reason}",
            reason.len()
        );
        Self { answer: answer.into(), is_shut_down: false, discard_timer: None }
    }

    /// Writes the response, shuts down the sending side, and discards received data.
    fn poll(&mut self, cx: &mut Context<'_>, io: &mut ClientIo) -> Poll<io::Result<()>> {
        while self.answer.has_remaining() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, &self.answer))?;
            self.answer.advance(written);
        }
        if !self.is_shut_down {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
            self.is_shut_down = true;
        }
        let discard_timer = self.discard_timer.get_or_insert_with(|| Box::pin(sleep(DISCARD_TIME)));
        let mut scratch = [0; 4096];
        while discard_timer.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for HeadGuard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.state {
            State::Request(before) if self.in_use.has_ended_since(before) => {
                self.state = State::Head(Head::default());
            }
            // Simulates the end of the connection for actix.
            State::Refused(_) => return Poll::Ready(Ok(())),
            _ => {}
        }
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        if read.is_err() || buffer.filled().len() == before {
            self.in_use.close();
        }
        read?;
        if !self.check(buffer.filled().get(before..).unwrap_or_default()) {
            buffer.set_filled(before);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HeadGuard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, state, .. } = self.get_mut();
        match state {
            State::Refused(refusal) => refusal.poll(cx, io),
            State::Head(_) | State::Request(_) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_in_any_chunking() {
        let head = b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for size in 1..head.len() {
            let mut read = Head::default();
            let ends: Vec<_> = head.chunks(size).map(|chunk| read.read(chunk)).collect();
            assert!(ends.last().is_some_and(|ended| *ended), "{size}");
            assert!(ends.iter().filter(|ended| **ended).count() == 1, "{size}");
        }
    }

    #[test]
    fn bytes_after_a_head_are_not_counted() {
        let mut head = Head::default();
        let body = "\n".repeat(200);
        assert!(head.read(format!("PUT / HTTP/1.1\nHost: x\n\n{body}").as_bytes()));
        assert!(!head.is_too_large());
    }

    #[test]
    fn heads_with_too_many_lines_or_bytes_are_too_large() {
        for (line, lines, too_large) in [
            ("a: b", 96, false),
            ("a: b", 97, true),
            (&"x".repeat(700), 90, false),
            (&"x".repeat(800), 90, true),
        ] {
            let mut head = Head::default();
            head.read(b"GET / HTTP/1.1\r\n");
            for _ in 0..lines {
                assert!(!head.read(format!("{line}\r\n").as_bytes()));
            }
            assert_eq!(head.is_too_large(), too_large, "{} {lines}", line.len());
        }
    }
}
