//! Outcome of scraping a target.

use super::{
    failure::{FailureReason, ScrapeFailure},
    plan::ScrapeTarget,
};
use exposition::IndexedBody;
use std::time::Duration;

/// A body and its sizes.
#[derive(Debug)]
pub(super) struct MeasuredBody {
    pub(super) body: IndexedBody,
    /// Size of the body after decompression, bytes.
    pub(super) bytes: u64,
    /// Memory of the body, its index and its part of the merge, bytes.
    pub(super) memory: u64,
}

#[derive(Debug)]
pub(super) struct TargetOutcome {
    pub(super) duration: Duration,
    /// As in [`MeasuredBody`]; 0 after a failure.
    pub(super) bytes: u64,
    pub(super) memory: u64,
    pub(super) result: Result<IndexedBody, ScrapeFailure>,
}

/// A target and its outcome.
#[derive(Debug)]
pub(super) struct ScrapedTarget {
    pub(super) target: ScrapeTarget,
    pub(super) outcome: TargetOutcome,
}

impl TargetOutcome {
    pub(super) fn new(duration: Duration, result: Result<MeasuredBody, ScrapeFailure>) -> Self {
        match result {
            Ok(MeasuredBody { body, bytes, memory }) => {
                Self { duration, bytes, memory, result: Ok(body) }
            }
            Err(failure) => Self { duration, bytes: 0, memory: 0, result: Err(failure) },
        }
    }

    /// The reason, if the target failed.
    pub(super) fn failure_reason(&self) -> Option<FailureReason> {
        self.result.as_ref().err().map(|failure| failure.reason)
    }
}

/// Whether every target failed, and at least one because no connection was free.
pub(super) fn lacked_connections(outcomes: &[TargetOutcome]) -> bool {
    let mut reasons = outcomes.iter().map(TargetOutcome::failure_reason);
    outcomes.iter().all(|one| one.result.is_err())
        && reasons.any(|reason| reason == Some(FailureReason::NoConnection))
}
