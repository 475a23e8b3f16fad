//! Counts of written symbols, from which the codes of the next block are built.

use super::alphabet::{DISTANCES, END, LITERALS, distance_symbol, length_symbol};

/// The weight of an occurrence, compared with symbols that did not occur.
const SEEN_WEIGHT: u32 = 16;

/// The number of occurrences of each symbol.
#[derive(Debug)]
pub(super) struct SymbolCounts {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// The number of symbols since the last code was built.
    count: u32,
}

impl SymbolCounts {
    /// The initial counts: all printable ASCII characters are equally frequent.
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

    /// The number of symbols since the last code was built.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Halves the counts, so that recent symbols count more.
    pub(super) fn halve(&mut self) {
        self.literals.iter_mut().chain(&mut self.distances).for_each(|count| *count /= 2);
        self.count = 0;
    }

    /// The frequencies of bytes and lengths. None is 0, because any symbol can occur.
    pub(super) fn literals(&self) -> [u32; LITERALS] {
        let mut counts = self.literals.map(|count| count * SEEN_WEIGHT + 1);
        counts[END] = 1;
        counts
    }

    pub(super) fn distances(&self) -> [u32; DISTANCES] {
        self.distances.map(|count| count * SEEN_WEIGHT + 1)
    }
}
