//! Streamed response bodies.

use super::{gaps::WarningFilter, pool::Slot, rule_paths::RulePathFilter};
use crate::net::Permit;
use awc::{ClientResponse, http::header};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::SemaphorePermit,
    time::{Sleep, sleep},
};

/// Timeout for the next bytes of a response that has started.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The body of a response as a stream of chunks. Ends with an error if it is truncated.
pub struct ResponseBody {
    /// Chunks that were read ahead.
    ahead: VecDeque<io::Result<Bytes>>,
    rest: Option<ServerBody>,
    /// Counts as a running query of a pool until it is dropped.
    slot: Option<Slot>,
    /// The memory of a body that was combined.
    memory: Option<SemaphorePermit<'static>>,
}

/// A body that is read from the server.
struct ServerBody {
    response: Pin<Box<ClientResponse>>,
    /// Remaining bytes, if the length was announced.
    left: Option<u64>,
    /// The body ends with the connection, and no byte was received yet.
    is_empty_until_close: bool,
    edit: Option<BodyEdit>,
    /// Timer that runs while waiting for the server, and not while the user is slow.
    waiting: Option<Pin<Box<Sleep>>>,
    _permit: Permit,
}

/// A change of a body while it is streamed.
pub(super) enum BodyEdit {
    /// Removes folders of Scrapebroker's disk.
    RulePaths(RulePathFilter),
    /// Says that samples are missing.
    Warning(WarningFilter),
}

impl BodyEdit {
    fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        match self {
            Self::RulePaths(filter) => filter.pass(piece),
            Self::Warning(filter) => filter.pass(piece),
        }
    }
}

impl ResponseBody {
    pub(super) fn new(
        response: ClientResponse,
        length: Option<u64>,
        edit: Option<BodyEdit>,
        permit: Permit,
    ) -> Self {
        let headers = response.headers();
        let is_empty_until_close = !headers.contains_key(header::CONTENT_LENGTH)
            && !headers.contains_key(header::TRANSFER_ENCODING);
        let rest = ServerBody {
            response: Box::pin(response),
            left: length,
            is_empty_until_close,
            edit,
            waiting: None,
            _permit: permit,
        };
        Self { ahead: VecDeque::new(), rest: Some(rest), slot: None, memory: None }
    }

    /// A body that is complete.
    pub(super) fn whole(body: Bytes) -> Self {
        Self { ahead: VecDeque::from([Ok(body)]), rest: None, slot: None, memory: None }
    }

    /// Keeps this part of a limited memory until the body is dropped.
    pub(super) fn reserve(&mut self, memory: Option<SemaphorePermit<'static>>) {
        self.memory = memory;
    }

    /// Changes the rest of the body. An edit of its own is kept.
    pub(super) fn edit(&mut self, edit: BodyEdit) {
        if let Some(rest) = &mut self.rest {
            rest.edit.get_or_insert(edit);
        }
    }

    /// Whether it is truncated, as far as it was read.
    pub(super) fn has_failed(&self) -> bool {
        self.ahead.iter().any(Result::is_err)
    }

    pub(super) fn hold(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    /// Reads ahead up to `max` bytes. Returns the body if that is all of it; otherwise the stream
    /// still contains everything.
    pub(super) async fn read_ahead(&mut self, max: usize) -> Option<Bytes> {
        let mut length: usize = self.ahead.iter().flatten().map(Bytes::len).sum();
        while length <= max {
            let Some(rest) = &mut self.rest else { break };
            match poll_fn(|cx| rest.next_chunk(cx)).await {
                Some(Ok(chunk)) => {
                    length += chunk.len();
                    self.ahead.push_back(Ok(chunk));
                }
                Some(Err(error)) => {
                    self.ahead.push_back(Err(error));
                    return None;
                }
                None => self.rest = None,
            }
        }
        if self.rest.is_some() || length > max {
            return None;
        }
        let mut body = BytesMut::with_capacity(length);
        self.ahead.iter().flatten().for_each(|chunk| body.extend_from_slice(chunk));
        Some(body.freeze())
    }
}

impl ServerBody {
    /// Skips empty chunks, because an empty chunk would end a chunked body.
    fn next_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let piece = ready!(self.next(cx));
            let (Some(Ok(bytes)), Some(edit)) = (&piece, &mut self.edit) else {
                return Poll::Ready(piece);
            };
            let passed = edit.pass(bytes);
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(passed.into())));
            }
        }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let piece = match self.response.as_mut().poll_next(cx) {
            Poll::Ready(piece) => piece,
            Poll::Pending => {
                let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(STALL_TIMEOUT)));
                return waiting
                    .as_mut()
                    .poll(cx)
                    .map(|()| Some(Err(truncated("it sent nothing for 60 s"))));
            }
        };
        self.waiting = None;
        match piece {
            Some(Ok(bytes)) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.is_empty_until_close = false;
                self.left = self.left.map(|left| left.saturating_sub(length));
                Poll::Ready(Some(Ok(bytes)))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(truncated("the connection failed")))),
            None if self.left.is_some_and(|left| left > 0) => {
                Poll::Ready(Some(Err(truncated("it is shorter than its Content-Length"))))
            }
            None if self.is_empty_until_close => {
                Poll::Ready(Some(Err(truncated("the connection ended before the body"))))
            }
            None => Poll::Ready(None),
        }
    }
}

fn truncated(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the response of the prometheus is truncated: {why}"),
    )
}

impl Stream for ResponseBody {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = self.get_mut();
        if let Some(chunk) = body.ahead.pop_front() {
            return Poll::Ready(Some(chunk));
        }
        match &mut body.rest {
            Some(rest) => rest.next_chunk(cx),
            None => Poll::Ready(None),
        }
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody").field("ahead", &self.ahead.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    #[tokio::test]
    async fn a_body_that_is_too_long_is_not_read_ahead() {
        for (max, expected) in [(5, None), (6, Some("abcdef".into()))] {
            let mut body = ResponseBody::whole("abcdef".into());
            assert_eq!(body.read_ahead(max).await, expected);
            assert_eq!(body.next().await.unwrap().unwrap(), "abcdef", "it is still complete");
            assert!(body.next().await.is_none());
        }
    }
}
