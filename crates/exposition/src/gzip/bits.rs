//! The bit stream of DEFLATE.
//!
//! RFC 1951 section 3.1.1: bytes are filled from the least significant bit, and numbers are written
//! from the least significant bit. Huffman codes are written from the most significant bit, so they
//! are reversed when a code is built.

/// The number of bytes by which the buffer grows.
const GROWTH: usize = 16 << 10;

/// The largest number of bits in one call. Up to seven bits can be pending before.
pub(super) const MAX_BITS: u32 = 56;

/// Packs bits into bytes.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    /// Whole bytes up to `length`. The rest is reserved.
    bytes: Vec<u8>,
    length: usize,
    /// Bits that do not fill a byte yet: fewer than 8 between calls.
    bits: u64,
    count: u32,
}

impl BitWriter {
    /// Appends the lowest `count` bits of `bits`, at most [`MAX_BITS`]. All other bits must be 0.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.bits |= bits << self.count;
        self.count += count;
        // All eight bytes are stored, and the next call overwrites those that are not full. This
        // needs one store and no branch on the count.
        match self.bytes.get_mut(self.length..).and_then(|room| room.first_chunk_mut::<8>()) {
            Some(room) => *room = self.bits.to_le_bytes(),
            None => self.grow(),
        }
        self.length += (self.count / 8) as usize;
        self.bits >>= self.count & !7;
        self.count &= 7;
    }

    #[cold]
    fn grow(&mut self) {
        self.bytes.truncate(self.length);
        self.bytes.extend_from_slice(&self.bits.to_le_bytes());
        self.bytes.resize(self.length + GROWTH, 0);
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        let missing = self.count.wrapping_neg() & 7;
        self.put(0, missing);
    }

    /// The number of whole bytes.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Takes the whole bytes. Bits of an unfinished byte remain.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.bytes.truncate(self.length);
        self.length = 0;
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_fill_bytes_from_the_lowest() {
        let mut writer = BitWriter::default();
        writer.put(0b1, 1);
        writer.put(0b01, 2);
        writer.put(0b11111, 5);
        writer.put(0b1, 1);
        assert_eq!(writer.len(), 1);
        assert_eq!(writer.take(), [0b1111_1011]);
        writer.align();
        writer.align();
        assert_eq!(writer.take(), [0b0000_0001]);
        assert!(writer.take().is_empty());
    }

    #[test]
    fn bits_survive_growth_and_taking_at_any_time() {
        let mut writer = BitWriter::default();
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for i in 0..GROWTH as u64 {
            // Seven bytes in two parts of different sizes.
            let value = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 8;
            let split = (i % 55 + 1) as u32;
            writer.put(value & ((1 << split) - 1), split);
            writer.put(value >> split, 56 - split);
            expected.extend_from_slice(&value.to_le_bytes()[..7]);
            if i % 1000 == 0 {
                bytes.extend(writer.take());
            }
        }
        bytes.extend(writer.take());
        assert!(bytes == expected);
    }
}
