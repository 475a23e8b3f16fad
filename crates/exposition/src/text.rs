//! Merges the text formats and OpenMetrics.
//!
//! Their grammars differ in few points, so most lines are copied from a body to the output.

mod body;
mod duplicates;
mod family_mapping;
mod index;
mod indexer;
mod inspect;
mod line_breaks;
mod lost_types;
mod merge;
mod metadata;
mod name_collisions;
mod output_dialect;
mod output_family;
mod plan;
mod regroup;
mod repeated_series;
mod rewrite;
mod sample;
mod sample_check;
mod sample_tail;
mod shared_series;
mod template;
mod type_rules;

use super::{
    canonical, duplicate_sample, error, families, format, known_families, label_sets, labels,
    limits, lost_type, names, number, renames, span,
};

pub(super) use body::TextBody;
pub(super) use inspect::inspect;
pub(super) use merge::{LineSink, TextMerge};
pub(super) use template::Templates;
