//! Merges Prometheus text expositions of several instances into one.
//!
//! Pure: bytes in, bytes out. No clock, no socket, no log line, and nothing of
//! the rest of the program, so that it could be a crate of its own.
//!
//! # Why a merge is more than concatenation
//!
//! The format wants one `# HELP` and one `# TYPE` line for each metric family
//! and all samples of a family together. Instances of one app expose the same
//! families, so a plain concatenation is refused by a strict parser, and two
//! instances can disagree about a family's type. What one instance gets wrong
//! must not cost the samples of the others, because a scraper takes or refuses
//! an answer as a whole.
//!
//! # How
//!
//! ```text
//! body ──► Instance::parse ──► Instance ─┐
//! body ──► Instance::parse ──► Instance ─┼─► Merge::new ──► next_chunk, next_chunk, …
//! body ──► Instance::parse ──► error     ┘   (plan)         (lines, labels spliced in)
//! ```
//!
//! [`Instance::parse`] checks a body whole and writes an index: one word for
//! each sample line and a few for each stretch of lines of one family. The body
//! stays as it came. [`Merge`] lines the families up and copies lines out of the
//! bodies when a chunk is asked for, so that memory is the bodies, their index
//! and one chunk, however much longer the answer is.
//!
//! ```
//! use scrapebroker::exposition::{Instance, Labels, Limits, Merge};
//!
//! let limits = Limits::default();
//! let one = Instance::parse("# TYPE up gauge\nup 1\n", Labels::new([("index", "0")]), &limits)?;
//! let two = Instance::parse("up{zone=\"b\"} 1", Labels::new([("index", "1")]), &limits)?;
//! let mut merge = Merge::new(vec![one, two]);
//! let length = merge.content_length();
//! let mut answer = Vec::new();
//! while merge.next_chunk(&mut answer, 64 * 1024) {}
//! assert_eq!(answer, b"# TYPE up gauge\nup{index=\"0\"} 1\nup{zone=\"b\",index=\"1\"} 1\n");
//! assert_eq!(answer.len() as u64, length);
//! # Ok::<(), scrapebroker::exposition::Error>(())
//! ```
//!
//! # Invariants
//!
//! * No sample is lost or altered; only exact duplicates within one instance go
//!   (same name, label set and timestamp; the first is kept).
//! * The output is strict text format 0.0.4: readable for `promtool check
//!   metrics` and for Prometheus, whatever leniency the input needed.
//! * Equal inputs give equal bytes; merging an output again changes nothing.
//! * The length is known, and exact, before the first byte.
//!
//! # What is accepted
//!
//! Everything that Prometheus' own parser takes, except a line break inside a
//! label value. Also, as other parsers do: `\r\n`, blanks at the start of a
//! line, a type in capitals, blanks after a type, a byte order mark. Written out
//! it is one canonical form: no blank lines or comments, single blanks, unknown
//! escapes with their backslash doubled. Refused, because a reader of the output
//! would refuse all of it: signed timestamps, hexadecimal or overflowing values,
//! duplicate label names, exemplars, the types of OpenMetrics.
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

mod check;
mod duplicates;
mod error;
mod families;
mod index;
mod indexer;
mod instance;
mod labels;
mod limits;
mod merge;
mod metadata;
mod number;
mod plan;
mod rewrite;
mod sample;

pub use error::{Error, ErrorKind};
pub use instance::Instance;
pub use labels::Labels;
pub use limits::Limits;
pub use merge::{Merge, Stats};

/// The media type of what [`Merge`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests;
