//! Decompresses, checks and indexes the body of a target.

use super::{
    buffer::BodyBuffer,
    failure::{FailureReason, ScrapeFailure},
    inflate::Inflation,
    memory_budget::{Allocation, Reservation},
    outcome::MeasuredBody,
};
use exposition::{self, AddedLabels, Format, IndexedBody, Reader};
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// Bodies larger than this are parsed on another thread, bytes.
const INLINE: usize = 16 << 10;

/// A body as it was received.
#[derive(Debug)]
pub(super) struct FetchedBody {
    pub(super) body: BodyBuffer,
    /// Format according to the Content-Type.
    pub(super) format: Format,
    pub(super) gzip: bool,
    /// Why the header suggests that the body is not an exposition.
    pub(super) header_problem: Option<String>,
    /// Whether the length or the transfer coding shows that the body is complete; otherwise only
    /// its content can.
    pub(super) whole: bool,
}

/// How a body is read.
#[derive(Debug)]
pub(super) struct ReadSettings {
    pub(super) reader: Arc<Reader>,
    /// Labels that are added to the samples.
    pub(super) labels: AddedLabels,
    /// Maximum number of samples; 0 means unlimited.
    pub(super) max_samples: usize,
    /// Maximum size after decompression, bytes.
    pub(super) max_body: u64,
}

impl FetchedBody {
    /// Returns the indexed body. Large bodies are read on another thread.
    pub(super) async fn index(
        mut self,
        settings: ReadSettings,
        reservation: &Reservation,
    ) -> Result<MeasuredBody, ScrapeFailure> {
        if self.gzip {
            self.body = inflate(Inflation::new(self.body, reservation, settings.max_body)?).await?;
            self.whole = true;
        }
        let is_large = self.gzip || self.body.len() > INLINE;
        let check = move || check(self, settings);
        let (body, mut allocation) = if is_large { run_blocking(check).await?? } else { check()? };
        let bytes = allocation.bytes();
        allocation.set_used(body.memory() as u64).await;
        Ok(MeasuredBody { body, bytes, memory: allocation.keep() })
    }
}

async fn inflate(mut inflation: Inflation) -> Result<BodyBuffer, ScrapeFailure> {
    loop {
        inflation.make_room().await;
        let step = move || (inflation.step(), inflation);
        let (is_whole, stepped) = run_blocking(step).await?;
        if is_whole? {
            return Ok(stepped.into_body());
        }
        inflation = stepped;
    }
}

/// Runs CPU-bound work on another thread. The work is cancelled if the future is dropped before it
/// has started.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ScrapeFailure> {
    let work = AbortOnDropHandle::new(tokio::task::spawn_blocking(work));
    work.await.map_err(|_| ScrapeFailure::new(FailureReason::Timeout, "parsing was cancelled"))
}

/// Parses a complete body before any of it is used.
fn check(
    fetched: FetchedBody,
    settings: ReadSettings,
) -> Result<(IndexedBody, Allocation), ScrapeFailure> {
    let FetchedBody { body, format, header_problem, whole, .. } = fetched;
    let ReadSettings { reader, labels, max_samples, .. } = settings;
    if !whole && is_truncated(body.bytes(), format) {
        return Err(ScrapeFailure::new(
            FailureReason::Truncated,
            "the connection was closed before the end of the exposition",
        ));
    }
    let (body, allocation) = body.finish();
    let instance = reader.parse_limited(body, format, labels, max_samples).map_err(|error| {
        // A line that is too long confirms the header: the body is not text.
        let is_limit = error.is_limit()
            && (header_problem.is_none() || error.kind() != exposition::ErrorKind::LineTooLong);
        match &header_problem {
            _ if is_limit => ScrapeFailure::new(FailureReason::Limit, error.to_string()),
            None => ScrapeFailure::new(FailureReason::NotExposition, error.to_string()),
            Some(header_problem) => ScrapeFailure::new(
                FailureReason::NotExposition,
                format!("{header_problem}; as text: {error}"),
            ),
        }
    })?;
    // A body without samples does not refute the header.
    match header_problem.filter(|_| instance.samples() == 0) {
        Some(header_problem) => {
            Err(ScrapeFailure::new(FailureReason::NotExposition, header_problem))
        }
        None => Ok((instance, allocation)),
    }
}

/// Whether a body that was ended by the connection alone lacks its own end.
fn is_truncated(body: &[u8], format: Format) -> bool {
    match format {
        // An empty body may be complete or truncated; it counts as truncated.
        Format::Text004 | Format::Text100 => body.last() != Some(&b'\n'),
        Format::OpenMetrics001 | Format::OpenMetrics100 => {
            !body.trim_ascii_end().ends_with(b"# EOF")
        }
        // The parser reports an incomplete message. A body that ends between two messages cannot be
        // recognized as truncated.
        Format::Protobuf => body.is_empty(),
    }
}
