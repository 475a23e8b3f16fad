//! Length-limited Huffman codes.
//!
//! RFC 1951 section 3.2.2: the lengths define a code. The code must be complete, because decoders
//! refuse lengths that leave bit patterns unused.

/// The largest number of symbols in an alphabet of DEFLATE.
const MAX_SYMBOLS: usize = 288;

/// The longest code in DEFLATE.
const MAX_BITS_PER_CODE: usize = 15;

/// The code length of each symbol. The code is optimal, or nearly optimal if `limit` is too small.
///
/// Symbols of frequency 0 get length 0, which means no code. A complete code needs at least two
/// other symbols.
pub(super) fn lengths<const N: usize>(frequencies: &[u32; N], limit: usize) -> [u8; N] {
    const { assert!(N <= MAX_SYMBOLS) };
    let mut rarest_first: Vec<(u32, usize)> =
        (0..N).map(|symbol| (frequencies[symbol], symbol)).filter(|&(n, _)| n > 0).collect();
    rarest_first.sort_unstable();
    let mut counts = counts(&rarest_first);
    shorten(&mut counts, limit.min(MAX_BITS_PER_CODE));

    let mut lengths = [0; N];
    let mut rarest_first = rarest_first.into_iter();
    for (length, count) in counts.into_iter().enumerate().rev() {
        for (_, symbol) in rarest_first.by_ref().take(count) {
            lengths[symbol] = length as u8;
        }
    }
    lengths
}

/// The number of codes of each length in the optimal code. Lengths are capped at the number of
/// symbols.
fn counts(rarest_first: &[(u32, usize)]) -> [usize; MAX_SYMBOLS] {
    // The leaves are sorted, and the nodes are created in sorted order. The two rarest are
    // therefore at the front of one of the two queues.
    let mut leaves = rarest_first.iter().map(|&(n, _)| u64::from(n)).enumerate().peekable();
    let leaf_count = rarest_first.len();
    let mut nodes: Vec<u64> = Vec::with_capacity(leaf_count);
    // Parents of leaves, followed by parents of nodes.
    let mut parents = vec![0; 2 * leaf_count];
    let mut taken = 0;
    for parent in 0..leaf_count.saturating_sub(1) {
        let mut sum = 0;
        for _ in 0..2 {
            let node = nodes.get(taken).copied();
            let is_leaf = |&(_, n): &(usize, u64)| node.is_none_or(|node| n <= node);
            let child = if let Some((leaf, n)) = leaves.next_if(is_leaf) {
                sum += n;
                leaf
            } else {
                sum += node.unwrap_or_default();
                taken += 1;
                leaf_count + taken - 1
            };
            parents[child] = leaf_count + parent;
        }
        nodes.push(sum);
    }
    let mut counts = [0; MAX_SYMBOLS];
    let mut depths = vec![0_usize; 2 * leaf_count];
    // The last node is the root. Parents have higher indexes than their children.
    for child in (0..leaf_count + nodes.len().saturating_sub(1)).rev() {
        depths[child] = depths[parents[child]] + 1;
        if child < leaf_count {
            counts[depths[child]] += 1;
        }
    }
    counts
}

/// Limits the lengths of a complete code to `limit`, and keeps it complete.
fn shorten(counts: &mut [usize; MAX_SYMBOLS], limit: usize) {
    let mut excess: usize = counts[limit + 1..].iter().sum();
    counts[limit] += excess;
    counts[limit + 1..].fill(0);
    // The used code space in units of the longest code.
    let given: usize = (1..=limit).map(|length| counts[length] << (limit - length)).sum();
    excess = given.saturating_sub(1 << limit);
    while excess > 0 {
        // A shorter code is replaced by two codes that are one bit longer. One of them is for the
        // symbol of a longest code.
        let Some(length) = (1..limit).rev().find(|&length| counts[length] > 0) else { return };
        counts[length] -= 1;
        counts[length + 1] += 2;
        counts[limit] -= 1;
        excess -= 1;
    }
}

/// The codes for these lengths, with reversed bits.
pub(super) fn codes<const N: usize>(lengths: &[u8; N]) -> [u16; N] {
    let mut next = [0_u32; MAX_BITS_PER_CODE + 2];
    for &length in lengths {
        next[usize::from(length).min(MAX_BITS_PER_CODE) + 1] += u32::from(length > 0);
    }
    for length in 1..next.len() {
        next[length] = (next[length] + next[length - 1]) << 1;
    }
    lengths.map(|length| {
        let Some(shift) = 16_u32.checked_sub(length.into()).filter(|&shift| shift < 16) else {
            return 0;
        };
        let code = &mut next[usize::from(length).min(MAX_BITS_PER_CODE)];
        *code += 1;
        ((*code - 1) as u16).reverse_bits() >> shift
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn space<const N: usize>(lengths: &[u8; N]) -> u32 {
        lengths.iter().filter(|&&length| length > 0).map(|&length| 1 << (15 - length)).sum()
    }

    #[test]
    fn codes_equal_the_example_of_the_rfc() {
        let codes = codes(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let lengths = [3, 3, 3, 3, 3, 2, 4, 4];
        let written: Vec<String> = std::iter::zip(codes, lengths)
            .map(|(code, n)| (0..n).map(|i| if code >> i & 1 == 1 { '1' } else { '0' }).collect())
            .collect();
        assert_eq!(written, ["010", "011", "100", "101", "110", "00", "1110", "1111"]);
    }

    #[test]
    fn frequent_symbols_get_short_codes() {
        assert_eq!(lengths(&[8, 4, 2, 1, 1, 0], 15), [1, 2, 3, 4, 4, 0]);
        assert_eq!(lengths(&[8, 4, 2, 1, 1, 0], 3), [1, 3, 3, 3, 3, 0]);
        assert_eq!(lengths(&[0, 7, 9], 15), [0, 1, 1]);
    }

    proptest! {
        #[test]
        fn a_code_is_complete_and_within_its_limit(
            shifts in proptest::array::uniform32(0_u32..31),
            limit in 5_usize..=15,
        ) {
            // Frequencies that are powers of two give the deepest trees.
            let lengths = lengths(&shifts.map(|shift| 1 << shift), limit);
            prop_assert_eq!(space(&lengths), 1 << 15);
            prop_assert!(lengths.iter().all(|&length| (1..=limit).contains(&usize::from(length))));
        }
    }
}
