//! Bodies of requests that are too long to be kept.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::LocalBoxStream};
use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// Why the body of a request is not complete. The client is the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyError {
    #[error("the body of this request is longer than {} MiB", .0 >> 20)]
    TooLong(u64),
    #[error("the body of this request did not arrive in time")]
    TooSlow,
    #[error("the client disconnected before the body of its request was complete")]
    Disconnected,
}

/// A body whose first part is kept. Several servers can get it one after the other, until one of them
/// has got a byte of the rest. Clones are the same body.
#[derive(Clone)]
pub struct StreamedBody(Rc<Shared>);

struct Shared {
    kept: Bytes,
    /// The length of the whole body, if it was announced.
    length: Option<u64>,
    rest: RefCell<LocalBoxStream<'static, Result<Bytes, RequestBodyError>>>,
    /// Whether nothing was read from `rest`.
    is_unread: Cell<bool>,
    /// Whether `rest` had nothing to read the last time.
    waits_for_client: Cell<bool>,
    error: Cell<Option<RequestBodyError>>,
}

/// The whole body, for one server.
pub(super) struct BodyChunks {
    kept: Option<Bytes>,
    body: StreamedBody,
}

impl StreamedBody {
    pub fn new(
        kept: Bytes,
        length: Option<u64>,
        rest: LocalBoxStream<'static, Result<Bytes, RequestBodyError>>,
    ) -> Self {
        Self(Rc::new(Shared {
            kept,
            length,
            rest: RefCell::new(rest),
            is_unread: Cell::new(true),
            waits_for_client: Cell::new(false),
            error: Cell::new(None),
        }))
    }

    /// The first part.
    pub fn kept(&self) -> &Bytes {
        &self.0.kept
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.0.length
    }

    pub(super) fn is_unread(&self) -> bool {
        self.0.is_unread.get()
    }

    /// Whether the server has got everything that the client has sent, and more must follow.
    pub(super) fn waits_for_client(&self) -> bool {
        self.0.waits_for_client.get()
    }

    pub(super) fn error(&self) -> Option<RequestBodyError> {
        self.0.error.get()
    }

    /// The body from its start. Call it only while the body [`is_unread`](Self::is_unread).
    pub(super) fn chunks(&self) -> BodyChunks {
        BodyChunks { kept: Some(self.0.kept.clone()), body: self.clone() }
    }
}

impl Stream for BodyChunks {
    type Item = Result<Bytes, RequestBodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunks = self.get_mut();
        if let Some(kept) = chunks.kept.take() {
            return Poll::Ready(Some(Ok(kept)));
        }
        let shared = &chunks.body.0;
        let polled = shared.rest.borrow_mut().poll_next_unpin(cx);
        shared.waits_for_client.set(polled.is_pending());
        if let Poll::Ready(Some(chunk)) = &polled {
            shared.is_unread.set(false);
            shared.error.set(chunk.as_ref().err().copied());
        }
        polled
    }
}

impl std::fmt::Debug for StreamedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamedBody").field("length", &self.0.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[tokio::test]
    async fn a_body_can_be_sent_again_until_its_rest_is_read() {
        let rest = [Ok("b".into()), Err(RequestBodyError::TooSlow)];
        let rest = stream::iter(rest).chain(stream::pending());
        let body = StreamedBody::new("a".into(), None, rest.boxed_local());
        for _ in 0..2 {
            assert_eq!(body.chunks().next().await, Some(Ok("a".into())));
            assert!(body.is_unread());
        }
        let mut chunks = body.chunks();
        assert_eq!(chunks.next().await, Some(Ok("a".into())));
        assert_eq!(chunks.next().await, Some(Ok("b".into())));
        assert!(!body.is_unread() && body.error().is_none() && !body.waits_for_client());
        assert!(chunks.next().await.is_some_and(|it| it.is_err()));
        assert_eq!(body.error(), Some(RequestBodyError::TooSlow));
        assert!(futures_util::poll!(chunks.next()).is_pending() && body.waits_for_client());
    }
}
