//! A gzip file with one member (RFC 1952).

use super::{
    bits::BitWriter,
    checksum::{self, CrcShifts, MAX_SHIFT},
    label_blocks::LabelBlockId,
    line_writer::LineWriter,
};

/// Section 2.3: DEFLATE, no name, no time, fastest algorithm, unknown operating system.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 4, 255];

/// Writes one gzip member.
#[derive(Debug)]
pub(in super::super) struct GzipWriter {
    text: LineWriter,
    /// The raw checksum of the text so far.
    sum: u32,
    shifts: CrcShifts,
}

impl Default for GzipWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl GzipWriter {
    /// Starts a member.
    pub(in super::super) fn new() -> Self {
        let mut bits = BitWriter::default();
        for byte in HEADER {
            bits.put(byte.into(), 8);
        }
        Self { text: LineWriter::new(bits), sum: !0, shifts: CrcShifts::default() }
    }

    /// Adds a label block, including its braces or commas, and returns its identifier.
    ///
    /// This writes nothing. The block is kept until the member ends, so add each block once.
    pub(in super::super) fn add_labels(&mut self, text: &[u8]) -> LabelBlockId {
        self.text.blocks.add(text)
    }

    /// Writes any text. Use it for text that is not a line with labels, such as metadata.
    ///
    /// The next lines are assumed to be of another family.
    pub(in super::super) fn write(&mut self, text: &[u8]) {
        self.sum = checksum::update(self.sum, text);
        self.text.write(text);
    }

    /// Writes `before`, a label block and `after`. Use it for a line with its line break.
    ///
    /// `labels` must be from [`add_labels`](Self::add_labels) of this writer. An unknown identifier
    /// means no text.
    pub(in super::super) fn line(&mut self, before: &[u8], labels: LabelBlockId, after: &[u8]) {
        let Some(&block) = self.text.blocks.get(labels) else {
            self.write(before);
            return self.write(after);
        };
        if before.len().max(block.length).max(after.len()) > MAX_SHIFT {
            return self.write_parts(before, labels, after);
        }
        let before_sum = self.text.line(before, labels, &block, after);
        self.sum = self.shifts.apply(before.len(), self.sum) ^ before_sum;
        self.sum = self.shifts.apply(block.length, self.sum) ^ block.sum;
        self.sum = checksum::update(self.sum, after);
    }

    /// Writes a line that is longer than the prepared shifts.
    #[cold]
    fn write_parts(&mut self, before: &[u8], labels: LabelBlockId, after: &[u8]) {
        let block = self.text.blocks.text(labels).to_vec();
        self.write(before);
        self.write(&block);
        self.write(after);
    }

    /// The number of bytes that can be taken.
    pub(in super::super) fn pending(&self) -> usize {
        self.text.encoder.pending()
    }

    /// Takes the output so far. The end of the text can be missing from it.
    pub(in super::super) fn take(&mut self) -> Vec<u8> {
        self.text.encoder.take()
    }

    /// Ends the member, and returns the rest of the output.
    pub(in super::super) fn finish(mut self) -> Vec<u8> {
        self.text.flush_break();
        // Section 2.3.1: checksum and length are modulo 2^32.
        let length = self.text.encoder.position() & u64::from(u32::MAX);
        self.text.encoder.finish([u64::from(!self.sum), length]);
        self.text.encoder.take()
    }
}
