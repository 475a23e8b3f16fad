//! Compresses an exposition while it is merged, for less than it costs to send it plain.
//!
//! Pure: bytes in, bytes out; nothing of the rest of the program.
//!
//! # Why not a compressor for everything
//!
//! Three quarters of a merged answer is the block of labels that a merge adds,
//! the same on all lines of an instance; and the line it is added to was there
//! one instance before, but for its value. A merge knows that. A compressor
//! that gets only bytes must write, read, hash and search them all to find it.
//! Here the parts of a line come as they are known: nothing is searched, a block is
//! neither read nor copied, its checksum is moved on by its length alone, and the
//! plain answer is never written anywhere.
//!
//! # How
//!
//! ```text
//! line(before, labels, after)
//!   before ─► lines: the one that followed last time? ─► copy from one instance before
//!             or else: how it differs from the line before it
//!   labels ─► copy from the line before
//!   after  ─► bytes, as far as they differ from the line before
//! ```
//!
//! The result is one gzip member (RFC 1952) of deflate blocks (RFC 1951), for
//! any bytes. What is not like an exposition costs its bytes and in the worst case
//! three quarters more.
//!
//! # Invariants
//!
//! * Decompressed, it is what was given, byte for byte. No promise of a caller is
//!   trusted for that: a copy is only made of what was compared, or is the same block.
//! * Equal calls give equal bytes, whenever they are taken.
//! * Memory is bounded by what waits to be taken, the blocks of labels, and a constant.

mod bits;
mod checksum;
mod code;
mod difference;
mod encoder;
mod huffman;
mod labels;
mod line_writer;
mod lines;
mod member;
mod tally;

pub(super) use labels::Labels;
pub(super) use member::Gzip;

#[cfg(test)]
mod tests;
