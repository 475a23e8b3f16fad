//! Merges Prometheus expositions of several instances into one exposition.
//!
//! The crate reads and writes text format 0.0.4 and 1.0.0, OpenMetrics 0.0.1 and 1.0.0, and
//! protobuf. It has no I/O and no clock.
//!
//! # Why concatenation is not enough
//!
//! Each format allows the metadata of a metric family once, and requires the samples of a family to
//! be contiguous. The instances of an app expose the same families, so strict parsers refuse
//! concatenated expositions. Instances can also disagree about the type of a family or use
//! different formats. A scraper accepts or refuses a response as a whole, so an error of one
//! instance must not affect the samples of the others.
//!
//! # How it works
//!
//! ```text
//! Accept ──► negotiate ──► OutputFormat
//! body ──► Reader::parse ──► IndexedBody ─┐
//! body ──► Reader::parse ──► IndexedBody ─┼─► Merge::new ──► next_chunk, next_chunk, …
//! body ──► Reader::parse ──► Error        ┘       └─────────► compress ──► next_chunk, …
//! ```
//!
//! 1. [`Reader`] validates each body and indexes it for an [`OutputFormat`]. The body itself is not
//!    changed. The index has 4 bytes per sample, and an entry for each group of lines of one family.
//!    If [`Reader::with_template`] is used, the reader compares each body with the first one and
//!    parses only the differences.
//! 2. [`Merge`] aligns the families of all bodies and resolves conflicts. It copies lines from the
//!    bodies when a chunk is requested. The memory for a merge is therefore that of the bodies, the
//!    indexes and one chunk. [`IndexedBody::memory`] estimates it.
//! 3. [`CompressedMerge`] compresses the same lines without building the plain output.
//!
//! [`inspect()`] reports the families and labels of bodies: which families are missing in some of
//! them, which types contradict each other, and which labels have most values.
//!
//! ```
//! use exposition::{AddedLabels, Format, Limits, Merge, OutputFormat, Reader};
//!
//! let output = OutputFormat::new(Format::Text004);
//! let reader = Reader::new(output, Limits::default()).with_template();
//! let label = |index| AddedLabels::new([("index", index)]);
//! let text = "# TYPE jobs_total counter\njobs_total 1 1500\n";
//! let openmetrics = "# TYPE jobs counter\njobs_total{zone=\"b\"} 2\n# EOF\n";
//! let one = reader.parse(text, Format::Text004, label("0"))?;
//! let two = reader.parse(openmetrics, Format::OpenMetrics100, label("1"))?;
//! let mut merge = Merge::new(output, vec![one, two]);
//! let length = merge.content_length();
//! let mut merged = Vec::new();
//! while merge.next_chunk(&mut merged, 64 * 1024) {}
//! assert_eq!(
//!     String::from_utf8_lossy(&merged),
//!     "# TYPE jobs_total counter\n\
//!      jobs_total{index=\"0\"} 1 1500\n\
//!      jobs_total{zone=\"b\",index=\"1\"} 2\n"
//! );
//! assert_eq!(merged.len() as u64, length);
//! # Ok::<(), exposition::Error>(())
//! ```
//!
//! # Invariants
//!
//! * No sample is lost or changed, except for duplicates: within one instance, samples with the
//!   same name, labels and timestamp; between instances, samples with the same series. The first
//!   sample is kept. [`Stats`] counts them, and all other data that the output format cannot carry.
//! * The output is spec-compliant even if the input is not: `promtool check metrics`, a strict
//!   OpenMetrics parser and Prometheus accept it.
//! * Equal inputs give equal bytes. Merging an output again does not change it.
//! * [`Merge::content_length`] is exact before the first byte is written.
//!
//! # Accepted input
//!
//! The reader accepts all input that Prometheus' parsers accept. It also accepts `\r\n`, blanks at
//! the start of a line, types in capital letters, blanks after a type, and a byte order mark. The
//! output has one canonical form: no empty lines or comments, single blanks, and unknown escapes
//! with a doubled backslash.
//!
//! The reader refuses input that would make a scraper refuse the whole output: timestamps with a
//! sign in the text format, hexadecimal or overflowing values, duplicate label names, and
//! OpenMetrics without `# EOF`.
//!
//! # Families and conflicts
//!
//! `x_bucket`, `x_sum` and `x_count` belong to a histogram `x`. `x_sum`, `x_count` and
//! `x{quantile="…"}` belong to a summary `x`. The `TYPE` line can be at any position and in any
//! instance. There is a conflict in these cases:
//!
//! * A family has two types.
//! * Another family's `TYPE` line claims a sample name of a histogram or summary.
//! * The samples do not fit the type, such as a bucket whose `le` is not a number.
//!
//! In a conflict each sample name becomes an untyped family. It is no conflict if some instances
//! have no `TYPE` line.
//!
//! OpenMetrics has rules for the samples of each type that the text format does not have. For
//! example, a counter is not negative and a histogram has a bucket `+Inf`. A family that violates a
//! rule is written with type `unknown`, one family per sample name.
//!
//! # Modules
//!
//! * `text` merges text formats and OpenMetrics, `protobuf` merges protobuf.
//! * `gzip` compresses lines.
//! * The other modules are shared: formats and negotiation, names and escaping, numbers, labels,
//!   families.

#![warn(missing_docs)]

mod canonical;
mod compressed;
mod duplicate_sample;
mod error;
mod families;
mod format;
mod gzip;
mod indexed_body;
mod inspect;
mod known_families;
mod label_sets;
mod labels;
mod limits;
mod lost_type;
mod media_type;
mod merge;
mod names;
mod negotiate;
mod number;
mod protobuf;
mod reader;
mod renames;
mod span;
mod stats;
mod text;

pub use compressed::CompressedMerge;
pub use duplicate_sample::{DuplicateSample, SampleLocation};
pub use error::{Error, ErrorKind};
pub use format::{Format, OutputFormat, UnknownFormat, UnsupportedMediaType};
pub use indexed_body::IndexedBody;
pub use inspect::{FamilyInBody, FamilyReport, InspectLimits, Inspection, LabelReport, inspect};
pub use labels::AddedLabels;
pub use limits::Limits;
pub use lost_type::{LostType, LostTypeReason, TypeConflict, TypeRule};
pub use merge::Merge;
pub use names::Escaping;
pub use negotiate::{accepted_formats, choose_format, negotiate, scrape_accept_header};
pub use reader::Reader;
pub use stats::Stats;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
