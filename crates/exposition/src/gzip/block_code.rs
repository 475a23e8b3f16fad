//! The Huffman codes of one DEFLATE block, and its header.
//!
//! RFC 1951 sections 3.2.5 (lengths and distances) and 3.2.7 (dynamic Huffman codes).

use super::{
    alphabet::{DISTANCES, END, LITERALS, MAX_COPY, MIN_COPY, distance_symbol, length_symbol},
    bits::{BitWriter, MAX_BITS},
    huffman,
    symbol_counts::SymbolCounts,
};

/// Shorter than the 15 bits that DEFLATE allows. A rare symbol then costs less.
const MAX_CODE_BITS: usize = 14;

/// The order of code length codes in the header.
const HEADER_ORDER: [usize; 19] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Up to 24 bits, with their number in the highest byte.
#[derive(Clone, Copy, Debug, Default)]
struct BitString(u32);

impl BitString {
    fn new(bits: u32, count: u8) -> Self {
        Self(bits | u32::from(count) << 24)
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        u64::from(self.0 & 0xFF_FFFF)
    }

    #[inline(always)]
    fn count(self) -> u32 {
        self.0 >> 24
    }
}

/// The codes of one block. All bytes, lengths and distances have a code, because any of them can
/// occur.
#[derive(Debug)]
pub(super) struct BlockCode {
    lengths: [u8; LITERALS],
    distance_lengths: [u8; DISTANCES],
    literals: [BitString; 256],
    end: BitString,
    /// For each length, the code with its extra bits.
    copies: [BitString; 512],
    distances: [BitString; 32],
}

impl BlockCode {
    /// The best codes for these counts.
    pub(super) fn new(counts: &SymbolCounts) -> Self {
        let lengths = huffman::lengths(&counts.literals(), MAX_CODE_BITS);
        let distance_lengths = huffman::lengths(&counts.distances(), MAX_CODE_BITS);
        let codes = huffman::codes(&lengths);
        let word = |symbol: usize| BitString::new(codes[symbol].into(), lengths[symbol]);
        let mut copies = [BitString::default(); 512];
        let all = copies.iter_mut().enumerate().take(MAX_COPY + 1).skip(MIN_COPY);
        for (length, copy) in all {
            let (symbol, extra, extra_count) = length_symbol(length);
            let BitString(code) = word(symbol);
            let before = lengths[symbol];
            *copy =
                BitString::new(code & 0xFF_FFFF | u32::from(extra) << before, before + extra_count);
        }
        let distance_codes = huffman::codes(&distance_lengths);
        let mut distances = [BitString::default(); 32];
        for symbol in 0..DISTANCES {
            distances[symbol] =
                BitString::new(distance_codes[symbol].into(), distance_lengths[symbol]);
        }
        Self {
            lengths,
            distance_lengths,
            literals: std::array::from_fn(word),
            end: word(END),
            copies,
            distances,
        }
    }

    #[inline(always)]
    pub(super) fn write_literals(&self, text: &[u8], out: &mut BitWriter) {
        let (mut bits, mut count) = (0, 0);
        for &byte in text {
            let word = self.literals[usize::from(byte)];
            bits |= word.bits() << count;
            count += word.count();
            if count > MAX_BITS - MAX_CODE_BITS as u32 {
                out.put(bits, count);
                (bits, count) = (0, 0);
            }
        }
        out.put(bits, count);
    }

    /// Writes a back-reference: 3 ≤ `length` ≤ 258, 1 ≤ `distance` ≤ 32768.
    #[inline(always)]
    pub(super) fn write_copy(&self, distance: usize, length: usize, out: &mut BitWriter) {
        let copy = self.copies[length & 511];
        let (symbol, extra, extra_count) = distance_symbol(distance);
        let code = self.distances[symbol & 31];
        let mut bits = copy.bits();
        let mut count = copy.count();
        bits |= code.bits() << count;
        count += code.count();
        bits |= u64::from(extra) << count;
        out.put(bits, count + extra_count);
    }

    pub(super) fn write_end(&self, out: &mut BitWriter) {
        out.put(self.end.bits(), self.end.count());
    }

    /// Begins a block with these codes. It is not the last block.
    pub(super) fn write_header(&self, out: &mut BitWriter) {
        let mut runs = Vec::new();
        // The code lengths of both alphabets are one list, and a run can cross the border.
        let all: Vec<u8> = self.lengths.iter().chain(&self.distance_lengths).copied().collect();
        for run in all.chunk_by(|a, b| a == b) {
            let &[length, ..] = run else { continue };
            runs.push((length, 0, 0));
            let mut left = run.len() - 1;
            while left > 0 {
                // Symbol 16 repeats the previous length three to six times. Two bits give the
                // number.
                let times = left.min(6);
                let repeats = times >= 3;
                runs.push(if repeats { (16, times as u64 - 3, 2) } else { (length, 0, 0) });
                left -= if repeats { times } else { 1 };
            }
        }
        let mut frequencies = [0; 19];
        for &(symbol, ..) in &runs {
            frequencies[usize::from(symbol)] += 1;
        }
        let lengths = huffman::lengths(&frequencies, 7);
        let codes = huffman::codes(&lengths);
        let listed = HEADER_ORDER.iter().rposition(|&symbol| lengths[symbol] > 0).unwrap_or(3);
        out.put(0b100, 3);
        out.put(LITERALS as u64 - 257, 5);
        out.put(DISTANCES as u64 - 1, 5);
        out.put(listed.max(3) as u64 - 3, 4);
        for symbol in HEADER_ORDER.into_iter().take(listed.max(3) + 1) {
            out.put(lengths[symbol].into(), 3);
        }
        for (symbol, extra, extra_count) in runs {
            let symbol = usize::from(symbol);
            out.put(codes[symbol].into(), lengths[symbol].into());
            out.put(extra, extra_count);
        }
    }
}

/// Writes an empty last block with fixed Huffman codes.
pub(super) fn write_last_block(out: &mut BitWriter) {
    out.put(0b011, 3);
    out.put(0, 7);
}
