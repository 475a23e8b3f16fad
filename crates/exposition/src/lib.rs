//! Merges Prometheus expositions of several instances into one, in any of their formats.
//!
//! Bytes in, bytes out: no clock, no socket and no log line.
//!
//! # Why a merge is more than concatenation
//!
//! Each format wants the metadata of a metric family once and all samples of the
//! family together. Instances of one app expose the same families, so a plain
//! concatenation is refused by a strict parser, and two instances can disagree
//! about a family's type, or speak different formats. What one instance gets wrong
//! must not cost the samples of the others, because a scraper takes or refuses
//! an answer as a whole.
//!
//! # How
//!
//! ```text
//! Accept ──► negotiate ──► Target
//! body ──► Reader::parse ──► Instance ─┐
//! body ──► Reader::parse ──► Instance ─┼─► Merge::new ──► next_chunk, next_chunk, …
//! body ──► Reader::parse ──► error     ┘   (plan)    └──► compress ──► next_chunk, …
//! ```
//!
//! A [`Reader`] checks a body whole and writes an index for the [`Target`]: one word
//! for each sample line and a few for each stretch of lines of one family. The body
//! stays as it came. Bodies of one merge are mostly alike, so the first one teaches what
//! there is to know about the lines of the others. [`Merge`] lines the families up and
//! copies lines out of the bodies when a chunk is asked for, so that memory is the
//! bodies, their index and one chunk, however much longer the answer is.
//! [`Compressed`] takes the same parts of lines, and never has the answer uncompressed.
//!
//! ```
//! use exposition::{Format, Labels, Limits, Merge, Reader, Target};
//!
//! let target = Target::new(Format::Text004);
//! let reader = Reader::new(target, Limits::default()).for_siblings();
//! let label = |index| Labels::new([("index", index)]);
//! let text = "# TYPE jobs_total counter\njobs_total 1 1500\n";
//! let openmetrics = "# TYPE jobs counter\njobs_total{zone=\"b\"} 2\n# EOF\n";
//! let one = reader.parse(text, Format::Text004, label("0"))?;
//! let two = reader.parse(openmetrics, Format::OpenMetrics100, label("1"))?;
//! let mut merge = Merge::new(target, vec![one, two]);
//! let length = merge.content_length();
//! let mut answer = Vec::new();
//! while merge.next_chunk(&mut answer, 64 * 1024) {}
//! assert_eq!(
//!     String::from_utf8_lossy(&answer),
//!     "# TYPE jobs_total counter\n\
//!      jobs_total{index=\"0\"} 1 1500\n\
//!      jobs_total{zone=\"b\",index=\"1\"} 2\n"
//! );
//! assert_eq!(answer.len() as u64, length);
//! # Ok::<(), exposition::Error>(())
//! ```
//!
//! # Invariants
//!
//! * No sample is lost or altered; only exact duplicates within one instance go
//!   (same name, label set and timestamp; the first is kept). What a format has no
//!   place for besides samples is left out and [counted](Stats).
//! * The output is strict: readable for `promtool check metrics`, for a strict
//!   OpenMetrics parser and for Prometheus, whatever leniency the input needed.
//! * Equal inputs give equal bytes; merging an output again changes nothing.
//! * The length is known, and exact, before the first byte.
//!
//! # What is accepted
//!
//! Everything that Prometheus' own parsers take. Also, as other parsers do: `\r\n`, blanks at the start of a
//! line, a type in capitals, blanks after a type, a byte order mark. Written out
//! it is one canonical form: no blank lines or comments, single blanks, unknown
//! escapes with their backslash doubled. Refused, because a reader of the output
//! would refuse all of it: signed timestamps in the text format, hexadecimal or
//! overflowing values, duplicate label names, and OpenMetrics without its `# EOF`.
//!
//! # Families
//!
//! `x_bucket`, `x_sum` and `x_count` belong to a histogram `x`; `x_sum`, `x_count`
//! and `x{quantile="…"}` to a summary `x`, wherever in the body its `TYPE` line
//! stands and whichever instance has it. A *conflict* is a family of two
//! types; a histogram or summary beside a family whose `TYPE` line claims one of its
//! sample names; and samples that their type cannot have (a bucket without a
//! number in `le`). Then every sample name becomes an untyped family of its own.
//! A family that only lacks its `TYPE` line in some instances is no conflict.
//!
//! OpenMetrics has rules for the samples of a type besides, which the text format
//! does not have (a counter is not negative, a histogram has `+Inf`). A family that
//! breaks one is written as `unknown` there, sample name by sample name.
//!
//! # Modules
//!
//! `text` merges the line formats, `protobuf` the binary one; `gzip` compresses lines. What
//! they share lies beside them: formats and their negotiation, names and their escapes,
//! numbers, labels, families.

mod canonical;
mod compressed;
mod error;
mod families;
mod format;
mod gzip;
mod instance;
mod label_sets;
mod labels;
mod limits;
mod media_type;
mod merge;
mod names;
mod negotiate;
mod number;
mod protobuf;
mod reader;
mod renames;
mod repeated;
mod span;
mod stats;
mod text;

pub use compressed::Compressed;
pub use error::{Error, ErrorKind};
pub use format::{Escaping, ForeignType, Format, Target, UnknownFormat};
pub use instance::Instance;
pub use labels::Labels;
pub use limits::Limits;
pub use merge::Merge;
pub use negotiate::{accept_for_instances, accepted, choose, negotiate};
pub use reader::Reader;
pub use repeated::{Repeated, RepeatedPlace};
pub use stats::Stats;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
