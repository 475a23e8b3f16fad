//! Layer between awc and a connection.

use super::head::{self, Head, ResponseError};
use actix_rt::net::{ActixStream, Ready};
use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum size of a response head including all interim responses, bytes. awc has the same limit
/// for one head.
const MAX_HEAD: usize = 128 << 10;

/// A connection whose responses awc can read to their end.
///
/// * Interim responses (status 1xx) are removed.
/// * A head is complete, and states the end of its body in a way that awc supports.
/// * A connection that ends before the response does is an error.
///
/// awc reads no further than the end of a response, so all it reads belongs to one response.
#[derive(Debug)]
pub struct Http1Stream<S> {
    stream: S,
    state: StreamState,
}

#[derive(Debug)]
enum StreamState {
    /// Bytes pass unchanged: they belong to a body or follow it.
    Body { ends_with_connection: bool },
    /// A request was sent, and the response head is incomplete.
    Head(PartialHead),
    /// Bytes that were read, and the number of them that awc has already taken.
    Ready { bytes: Vec<u8>, given: usize, ends_with_connection: bool },
}

#[derive(Debug, Default)]
struct PartialHead {
    bytes: Vec<u8>,
    /// Number of bytes in which no head ends.
    searched: usize,
    /// Length of the removed interim responses.
    skipped: usize,
}

impl<S> Http1Stream<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, state: StreamState::Body { ends_with_connection: false } }
    }
}

