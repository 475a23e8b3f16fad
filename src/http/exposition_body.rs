//! Whole expositions that this program writes itself, in the format that a scraper accepts.

use crate::http::accept::accepts_gzip;
use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::header::{self, HeaderMap},
};
use exposition::{AddedLabels, Format, Limits, Merge, OutputFormat, Reader};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

/// Size of the pieces in which a response is written, in bytes.
const CHUNK: usize = 64 << 10;

/// Reasons why an exposition cannot be written in a format.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConvertError {
    #[error(transparent)]
    Exposition(#[from] exposition::Error),
    #[error(transparent)]
    Compression(#[from] std::io::Error),
}

/// What a scraper accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub(crate) output: OutputFormat,
    pub(crate) has_gzip: bool,
}

impl Accepted {
    pub(crate) fn by(headers: &HeaderMap) -> Self {
        let text =
            |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        Self {
            output: exposition::negotiate(text(header::ACCEPT)),
            has_gzip: accepts_gzip(text(header::ACCEPT_ENCODING).unwrap_or_default()),
        }
    }

    /// A response without its body.
    pub(crate) fn response(self) -> HttpResponseBuilder {
        let mut response = HttpResponse::Ok();
        response
            .insert_header((header::CONTENT_TYPE, &*self.output.content_type()))
            .insert_header((header::VARY, "Accept, Accept-Encoding"));
        if self.has_gzip {
            response.insert_header((header::CONTENT_ENCODING, "gzip"));
        }
        response
    }

    /// Writes one exposition that consists of `parts`, each with its format.
    ///
    /// # Errors
    /// A part is no exposition of its format.
    pub(crate) fn convert<T: Into<Vec<u8>>>(
        self,
        parts: impl IntoIterator<Item = (T, Format)>,
    ) -> Result<Vec<u8>, ConvertError> {
        let limits = Limits { max_samples: 0, ..Limits::default() };
        let reader = Reader::new(self.output, limits);
        let parse = |(part, from): (T, _)| reader.parse(part.into(), from, AddedLabels::new([]));
        let bodies = parts.into_iter().map(parse).collect::<Result<_, _>>()?;
        let mut merge = Merge::new(self.output, bodies);
        let mut bytes = Vec::new();
        if !self.has_gzip {
            while merge.next_chunk(&mut bytes, CHUNK) {}
            return Ok(bytes);
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        loop {
            bytes.clear();
            let has_bytes = merge.next_chunk(&mut bytes, CHUNK);
            encoder.write_all(&bytes)?;
            if !has_bytes {
                return Ok(encoder.finish()?);
            }
        }
    }
}
