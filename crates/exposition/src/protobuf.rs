//! Merges expositions in the delimited protobuf format: a stream of
//! `io.prometheus.client.MetricFamily` messages, each after its length.
//!
//! Protobuf is the only format with native histograms. The schema is
//! `io/prometheus/client/metrics.proto` in `github.com/prometheus/client_model`.
//!
//! # How it works
//!
//! A body is validated and indexed and is not changed. Metrics are copied without decoding. The
//! added labels are appended as label fields, and the lengths of the metric and of the family are
//! written anew. Unknown fields of a metric are copied too; those of a family are not.
//!
//! # Invariants
//!
//! * No sample is lost or changed, except for duplicates: samples of one family with the same
//!   labels and timestamp. The first is kept.
//! * Families are in the order of their first appearance. A family with native and classic
//!   histograms becomes two messages, with the native histograms first: see [`plan`].
//! * Equal inputs give equal bytes. Merging an output again does not change it.
//! * The length is exact before the first byte is written.
//!
//! # Refused input
//!
//! The reader refuses input that would make a scraper refuse the whole output: invalid lengths,
//! wrong wire types, text that is not UTF-8, missing names, duplicate or reserved label names, and
//! inconsistent native histograms. It also refuses a body whose conversion to single samples would
//! be many times as long. Families without metrics are skipped, as Prometheus does. A timestamp of
//! 0 means no timestamp.
//!
//! # Conflicts
//!
//! There is a conflict if instances disagree about the type of a family, or if metrics have values
//! of another type. Each sample then becomes an untyped metric: a histogram becomes `x_bucket`,
//! `x_sum` and `x_count`. Untyped metrics carry neither native buckets nor exemplars nor created
//! timestamps. [`Dropped`] counts these.

mod body;
mod decimal;
mod duplicates;
mod from_text;
mod index;
mod merge;
mod message;
mod metric_check;
mod name_collisions;
mod native_histogram;
mod openmetrics_text;
mod output_names;
mod plan;
mod samples;
mod shared_metrics;
mod to_text;
mod untyped_samples;
mod wire;

pub(super) use body::ProtobufBody;
pub(super) use from_text::from_text;
pub(super) use merge::ProtobufMerge;
pub(super) use to_text::to_text;

use super::stats::Stats;

/// Counts of data that the output cannot carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) exemplars: usize,
    /// Created timestamps.
    pub(super) created: usize,
    /// Native parts of histograms. The sum and the count remain.
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