impl PartialHead {
    /// Removes interim responses. Returns the response's own head once it is complete, with the
    /// bytes that follow it.
    fn take(&mut self) -> Result<Option<(Vec<u8>, bool)>, ResponseError> {
        while let Some(end) = head::end(&self.bytes, self.searched) {
            // Also checked for complete heads: the limit must not depend on the sizes of reads.
            if self.skipped + end > MAX_HEAD {
                return Err(ResponseError::TooLong);
            }
            let (whole, rest) = self.bytes.split_at(end);
            match head::read(whole)? {
                Head::Interim => {
                    self.bytes.drain(..end);
                    self.searched = 0;
                    self.skipped += end;
                }
                Head::Final { mut bytes, ends_with_connection } => {
                    bytes.extend_from_slice(rest);
                    return Ok(Some((bytes, ends_with_connection)));
                }
            }
        }
        self.searched = self.bytes.len();
        match self.skipped + self.bytes.len() > MAX_HEAD {
            true => Err(ResponseError::TooLong),
            false => Ok(None),
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.skipped == 0
    }
}

impl<S: AsyncRead + Unpin> Http1Stream<S> {
    /// Reads the response's own head; returns no bytes if the connection ends before the first
    /// byte.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let StreamState::Head(head) = &mut self.state else { return Poll::Ready(Ok(())) };
        // Not zeroed: that would cost more than the rest of a short read.
        let mut piece = [MaybeUninit::uninit(); 4096];
        loop {
            if let Some((bytes, ends_with_connection)) = head.take().map_err(io::Error::other)? {
                self.state = StreamState::Ready { bytes, given: 0, ends_with_connection };
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::uninit(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            match buffer.filled() {
                [] if head.is_empty() => return Poll::Ready(Ok(())),
                [] => return Poll::Ready(Err(truncated("head"))),
                more => head.bytes.extend_from_slice(more),
            }
        }
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        ends_with_connection: bool,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let is_end = room > 0 && buffer.filled().len() == before;
        match is_end && !ends_with_connection {
            true => Poll::Ready(Err(truncated("body"))),
            false => Poll::Ready(Ok(())),
        }
    }
}

fn truncated(part: &str) -> io::Error {
    let text = format!("the connection was closed within the response's {part}");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

impl<S: AsyncRead + Unpin> AsyncRead for Http1Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_head(cx))?;
        match &mut this.state {
            StreamState::Head(_) => Poll::Ready(Ok(())),
            StreamState::Body { ends_with_connection } => {
                let ends_with_connection = *ends_with_connection;
                this.poll_body(cx, buffer, ends_with_connection)
            }
            StreamState::Ready { bytes, given, ends_with_connection } => {
                let left = bytes.get(*given..).unwrap_or_default();
                let fits = left.len().min(buffer.remaining());
                buffer.put_slice(left.get(..fits).unwrap_or_default());
                *given += fits;
                if fits == left.len() {
                    this.state = StreamState::Body { ends_with_connection: *ends_with_connection };
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Http1Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A request starts, so the next bytes are a response head.
        if matches!(self.state, StreamState::Body { .. }) {
            self.state = StreamState::Head(PartialHead::default());
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: ActixStream> ActixStream for Http1Stream<S> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.stream.poll_read_ready(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.stream.poll_write_ready(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// Returns what awc reads when a peer sends these pieces and closes the connection.
    async fn read(pieces: &[&[u8]]) -> (String, Option<String>) {
        let (near, mut far) = duplex(MAX_HEAD * 2);
        let mut stream = Http1Stream::new(near);
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let sending = tokio::spawn(async move {
            for piece in pieces {
                far.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let (mut read, mut piece) = (Vec::new(), [0; 7]);
        let error = loop {
            match stream.read(&mut piece).await {
                Ok(0) => break None,
                Ok(length) => read.extend_from_slice(&piece[..length]),
                Err(error) => break Some(error.to_string()),
            }
        };
        sending.await.unwrap();
        (String::from_utf8(read).unwrap(), error)
    }

    #[tokio::test]
    async fn interim_responses_are_removed_however_they_are_split() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 X\r\nA: b\r\n\r\n\
            HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx 1\n";
        let expected = "HTTP/1.0 200 \r\nconnection: close\r\n\r\nx 1\n";
        let bytes = text.as_bytes();
        assert_eq!(read(&[bytes]).await, (expected.to_owned(), None));
        for at in 1..bytes.len() {
            let (first, second) = bytes.split_at(at);
            assert_eq!(read(&[first, second]).await, (expected.to_owned(), None), "{at}");
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(read(&single).await, (expected.to_owned(), None));
    }

    #[tokio::test]
    async fn a_connection_that_ends_before_the_response_is_an_error() {
        let head = Some("the connection was closed within the response's head".to_owned());
        let body = Some("the connection was closed within the response's body".to_owned());
        for (text, expected) in [
            ("", None),
            ("HTTP/1.1 200 OK\r\n", head.clone()),
            ("HTTP/1.1 100 Continue\r\n\r\n", head),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx", body.clone()),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", body),
            ("HTTP/1.1 200 OK\r\n\r\n", None),
        ] {
            assert_eq!(read(&[text.as_bytes()]).await.1, expected, "{text}");
        }
    }

    #[tokio::test]
    async fn heads_beyond_the_limit_are_an_error() {
        let flood = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_HEAD / 25 + 1);
        let endless = [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'b'; MAX_HEAD]].concat();
        for bytes in [flood, endless] {
            let (read, error) = read(&[&bytes]).await;
            assert_eq!((read.as_str(), error), ("", Some(ResponseError::TooLong.to_string())));
        }
    }

    #[tokio::test]
    async fn the_head_limit_does_not_depend_on_how_a_head_is_split() {
        for (excess, expected) in [(0, None), (1, Some(ResponseError::TooLong.to_string()))] {
            let (start, end) = (b"HTTP/1.1 200 OK\r\nA: ", b"\r\n\r\n");
            let value = vec![b'b'; MAX_HEAD - start.len() - end.len() + excess];
            let head = [&start[..], &value, end].concat();
            let (first, last) = head.split_at(head.len() - 1);
            assert_eq!(read(&[&head]).await.1, expected, "{excess}");
            assert_eq!(read(&[first, last]).await.1, expected, "{excess}");
        }
    }
}
