//! Merges text: the text format and OpenMetrics, which are lines with the same grammar
//! but for a few, so that most lines are copied from a body to the answer.

mod check;
mod dialect;
mod duplicates;
mod index;
mod indexer;
mod instance;
mod merge;
mod metadata;
mod plan;
mod planned;
mod regroup;
mod rewrite;
mod sample;
mod siblings;
mod strict;
mod tail;
mod task;
mod translate;

use super::{canonical, error, families, format, labels, limits, names, number, span};

pub(super) use instance::Instance;
pub(super) use merge::{Merge, Sink};
pub(super) use siblings::Models;
