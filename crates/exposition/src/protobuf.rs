//! Merges expositions in the delimited protobuf format: a stream of
//! `io.prometheus.client.MetricFamily` messages, each with its length before it.
//!
//! It is the one format that carries native histograms.
//!
//! # How
//!
//! As with text, a body is checked whole and indexed, and stays as it came. A
//! metric is never decoded to be merged: its bytes are copied, the added labels
//! follow as further label fields, and only the lengths that stand before metric
//! and family are written anew. Fields of a metric that this program has never
//! heard of are copied with the rest; of a family they are not.
//!
//! # Invariants
//!
//! * No sample is lost or altered; only exact duplicates within one instance go
//!   (same family, label set and timestamp; the first is kept).
//! * Families are whole and in the order of their first appearance. A family with
//!   native and classic histograms is two messages, the native ones first: see
//!   [`plan`].
//! * Equal inputs give equal bytes; merging an output again changes nothing.
//! * The length is known, and exact, before the first byte.
//!
//! # What is refused
//!
//! Whatever makes a reader refuse a whole page: lengths that lie, wrong types on the
//! wire, text that is not UTF-8, no names, label names that occur twice or belong
//! to the format, native histograms that contradict themselves.
//! Also a body that would become many times as long in single samples. Families
//! without metrics are passed over, as Prometheus does. A timestamp of 0 is none.
//!
//! # Conflicts
//!
//! Instances that disagree about a family's type, or metrics whose values are not
//! of it, make a *conflict*: every sample becomes an untyped one under its own name,
//! `x_bucket`, `x_sum` and `x_count` of a histogram. Single samples carry neither
//! native buckets nor exemplars nor times of creation; these are [counted](Dropped).

mod check;
mod collisions;
mod decimal;
mod from_text;
mod index;
mod instance;
mod merge;
mod message;
mod naming;
mod native;
mod plan;
mod points;
mod series;
mod text;
mod to_text;
mod untyped;
mod wire;

pub(super) use from_text::from_text;
pub(super) use instance::Instance;
pub(super) use merge::Merge;
pub(super) use to_text::to_text;

use super::{format::Escaping, stats::Stats};

/// How a merge is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// How names that not every reader knows are written. Where two become
    /// equal, families are merged and labels renamed.
    pub(super) escaping: Escaping,
}

/// What was left out because the target has no place for it, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Exemplars.
    pub(super) exemplars: usize,
    /// Times since when a value counts.
    pub(super) created: usize,
    /// The native parts of histograms; their sum and count stay.
    pub(super) native_histograms: usize,
}

impl From<Dropped> for Stats {
    fn from(dropped: Dropped) -> Self {
        Self {
            lost_exemplars: dropped.exemplars,
            lost_created: dropped.created,
            lost_native_histograms: dropped.native_histograms,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;
