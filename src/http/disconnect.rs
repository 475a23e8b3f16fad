//! Cancels a handler when its client disconnects, also in HTTP/2.
//!
//! In HTTP/1.1 a client disconnects by closing its connection, and actix drops the handler. In
//! HTTP/2 a client resets a stream. actix runs each request as a detached task and does not cancel
//! it. But reading the payload of a reset stream returns an error.

use actix_web::{error::PayloadError, http::Version};
use bytes::Bytes;
use futures_util::Stream;
use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Interval of checks for a reset, because a reset wakes no task.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Returns the result of `work`, or `None` if the client of the request with this `payload`
/// disconnects first.
pub(super) async fn cancel_on_disconnect<T>(
    version: Version,
    mut payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    work: impl Future<Output = T>,
) -> Option<T> {
    if version != Version::HTTP_2 {
        return Some(work.await);
    }
    let mut work = pin!(work);
    let mut ticks = tokio::time::interval(CHECK_INTERVAL);
    loop {
        tokio::select! {
            biased;
            result = &mut work => return Some(result),
            _ = ticks.tick() => {
                if is_reset(&mut payload) {
                    return None;
                }
            }
        }
    }
}

fn is_reset(payload: &mut (impl Stream<Item = Result<Bytes, PayloadError>> + Unpin)) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    // Handlers of these requests ignore the body. It is read to reach the error after it.
    loop {
        match Pin::new(&mut *payload).poll_next(&mut cx) {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_))) => return true,
            Poll::Ready(None) | Poll::Pending => return false,
        }
    }
}
