//! Text as bytes and back-references, in blocks whose code follows the text.
//!
//! RFC 1951 section 3.2.3. A block's code is made from what was written before
//! it, so every symbol goes out at once and none is kept; what the text is like
//! changes slowly.

use super::{
    alphabet::MAX_COPY,
    bits::BitWriter,
    block_code::{BlockCode, write_last_block},
    symbol_counts::SymbolCounts,
};

/// How far back a reference can reach.
pub(super) const WINDOW: u64 = 32 << 10;

/// A shorter copy costs as much as its bytes, unless it prolongs the one before.
pub(super) const MIN_NEW_COPY: usize = 4;

/// How many counted symbols the first code but one is made from; each later one
/// from twice as many, up to a limit.
const FIRST_BLOCK: u32 = 1 << 10;
const MAX_BLOCK: u32 = 1 << 14;

/// Counting every line would cost more than the codes get better by it. Not an even
/// number, nor seven: histograms often have twelve buckets, a sum and a count.
const COUNTED_LINES: u32 = 5;

/// Writes deflate blocks.
#[derive(Debug)]
pub(super) struct DeflateEncoder {
    bits: BitWriter,
    code: BlockCode,
    counts: SymbolCounts,
    block: u32,
    is_counting: bool,
    lines: u32,
    /// Of the text, as far as it was given.
    position: u64,
    /// A back-reference that may become longer.
    copy: PendingCopy,
}

#[derive(Clone, Copy, Debug, Default)]
struct PendingCopy {
    distance: u64,
    length: usize,
}

impl DeflateEncoder {
    /// Begins after what `bits` already has.
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

    /// How many bytes of text were given.
    #[inline(always)]
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// To be called now and then, at best after each line: changes the code when it is time.
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

    /// Writes bytes as they are.
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

    /// Whether text at `source` can be copied to `position`.
    #[inline(always)]
    pub(super) fn reaches(&self, position: u64, source: u64) -> bool {
        position.wrapping_sub(source) <= WINDOW
    }

    /// Whether the text at `source` is the one that the last copy would go on with.
    #[inline(always)]
    pub(super) fn continues(&self, source: u64) -> bool {
        self.copy.length > 0 && self.position.wrapping_sub(source) == self.copy.distance
    }

    /// Writes `text`, which is also at `source`, as a copy of it if it can be one.
    #[inline(always)]
    pub(super) fn copy(&mut self, source: u64, text: &[u8]) {
        let is_worth_it = text.len() >= MIN_NEW_COPY && self.reaches(self.position, source);
        if is_worth_it || self.continues(source) {
            self.extend(source, text.len());
        } else {
            self.literals(text);
        }
    }

    /// Copies so many bytes from `source`, which must be within reach.
    ///
    /// There must be [`MIN_NEW_COPY`] of them, together with what the next call goes on with.
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
            // What is left must be long enough for a copy, too.
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

    /// Ends the last block, fills its last byte and writes `words` of 32 bits behind it.
    pub(super) fn finish(&mut self, words: [u64; 2]) {
        self.end_copy();
        self.code.write_end(&mut self.bits);
        write_last_block(&mut self.bits);
        self.bits.align();
        for word in words {
            self.bits.put(word, 32);
        }
    }

    /// How many bytes wait to be taken.
    pub(super) fn pending(&self) -> usize {
        self.bits.len()
    }

    /// Takes the bytes written so far.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.bits.take()
    }
}
