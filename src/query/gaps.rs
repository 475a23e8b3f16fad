//! Exact results of a pool while its replicas have gaps.
//!
//! ```text
//! in the background:  GapFinder ─► ScrapeCounts of each replica ─► compare ─► KnownGaps
//! for each query:     request ─► DataRead ─┐
//!                     expression ─► SamplesRead ─┴─► Plan ─► one replica, slices or a union ─► merge
//! ```
//!
//! A replica has a gap where it made fewer scrapes than the others, or reached less than half of their
//! targets. Replicas scrape the same targets, so their numbers of scrapes are equal as long as none of
//! them is down.
//!
//! Each step of a query reads the samples of some time before it. If a replica has no gap there, its
//! value is right, whatever the functions of the expression. So a range query is split into slices,
//! each of which is answered by a replica that is complete for all its steps. Results are never
//! computed here.

mod comparison;
mod data_read;
mod expression;
mod fill;
mod finder;
mod known;
mod merge;
mod plan;
mod scrape_counts;
mod time_ranges;
mod warnings;

pub(super) use data_read::{Combination, DataRead};
pub(super) use fill::{Filled, Outcome, fill};
pub(super) use finder::GapFinder;
pub use known::{KnownGaps, ReplicaGaps};
pub(super) use plan::{Order, Plan, PlannedReplica, plan};
pub use time_ranges::{TimeRange, TimeRanges};
pub(super) use warnings::WarningFilter;

/// Whether the samples that an expression reads are found.
#[cfg(any(test, feature = "testing"))]
pub(super) fn understands(expression: &str) -> bool {
    expression::samples_read(expression, (0, 1), 1).is_some()
}

/// Merges the slices of a range query.
#[cfg(any(test, feature = "testing"))]
pub(super) fn merge_slices(bodies: &[&[u8]]) -> Result<Vec<u8>, serde_json::Error> {
    merge::merge(Combination::Slices, bodies, true)
}
