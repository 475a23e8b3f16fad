//! Differences between a text and a similar text that was written before.

use super::encoder::DeflateEncoder;

/// The length of the common prefix of `a` and `b`.
#[inline(always)]
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let mut length = 0;
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let different = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if different != 0 {
            return length + (different.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    let rest = a.get(length..).unwrap_or_default().iter().zip(b.get(length..).unwrap_or_default());
    length + rest.take_while(|(a, b)| a == b).count()
}

/// The first 16 bytes of a text, padded with zeros.
#[inline(always)]
pub(super) fn word(text: &[u8]) -> u128 {
    let length = text.len();
    // The first and the last bytes can overlap.
    if let Some(first) = text.first_chunk() {
        u128::from_le_bytes(*first)
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let last = u128::from(u64::from_le_bytes(*last)) << (8 * length - 64);
        u128::from(u64::from_le_bytes(*first)) | last
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(*last)) << (8 * length - 32);
        u128::from(u64::from(u32::from_le_bytes(*first)) | last)
    } else {
        text.iter().rev().fold(0, |word, &byte| word << 8 | u128::from(byte))
    }
}

/// A copy from the old text, followed by literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EditStep {
    /// The start of the copy in the old text.
    from: u16,
    copied: u16,
    literals: u16,
    /// Whether the copy ends at the end of both texts.
    is_tail: bool,
}

impl EditStep {
    /// The length of a copy from the start of the old text.
    pub(super) fn prefix(self) -> usize {
        if self.from == 0 { self.copied.into() } else { 0 }
    }
}

/// Finds the steps that make `text` from `old`, and appends them to `steps`. Both are at most 2^16
/// bytes long.
///
/// After a difference both texts continue at the next quote or brace, because labels mostly have
/// the same names in the same order and values of different lengths.
pub(super) fn find(text: &[u8], old: &[u8], steps: &mut Vec<EditStep>) {
    let (mut left, mut old_left) = (text, old);
    loop {
        let from = old.len() - old_left.len();
        let copied = common_prefix(left, old_left);
        let after = left.get(copied..).unwrap_or_default();
        let old_after = old_left.get(copied..).unwrap_or_default();
        let quote = after.iter().position(|byte| matches!(byte, b'"' | b'{'));
        let next = quote.and_then(|quote| {
            let left = after.get(quote..)?;
            let old_quote = old_after.iter().position(|byte| left.first() == Some(byte))?;
            Some((quote, left, old_after.get(old_quote..)?))
        });
        let literals = next.map_or(after.len(), |(quote, ..)| quote);
        let is_tail = after.is_empty() && old_after.is_empty();
        let [from, copied, literals] = [from, copied, literals].map(|length| length as u16);
        steps.push(EditStep { from, copied, literals, is_tail });
        let Some(next) = next else { return };
        (_, left, old_left) = next;
    }
}

/// Writes `text`, which differs by `steps` from the text at `source`.
///
/// `is_joined` means that the bytes after both texts are equal too, and enough for a copy.
#[inline(always)]
pub(super) fn write(
    steps: &[EditStep],
    mut text: &[u8],
    source: u64,
    is_joined: bool,
    encoder: &mut DeflateEncoder,
) {
    for step in steps {
        let source = source + u64::from(step.from);
        let Some((copied, rest)) = text.split_at_checked(step.copied.into()) else { return };
        let Some((literals, rest)) = rest.split_at_checked(step.literals.into()) else { return };
        if is_joined && step.is_tail {
            encoder.extend(source, copied.len());
        } else {
            encoder.copy(source, copied);
        }
        encoder.literals(literals);
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_prefix_is_counted_byte_by_byte(
            a in proptest::collection::vec(0_u8..2, 0..40),
            b in proptest::collection::vec(0_u8..2, 0..40),
            same in 0_usize..40,
        ) {
            let mut b = b;
            b.splice(..same.min(b.len()), a.iter().take(same).copied());
            let expected = std::iter::zip(&a, &b).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(common_prefix(&a, &b), expected);
        }
    }
}
