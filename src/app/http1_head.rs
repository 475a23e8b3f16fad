//! Heads of HTTP/1.1 requests that are too large for the framework.
//!
//! The framework answers 431 without a word when a head has more than 96
//! fields, and resets the connection when it has more than 128 KiB. A
//! [`HeadGuard`] watches heads as they come, and answers 431 with the reason
//! before that happens.

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

/// Most bytes of a head, the request line and the separators included.
const MAX_BYTES: usize = 64 << 10;
/// Most lines of a head: the request line and 96 fields.
const MAX_LINES: usize = 97;
/// What a client has sent after a refused head is read for so long: a connection that is closed
/// with unread bytes is reset, and the client may not see the answer.
const LINGER: Duration = Duration::from_secs(1);

/// A client's connection that speaks HTTP/1.1.
pub(super) struct HeadGuard {
    io: ClientIo,
    in_use: Use,
    state: State,
}

enum State {
    Head(Head),
    /// A head has ended, as that of the next request after so many.
    Request(u64),
    Refused(Refusal),
}

/// What is known of a head that has not ended.
#[derive(Default)]
struct Head {
    bytes: usize,
    lines: usize,
    /// Bytes of the line so far, its end excluded.
    line: usize,
}

struct Refusal {
    answer: Bytes,
    is_shut_down: bool,
    linger: Option<Pin<Box<Sleep>>>,
}

impl HeadGuard {
    pub(super) fn new(io: ClientIo) -> Self {
        let in_use = io.socket().connection().in_use();
        Self { io, in_use, state: State::Head(Head::default()) }
    }

    pub(super) fn stream(&self) -> &ClientStream {
        self.io.socket()
    }

    /// Looks at what was read. False when the head is refused.
    fn look(&mut self, read: &[u8]) -> bool {
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
    /// Reads on; true when the head has ended.
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
        let why = head_limits::refusal(has_too_many_fields);
        let answer = format!(
            "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{why}",
            why.len()
        );
        Self { answer: answer.into(), is_shut_down: false, linger: None }
    }

    /// Writes the answer, closes our side, and reads what is still coming.
    fn poll(&mut self, cx: &mut Context<'_>, io: &mut ClientIo) -> Poll<io::Result<()>> {
        while self.answer.has_remaining() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, &self.answer))?;
            self.answer.advance(written);
        }
        if !self.is_shut_down {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
            self.is_shut_down = true;
        }
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut scratch = [0; 4096];
        while linger.as_mut().poll(cx).is_pending() {
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
            // For the framework the client has gone.
            State::Refused(_) => return Poll::Ready(Ok(())),
            _ => {}
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        if !self.look(buffer.filled().get(before..).unwrap_or_default()) {
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
    fn a_head_ends_with_an_empty_line_however_it_is_cut() {
        let head = b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for size in 1..head.len() {
            let mut read = Head::default();
            let ends: Vec<_> = head.chunks(size).map(|piece| read.read(piece)).collect();
            assert!(ends.last().is_some_and(|ended| *ended), "{size}");
            assert!(ends.iter().filter(|ended| **ended).count() == 1, "{size}");
        }
    }

    #[test]
    fn what_follows_a_head_does_not_count() {
        let mut head = Head::default();
        let body = "\n".repeat(200);
        assert!(head.read(format!("PUT / HTTP/1.1\nHost: x\n\n{body}").as_bytes()));
        assert!(!head.is_too_large());
    }

    #[test]
    fn too_many_lines_and_bytes_are_too_large() {
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
