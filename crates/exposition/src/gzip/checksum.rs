//! The CRC-32 of the text (RFC 1952 section 8), without reading repeated text again.
//!
//! CRC-32 is linear. The checksum of `a` followed by `b` is the checksum of `a` shifted by the
//! length of `b` zero bytes, XOR the checksum of `b` that starts at 0. Repeated text is therefore
//! summed once, and each repetition costs one [`CrcShift`].

use super::difference::word;

/// The generator polynomial in reversed bit order.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// For each number of following bytes, the contribution of each byte value.
static TABLES: [[u32; 256]; 16] = tables();

/// The longest text for which a [`CrcShift`] can be made.
pub(super) const MAX_SHIFT: usize = 1024;

static ZEROS: [u8; MAX_SHIFT] = [0; MAX_SHIFT];

const fn tables() -> [[u32; 256]; 16] {
    let mut tables = [[0; 256]; 16];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = times_x(sum);
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut after_labels = 1;
    while after_labels < 16 {
        let mut byte = 0;
        while byte < 256 {
            let sum: u32 = tables[after_labels - 1][byte];
            tables[after_labels][byte] = sum >> 8 ^ tables[0][(sum & 255) as usize];
            byte += 1;
        }
        after_labels += 1;
    }
    tables
}

const fn times_x(sum: u32) -> u32 {
    if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 }
}

/// Updates the raw checksum with `text`. The final checksum starts with all ones and is inverted at
/// the end.
#[inline(always)]
pub(super) fn update(mut sum: u32, text: &[u8]) -> u32 {
    let (chunks, rest) = text.as_chunks::<16>();
    for chunk in chunks {
        sum = fold(u128::from_le_bytes(*chunk) ^ u128::from(sum));
    }
    update_short(sum, rest, word(rest))
}

/// Updates the raw checksum with a text of fewer than 16 bytes, which is also given as its
/// [`word`].
#[inline(always)]
fn update_short(mut sum: u32, text: &[u8], word: u128) -> u32 {
    if text.len() < 4 {
        for &byte in text {
            sum = sum >> 8 ^ TABLES[0][usize::from(byte ^ sum as u8)];
        }
        return sum;
    }
    // Leading zeros do not change a checksum of 0. A text that is at least as long as the checksum
    // can therefore be padded to a chunk.
    fold((word ^ u128::from(sum)) << (128 - 8 * text.len()))
}

#[inline(always)]
fn fold(word: u128) -> u32 {
    let bytes = word.to_le_bytes();
    let mut sum = 0;
    for i in 0..16 {
        sum ^= TABLES[15 - i][usize::from(bytes[i])];
    }
    sum
}

/// Shifts a checksum by a number of zero bytes.
///
/// The shift is linear in the bits of the checksum, so there is a table for each four bits. Tables
/// for eight bits would be too large for the many lengths.
#[derive(Debug)]
pub(super) struct CrcShift([[u32; 16]; 8]);

impl CrcShift {
    /// `length` is at most [`MAX_SHIFT`].
    pub(super) fn new(length: usize) -> Self {
        // The highest bit is the polynomial 1, and each lower bit is the next power of x.
        let mut moved = update(1 << 31, ZEROS.get(..length).unwrap_or(&ZEROS));
        let mut tables = [[0; 16]; 8];
        for table in tables.iter_mut().rev() {
            for bit in (0..4).rev() {
                for part in 0..1 << bit {
                    for above in (0..16).step_by(2 << bit) {
                        table[above + (1 << bit) + part] ^= moved;
                    }
                }
                moved = times_x(moved);
            }
        }
        Self(tables)
    }

    #[inline(always)]
    pub(super) fn apply(&self, sum: u32) -> u32 {
        let mut moved = 0;
        for (i, table) in self.0.iter().enumerate() {
            moved ^= table[(sum >> (4 * i) & 15) as usize];
        }
        moved
    }
}

/// A cache of shifts by length.
#[derive(Debug, Default)]
pub(super) struct CrcShifts(Vec<Option<Box<CrcShift>>>);

impl CrcShifts {
    /// `length` is at most [`MAX_SHIFT`].
    #[inline(always)]
    pub(super) fn apply(&mut self, length: usize, sum: u32) -> u32 {
        match self.0.get(length) {
            Some(Some(shift)) => shift.apply(sum),
            _ => self.add(length).apply(sum),
        }
    }

    #[cold]
    fn add(&mut self, length: usize) -> &CrcShift {
        if self.0.len() <= length {
            self.0.resize_with(length + 1, || None);
        }
        self.0[length].get_or_insert_with(|| Box::new(CrcShift::new(length)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(!update(!0, b"123456789"), 0xCBF4_3926);
        assert_eq!(!update(!0, b""), 0);
    }

    proptest! {
        #[test]
        fn checksums_of_parts_give_the_checksum_of_the_whole(
            text in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0_usize..200,
        ) {
            let (a, b) = text.split_at(cut.min(text.len()));
            let whole = update(!0, &text);
            let mut expected = flate2::Crc::new();
            expected.update(&text);
            prop_assert_eq!(!whole, expected.sum());
            prop_assert_eq!(update(update(!0, a), b), whole);
            prop_assert_eq!(CrcShift::new(b.len()).apply(update(!0, a)) ^ update(0, b), whole);
        }
    }
}
