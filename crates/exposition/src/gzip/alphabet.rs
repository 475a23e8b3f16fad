//! The two alphabets of DEFLATE: bytes with lengths, and distances.
//!
//! RFC 1951 section 3.2.5.

/// The number of symbols for bytes, the end of a block and ranges of lengths.
pub(super) const LITERALS: usize = 286;

/// The number of symbols for ranges of distances.
pub(super) const DISTANCES: usize = 30;

/// The symbol that ends a block. The bytes are the symbols before it.
pub(super) const END: usize = 256;

const FIRST_LENGTH: usize = 257;

/// The longest copy that one back-reference can describe, in bytes.
pub(super) const MAX_COPY: usize = 258;

/// The shortest copy that one back-reference can describe, in bytes.
pub(super) const MIN_COPY: usize = 3;

/// The symbol of a length, the value of its extra bits and their number.
pub(super) fn length_symbol(length: usize) -> (usize, u16, u8) {
    if length >= MAX_COPY {
        return (FIRST_LENGTH + 28, 0, 0);
    }
    let beyond = length.saturating_sub(MIN_COPY) as u16;
    if beyond < 8 {
        return (FIRST_LENGTH + usize::from(beyond), 0, 0);
    }
    // Four symbols for each power of two.
    let extra = beyond.ilog2() - 2;
    let symbol = FIRST_LENGTH + 4 * extra as usize + usize::from(beyond >> extra);
    (symbol, beyond & ((1 << extra) - 1), extra as u8)
}

/// The symbol of a distance, the value of its extra bits and their number.
#[inline(always)]
pub(super) fn distance_symbol(distance: usize) -> (usize, u32, u32) {
    let beyond = (distance as u32).wrapping_sub(1);
    if beyond < 4 {
        return (beyond as usize, 0, 0);
    }
    // Two symbols for each power of two.
    let extra = beyond.ilog2() - 1;
    let symbol = 2 * extra as usize + (beyond >> extra) as usize;
    (symbol, beyond & ((1 << extra) - 1), extra)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_the_symbols_of_the_rfc() {
        let cases = [
            (3, (257, 0, 0)),
            (10, (264, 0, 0)),
            (11, (265, 0, 1)),
            (12, (265, 1, 1)),
            (13, (266, 0, 1)),
            (18, (268, 1, 1)),
            (19, (269, 0, 2)),
            (114, (279, 15, 4)),
            (130, (280, 15, 4)),
            (131, (281, 0, 5)),
            (257, (284, 30, 5)),
            (258, (285, 0, 0)),
        ];
        for (length, expected) in cases {
            assert_eq!(length_symbol(length), expected, "{length}");
        }
    }

    #[test]
    fn distances_have_the_symbols_of_the_rfc() {
        let cases = [
            (1, (0, 0, 0)),
            (4, (3, 0, 0)),
            (5, (4, 0, 1)),
            (6, (4, 1, 1)),
            (7, (5, 0, 1)),
            (24, (8, 7, 3)),
            (25, (9, 0, 3)),
            (16_384, (27, 4_095, 12)),
            (16_385, (28, 0, 13)),
            (32_768, (29, 8_191, 13)),
        ];
        for (distance, expected) in cases {
            assert_eq!(distance_symbol(distance), expected, "{distance}");
        }
    }
}
