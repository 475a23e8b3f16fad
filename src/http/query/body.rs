//! Bodies of requests to Prometheus. A short body is kept, so that the request can be sent to another
//! replica. A longer one is streamed.

use super::Problem;
use crate::query::{BodyContent, BodyKind, RequestBody, RequestBodyError, StreamedBody};
use actix_web::{
    http::header::{self, HeaderMap, HeaderValue},
    web::{self, Bytes, BytesMut},
};
use futures_util::{Stream, StreamExt, future, stream};
use std::{cell::RefCell, future::poll_fn, pin::Pin, rc::Rc, time::Duration};
use tokio::time::timeout;

/// Maximum length of a body that is kept, bytes.
const MAX_KEPT: usize = 1 << 20;
/// Maximum length of a form, bytes. Prometheus reads no more than this.
const MAX_FORM: u64 = 10 << 20;
/// Maximum length of samples to write, bytes.
const MAX_WRITE: u64 = 32 << 20;
/// Timeout for a body that is kept, and for the next bytes of a longer one.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The body of a client's request. Clones are the same body.
#[derive(Clone)]
pub(in crate::http) struct ClientBody(Rc<RefCell<web::Payload>>);

impl ClientBody {
    pub(in crate::http) fn new(payload: web::Payload) -> Self {
        Self(Rc::new(RefCell::new(payload)))
    }

    /// Reads the body, or its first part if it is long.
    pub(super) async fn read(
        &self,
        kind: BodyKind,
        headers: &HeaderMap,
    ) -> Result<RequestBody, Problem> {
        let max = if kind == BodyKind::Write { MAX_WRITE } else { MAX_FORM };
        let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse().ok();
        let length: Option<u64> = headers.get(header::CONTENT_LENGTH).and_then(number);
        if length.is_some_and(|length| length > max) {
            return Err(RequestBodyError::TooLong(max).into());
        }
        let is_known = kind != BodyKind::Form || is_form(headers.get(header::CONTENT_TYPE));
        let reading = async {
            let mut kept = BytesMut::new();
            while let Some(chunk) = self.next().await {
                let chunk = chunk?;
                if !is_known && !chunk.is_empty() {
                    return Err(Problem::NoForm);
                }
                if kept.len() + chunk.len() > MAX_KEPT {
                    let kept = kept.freeze();
                    let rest = self.rest(chunk, kept.len(), max).boxed_local();
                    return Ok(BodyContent::Streamed(StreamedBody::new(kept, length, rest)));
                }
                kept.extend_from_slice(&chunk);
            }
            Ok(BodyContent::Kept(kept.freeze()))
        };
        let content = timeout(TIMEOUT, reading)
            .await
            .unwrap_or_else(|_| Err(RequestBodyError::TooSlow.into()))?;
        Ok(RequestBody { kind, content })
    }

    /// The chunks from `first` on, which follow `kept` bytes.
    fn rest(
        &self,
        first: Bytes,
        kept: usize,
        max: u64,
    ) -> impl Stream<Item = Result<Bytes, RequestBodyError>> + use<> {
        let more = stream::unfold(self.clone(), async |body| Some((body.next().await?, body)));
        let mut length = u64::try_from(kept).unwrap_or(u64::MAX);
        stream::once(future::ready(Ok(first))).chain(more).map(move |chunk| {
            let chunk = chunk?;
            length = length.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            if length > max { Err(RequestBodyError::TooLong(max)) } else { Ok(chunk) }
        })
    }

    async fn next(&self) -> Option<Result<Bytes, RequestBodyError>> {
        let chunk = poll_fn(|cx| Pin::new(&mut *self.0.borrow_mut()).poll_next(cx));
        match timeout(TIMEOUT, chunk).await {
            Ok(chunk) => chunk.map(|it| it.map_err(|_| RequestBodyError::Disconnected)),
            Err(_) => Some(Err(RequestBodyError::TooSlow)),
        }
    }
}

/// A missing content type means a form. Some clients send a POST request without a body, and
/// parameters in the query. vmalert then sends the type `application/json`, and later versions send
/// none.
fn is_form(content_type: Option<&HeaderValue>) -> bool {
    let Some(content_type) = content_type else { return true };
    let media_type = content_type.to_str().unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    media_type.is_empty() || media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
