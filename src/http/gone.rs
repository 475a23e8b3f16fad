//! Work that ends with the client that waits for it, in HTTP/2 as well.
//!
//! In HTTP/1.1 a client that goes away closes its connection, and the server
//! drops what it was doing. In HTTP/2 the client breaks off one stream of many,
//! and the server runs each request as a task of its own that nobody ends. But
//! a request's body tells that its stream was broken off, when it is asked
//! again after its end.

use actix_web::{error::PayloadError, http::Version, web::Payload};
use bytes::Bytes;
use futures_util::Stream;
use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Pause between two questions whether the client is still there: nothing
/// wakes a task when it leaves.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// The result of `work`, unless the client of a request with this `payload`
/// goes away first.
pub(super) async fn while_waited_for<T>(
    version: Version,
    mut payload: Payload,
    work: impl Future<Output = T>,
) -> Option<T> {
    if version != Version::HTTP_2 {
        return Some(work.await);
    }
    let mut work = pin!(work);
    let mut ticks = tokio::time::interval(ASK_EVERY);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            _ = ticks.tick() => {
                if is_broken_off(&mut payload) {
                    return None;
                }
            }
        }
    }
}

fn is_broken_off(payload: &mut Payload) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    // A body is of no use here; what there is of it makes room for the rest.
    loop {
        let next: Poll<Option<Result<Bytes, PayloadError>>> =
            Pin::new(&mut *payload).poll_next(&mut cx);
        match next {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_))) => return true,
            Poll::Ready(None) | Poll::Pending => return false,
        }
    }
}
