//! Encodes literals and back-references in DEFLATE blocks (RFC 1951 section 3.2.3).
//!
//! The codes of a block are built from the counts of the blocks before, so each symbol is written
//! immediately. This works because the statistics of the text change slowly.

use super::{
    alphabet::MAX_COPY,
    bits::BitWriter,
    block_code::{BlockCode, write_last_block},
    symbol_counts::SymbolCounts,
};

/// The largest distance of a back-reference.
pub(super) const WINDOW: u64 = 32 << 10;

/// The shortest new copy. A shorter one costs as much as literals, unless it extends the previous
/// copy.
pub(super) const MIN_NEW_COPY: usize = 4;

/// The number of counted symbols of the first block. Each following block has twice as many, up to
/// `MAX_BLOCK`.
const FIRST_BLOCK: u32 = 1 << 10;
const MAX_BLOCK: u32 = 1 << 14;

/// One of this number of lines is counted, because counting all would cost more time than better
/// codes save. The number is odd and not seven: histograms often have 14 lines (twelve buckets, a
/// sum and a count).
const COUNTED_LINES: u32 = 5;

/// Writes DEFLATE blocks.
#[derive(Debug)]
pub(super) struct DeflateEncoder {
    bits: BitWriter,
    code: BlockCode,
    counts: SymbolCounts,
    block: u32,
    is_counting: bool,
    lines: u32,
    /// The number of text bytes so far.
    position: u64,
    /// A back-reference that can still be extended.
    copy: PendingCopy,
}

#[derive(Clone, Copy, Debug, Default)]
struct PendingCopy {
    distance: u64,
    length: usize,
}

impl DeflateEncoder {
    /// Starts after the bits that `bits` has already.
    pub(super) fn new(mut bits: BitWriter) -> Self {
        let counts = SymbolCounts::expected();
        let code = BlockCode::new(&counts);
        code.write_header(&mut bits);
        Self {
            bits,
            code,
            counts,
            block: FIRST_BLOCK,
            is_counting: true,
            lines: 0,
            position: 0,
            copy: PendingCopy::default(),
        }
    }

    /// The number of text bytes so far.
    #[inline(always)]
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Starts a new block if enough symbols were counted. Call it after each line.
    #[inline(always)]
    pub(super) fn end_line(&mut self) {
        self.lines = self.lines.wrapping_add(1);
        self.is_counting = self.lines.is_multiple_of(COUNTED_LINES) || self.block == FIRST_BLOCK;
        if self.counts.count() >= self.block {
            self.begin_block();
        }
    }

    #[cold]
    fn begin_block(&mut self) {
        self.end_copy();
        self.code.write_end(&mut self.bits);
        self.code = BlockCode::new(&self.counts);
        self.counts.halve();
        self.code.write_header(&mut self.bits);
        self.block = (self.block * 2).min(MAX_BLOCK);
    }

    /// Writes literals.
    #[inline(always)]
    pub(super) fn literals(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.end_copy();
        self.position += text.len() as u64;
        if self.is_counting {
            self.counts.add_literals(text);
        }
        self.code.write_literals(text, &mut self.bits);
    }

    /// Whether text at `source` is within the window of `position`.
    #[inline(always)]
    pub(super) fn reaches(&self, position: u64, source: u64) -> bool {
        position.wrapping_sub(source) <= WINDOW
    }

    /// Whether text at `source` continues the pending copy.
    #[inline(always)]
    pub(super) fn continues(&self, source: u64) -> bool {
        self.copy.length > 0 && self.position.wrapping_sub(source) == self.copy.distance
    }

    /// Writes `text`, which is also at `source`: as a copy if possible, otherwise as literals.
    #[inline(always)]
    pub(super) fn copy(&mut self, source: u64, text: &[u8]) {
        let is_worth_it = text.len() >= MIN_NEW_COPY && self.reaches(self.position, source);
        if is_worth_it || self.continues(source) {
            self.extend(source, text.len());
        } else {
            self.literals(text);
        }
    }

    /// Copies `length` bytes from `source`, which must be within the window.
    ///
    /// Together with the next calls that extend the copy, there must be at least [`MIN_NEW_COPY`]
    /// bytes.
    #[inline(always)]
    pub(super) fn extend(&mut self, source: u64, length: usize) {
        if !self.continues(source) {
            self.end_copy();
            self.copy = PendingCopy { distance: self.position.wrapping_sub(source), length: 0 };
        }
        self.copy.length += length;
        self.position += length as u64;
    }

    #[inline(always)]
    fn end_copy(&mut self) {
        if self.copy.length > 0 {
            self.write_copies();
        }
    }

    #[inline(never)]
    fn write_copies(&mut self) {
        let PendingCopy { distance, mut length } = self.copy;
        while length > MAX_COPY {
            // The rest must have at least `MIN_COPY` bytes.
            let part = MAX_COPY.min(length - 3);
            self.write_copy(distance as usize, part);
            length -= part;
        }
        self.write_copy(distance as usize, length);
        self.copy.length = 0;
    }

    #[inline(always)]
    fn write_copy(&mut self, distance: usize, length: usize) {
        if self.is_counting {
            self.counts.add_copy(distance, length);
        }
        self.code.write_copy(distance, length, &mut self.bits);
    }

    /// Ends the last block, aligns to a byte and writes two words of 32 bits.
    pub(super) fn finish(&mut self, words: [u64; 2]) {
        self.end_copy();
        self.code.write_end(&mut self.bits);
        write_last_block(&mut self.bits);
        self.bits.align();
        for word in words {
            self.bits.put(word, 32);
        }
    }

    /// The number of bytes that can be taken.
    pub(super) fn pending(&self) -> usize {
        self.bits.len()
    }

    /// Takes the bytes written so far.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.bits.take()
    }
}
