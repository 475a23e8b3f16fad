//! Merges text: the text format and OpenMetrics, which are lines with the same grammar
//! but for a few, so that most lines are copied from a body to the answer.

mod check;
mod collisions;
mod dialect;
mod duplicates;
mod index;
mod indexer;
mod instance;
mod line_breaks;
mod merge;
mod metadata;
mod plan;
mod planned;
mod regroup;
mod rewrite;
mod sample;
mod siblings;
mod sources;
mod strict;
mod tail;
mod task;
mod translate;

use super::{
    canonical, error, families, format, label_sets, labels, limits, names, number, renames,
    repeated, span,
};

pub(super) use instance::Instance;
pub(super) use merge::{Merge, Sink};
pub(super) use siblings::Models;
