//! What was written, counted, so that the next block's code fits it.

use super::alphabet::{DISTANCES, END, LITERALS, distance_symbol, length_symbol};

/// How much a symbol that was seen outweighs one that only might come.
const SEEN_WEIGHT: u32 = 16;

/// How often each symbol came.
#[derive(Debug)]
pub(super) struct SymbolCounts {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// Symbols since the last code.
    count: u32,
}

impl SymbolCounts {
    /// What is to be expected of an exposition.
    pub(super) fn expected() -> Self {
        let mut counts = Self { literals: [0; LITERALS], distances: [0; DISTANCES], count: 0 };
        for (symbol, count) in counts.literals.iter_mut().enumerate() {
            *count = u32::from((32..127).contains(&symbol));
        }
        counts
    }

    #[inline(never)]
    pub(super) fn add_literals(&mut self, text: &[u8]) {
        for &byte in text {
            self.literals[usize::from(byte)] += 1;
        }
        self.count += text.len() as u32;
    }

    #[inline(never)]
    pub(super) fn add_copy(&mut self, distance: usize, length: usize) {
        if let Some(count) = self.literals.get_mut(length_symbol(length).0) {
            *count += 1;
        }
        if let Some(count) = self.distances.get_mut(distance_symbol(distance).0) {
            *count += 1;
        }
        self.count += 2;
    }

    /// How many symbols were added since the code was made from it.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Lets the past count half.
    pub(super) fn halve(&mut self) {
        self.literals.iter_mut().chain(&mut self.distances).for_each(|count| *count /= 2);
        self.count = 0;
    }

    /// No symbol is zero, for any may come.
    pub(super) fn literals(&self) -> [u32; LITERALS] {
        let mut counts = self.literals.map(|count| count * SEEN_WEIGHT + 1);
        counts[END] = 1;
        counts
    }

    pub(super) fn distances(&self) -> [u32; DISTANCES] {
        self.distances.map(|count| count * SEEN_WEIGHT + 1)
    }
}
