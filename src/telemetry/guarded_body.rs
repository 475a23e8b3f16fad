//! A response body that keeps a guard.

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    web::Bytes,
};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// Keeps a guard, such as the entry of a list, until the body is sent or dropped.
#[derive(Debug)]
pub struct GuardedBody<G> {
    body: BoxBody,
    _guard: G,
}

impl<G> GuardedBody<G> {
    pub fn new(body: impl MessageBody + 'static, guard: G) -> Self {
        Self { body: body.boxed(), _guard: guard }
    }
}

impl<G: Unpin> MessageBody for GuardedBody<G> {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
