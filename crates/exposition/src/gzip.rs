//! A gzip compressor for merged expositions.
//!
//! # Why a compressor of its own
//!
//! About three quarters of a merged output are added labels, which are equal on all lines of an
//! instance. The rest of a line is mostly equal to a line of the instance before, except for its
//! value. A general compressor must hash and search all bytes to find these repetitions. This
//! compressor gets the parts of each line from the merge and knows where they occurred before. It
//! does not search. It neither reads nor copies the added labels, and it updates the checksum by
//! their length. The plain output is never built.
//!
//! # How it works
//!
//! ```text
//! line(before, labels, after)
//!   before ─► same text as the line that followed last time? ─► copy from there
//!             otherwise: edit steps from the previous line
//!   labels ─► copy from the previous line
//!   after  ─► literals, except for the prefix that equals the previous line's
//! ```
//!
//! The result is one gzip member (RFC 1952) of DEFLATE blocks (RFC 1951). Any input is allowed.
//! Incompressible input grows by at most three quarters.
//!
//! # Invariants
//!
//! * Decompression gives exactly the input. A copy is only written of text that was compared, or of
//!   the same label block.
//! * Equal calls give equal bytes, independent of when the output is taken.
//! * Memory is bounded by the pending output, the label blocks and a constant.

mod alphabet;
mod bits;
mod block_code;
mod checksum;
mod difference;
mod encoder;
mod huffman;
mod label_blocks;
mod line_ring;
mod line_writer;
mod member;
mod symbol_counts;

pub(super) use label_blocks::LabelBlockId;
pub(super) use member::GzipWriter;

#[cfg(test)]
mod tests;
