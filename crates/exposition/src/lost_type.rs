//! Families that a merge writes without the type that a body declares.

use std::fmt;

use super::{duplicate_sample::SampleLocation, format::Format};

/// A family of one body that a merge writes without its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostType {
    /// The name of the family in the merge. The name of a counter is that of its samples, for
    /// example `requests_total`.
    pub family: String,
    /// The type that the body declares, or `unknown` (`untyped`) for a family that only has a unit.
    pub metric_type: &'static str,
    /// Why the type is lost.
    pub reason: LostTypeReason,
    /// The body, and the line of the first sample that violates the rule. For other reasons it is
    /// the first line that names the family.
    pub location: SampleLocation,
}

/// Why a merge writes a family without its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostTypeReason {
    /// Something contradicts the type.
    Conflict(TypeConflict),
    /// The samples violate a rule of the type.
    Rule(TypeRule),
    /// The output is OpenMetrics, where the samples of a counter have the suffix `_total`.
    CounterName,
    /// The output format does not have the type.
    Format,
}

/// What contradicts the type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeConflict {
    /// Another body, or another line, declares another type.
    Types,
    /// Samples of the family are not those of its type, such as a bucket without `le`.
    Samples,
    /// Another family has the name of a sample of this type.
    Names,
}

/// A rule of OpenMetrics for the samples of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypeRule {
    /// A counter is neither negative nor NaN.
    Counter,
    /// An info is 1 and has no timestamp.
    Info,
    /// A state is 0 or 1.
    State,
    /// Each sample of a stateset has a label with the name of the family.
    StateLabel,
    /// Quantiles are from 0 to 1.
    Quantile,
    /// The value of a quantile is not negative.
    QuantileValue,
    /// A sum is neither negative nor NaN.
    Sum,
    /// Counts are integers and not negative.
    Count,
    /// The bounds of buckets are numbers and ascend.
    BucketOrder,
    /// The bounds of buckets or quantiles are different numbers.
    EqualBounds,
    /// The counts of buckets do not decrease.
    BucketCount,
    /// The last bucket is `+Inf`.
    InfBucket,
    /// The count equals the bucket `+Inf`.
    CountOfBuckets,
    /// Sum and count occur together.
    SumAndCount,
    /// A histogram with negative buckets has no sum.
    NegativeBuckets,
    /// Samples of a metric have a timestamp, or none has one.
    Timestamps,
    /// The name of the family ends in its unit. An info or stateset has no unit.
    Unit,
}

impl TypeRule {
    /// Whether the documentation of `format` has this rule too. The rules of the text format are
    /// fewer than those of OpenMetrics: for example, a sum can be negative.
    pub fn is_in(self, format: Format) -> bool {
        match format {
            Format::Text004 | Format::Text100 => matches!(
                self,
                Self::Counter
                    | Self::Quantile
                    | Self::BucketOrder
                    | Self::BucketCount
                    | Self::InfBucket
                    | Self::CountOfBuckets
            ),
            Format::OpenMetrics001 | Format::OpenMetrics100 | Format::Protobuf => true,
        }
    }
}

impl fmt::Display for TypeRule {
    /// Names the violation, as in `a bucket counts less than the one before it`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "the value is negative or NaN",
            Self::Info => "the value is not 1, or the sample has a timestamp",
            Self::State => "the value is neither 0 nor 1",
            Self::StateLabel => "the sample has no label with the name of the family",
            Self::Quantile => "`quantile` is not a number from 0 to 1",
            Self::QuantileValue => "the value of the quantile is negative",
            Self::Sum => "the sum is negative or NaN",
            Self::Count => "the count is negative or not an integer",
            Self::BucketOrder => "`le` is not a number above that of the bucket before it",
            Self::EqualBounds => "two bounds are the same number",
            Self::BucketCount => "the bucket counts less than the one before it",
            Self::InfBucket => "the bucket `+Inf` is missing",
            Self::CountOfBuckets => "the count differs from the bucket `+Inf`",
            Self::SumAndCount => "of sum and count only one is there",
            Self::NegativeBuckets => "there are negative buckets and a sum",
            Self::Timestamps => "some samples of the metric have a timestamp and others have none",
            Self::Unit => "the name does not end in the unit, or the type has no unit",
        })
    }
}

impl fmt::Display for LostTypeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(TypeConflict::Types) => f.write_str("another type is declared too"),
            Self::Conflict(TypeConflict::Samples) => f.write_str("samples do not fit the type"),
            Self::Conflict(TypeConflict::Names) => {
                f.write_str("another family has the name of one of its samples")
            }
            Self::Rule(rule) => rule.fmt(f),
            Self::CounterName => f.write_str("the samples are not named with `_total`"),
            Self::Format => f.write_str("the format does not have the type"),
        }
    }
}
