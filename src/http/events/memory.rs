//! The memory of bodies of events.

use super::EventsError;
use actix_web::{
    body::{BodySize, MessageBody},
    web::Bytes,
};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum memory of all bodies together, in units.
const MAX_UNITS: usize = 64 << 10;
/// Size of a unit, in bytes.
const UNIT: usize = 1 << 10;
/// Size of a chunk, in bytes. The server buffers one chunk for a client that does not read.
const CHUNK: usize = 64 << 10;

/// Memory for bodies that are received or sent. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct BodyMemory(Arc<Semaphore>);

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_UNITS)))
    }
}

impl BodyMemory {
    /// Reserves memory for a body of at most `bytes`. Refuses at once if too much is in use.
    pub(super) fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, EventsError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| EventsError::Busy)?;
        Arc::clone(&self.0).try_acquire_many_owned(units).map_err(|_| EventsError::Busy)
    }
}

/// The body of a response. Its memory is released after the last byte, or when the client
/// disconnects.
pub(super) struct ReservedBody {
    bytes: Bytes,
    _memory: OwnedSemaphorePermit,
}

impl ReservedBody {
    pub(super) fn new(bytes: Vec<u8>, memory: &BodyMemory) -> Result<Self, EventsError> {
        Ok(Self { _memory: memory.reserve(bytes.len())?, bytes: bytes.into() })
    }
}

impl MessageBody for ReservedBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let length = self.bytes.len().min(CHUNK);
        let chunk = self.bytes.split_to(length);
        Poll::Ready((!chunk.is_empty()).then_some(Ok(chunk)))
    }
}
