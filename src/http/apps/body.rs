//! Streamed response bodies of merged metrics.

use crate::scrape::{CompressedMerge, Merge, Reservation};
use actix_web::{
    body::{BodySize, MessageBody},
    web::Bytes,
};
use flate2::{Compression, write::GzEncoder};
use std::{
    convert::Infallible,
    io::Write,
    pin::Pin,
    task::{Context, Poll},
};

/// Size of a chunk in bytes. It is large enough to amortize a system call, and small enough for the
/// cache of a CPU core.
const CHUNK: usize = 256 << 10;

/// Size of a compressed chunk in bytes. It is smaller because compression takes more time.
const COMPRESSED_CHUNK: usize = 32 << 10;

/// The uncompressed body. Its length is known.
pub(super) struct Plain {
    merge: Merge,
    /// Released with the merge: after the last chunk, or when the client disconnects.
    _memory: Reservation,
}

/// The gzip-compressed body.
pub(super) struct Gzip {
    encoder: Encoder,
    /// Released with the merge: after the last chunk, or when the client disconnects.
    _memory: Reservation,
}

enum Encoder {
    /// For text formats.
    OfLines(CompressedMerge),
    /// For other formats.
    General(Box<Deflating>),
}

/// A generic compressor that compresses chunk by chunk.
struct Deflating {
    merge: Merge,
    chunk: Vec<u8>,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Plain {
    pub(super) fn new(merge: Merge, memory: Reservation) -> Self {
        Self { merge, _memory: memory }
    }
}

impl MessageBody for Plain {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.merge.content_length())
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut chunk = Vec::with_capacity(CHUNK + (CHUNK >> 3));
        self.get_mut().merge.next_chunk(&mut chunk, CHUNK);
        Poll::Ready((!chunk.is_empty()).then(|| Ok(chunk.into())))
    }
}

impl Gzip {
    pub(super) fn new(merge: Merge, memory: Reservation) -> Self {
        let encoder = match merge.compress() {
            Ok(compressed) => Encoder::OfLines(compressed),
            Err(merge) => Encoder::General(Box::new(Deflating::new(merge))),
        };
        Self { encoder, _memory: memory }
    }
}

impl Deflating {
    fn new(merge: Merge) -> Self {
        let encoder = GzEncoder::new(Vec::with_capacity(CHUNK), Compression::fast());
        Self { merge, chunk: Vec::with_capacity(CHUNK), encoder: Some(encoder) }
    }

    /// Compresses the next chunk. Returns `None` after the end.
    fn step(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let Some(encoder) = &mut self.encoder else { return Ok(None) };
        self.chunk.clear();
        self.merge.next_chunk(&mut self.chunk, CHUNK);
        if self.chunk.is_empty() {
            return self.encoder.take().map(GzEncoder::finish).transpose();
        }
        encoder.write_all(&self.chunk)?;
        Ok(Some(std::mem::take(encoder.get_mut())))
    }
}

impl MessageBody for Gzip {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, std::io::Error>>> {
        let step = match &mut self.get_mut().encoder {
            Encoder::OfLines(compressed) => Ok(compressed.next_chunk(COMPRESSED_CHUNK)),
            Encoder::General(deflating) => deflating.step(),
        };
        match step {
            Ok(None) => Poll::Ready(None),
            Ok(Some(compressed)) if compressed.is_empty() => {
                // The compressor returned no bytes yet. Yield to other tasks of the worker.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Some(compressed)) => Poll::Ready(Some(Ok(compressed.into()))),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}
