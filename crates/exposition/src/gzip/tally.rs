//! What was written, counted, so that the next block's code fits it.

use super::code::{END, distance_symbol, length_symbol};

/// The size of the alphabet of bytes and lengths.
pub(super) const LITERALS: usize = 286;

/// The size of the alphabet of distances.
pub(super) const DISTANCES: usize = 30;

/// How much a symbol that was seen outweighs one that only might come.
const SEEN: u32 = 16;

/// How often each symbol came.
#[derive(Debug)]
pub(super) struct Tally {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// Symbols since the last code.
    count: u32,
}

impl Tally {
    /// What is to be expected of an exposition.
    pub(super) fn expected() -> Self {
        let mut tally = Self { literals: [0; LITERALS], distances: [0; DISTANCES], count: 0 };
        for (symbol, count) in tally.literals.iter_mut().enumerate() {
            *count = u32::from((32..127).contains(&symbol));
        }
        tally
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
    pub(super) fn age(&mut self) {
        self.literals.iter_mut().chain(&mut self.distances).for_each(|count| *count /= 2);
        self.count = 0;
    }

    /// No symbol is zero, for any may come.
    pub(super) fn literals(&self) -> [u32; LITERALS] {
        let mut counts = self.literals.map(|count| count * SEEN + 1);
        counts[END] = 1;
        counts
    }

    pub(super) fn distances(&self) -> [u32; DISTANCES] {
        self.distances.map(|count| count * SEEN + 1)
    }
}
