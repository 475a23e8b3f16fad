//! The frame: RFC 1952, one member with one compressed text.

use super::{
    bits::BitWriter,
    checksum::{self, CrcShifts, MAX_SHIFT},
    label_blocks::LabelBlockId,
    line_writer::LineWriter,
};

/// Section 2.3: deflate, no name, no time, the fastest algorithm, an unknown system.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 4, 255];

/// One gzip member in the making.
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
    /// Begins a member.
    pub(in super::super) fn new() -> Self {
        let mut bits = BitWriter::default();
        for byte in HEADER {
            bits.put(byte.into(), 8);
        }
        Self { text: LineWriter::new(bits), sum: !0, shifts: CrcShifts::default() }
    }

    /// Makes a block of labels known, with the braces or commas that come with it.
    ///
    /// Nothing is written. The block is kept, so each is best added once.
    pub(in super::super) fn add_labels(&mut self, text: &[u8]) -> LabelBlockId {
        self.text.blocks.add(text)
    }

    /// Writes anything; best for what is not a line with labels, such as the lines
    /// before a family's samples.
    ///
    /// LineRing that were given before are taken to be of another family.
    pub(in super::super) fn write(&mut self, text: &[u8]) {
        self.sum = checksum::update(self.sum, text);
        self.text.write(text);
    }

    /// Writes `before`, a block of labels and `after`, best a line with its line break.
    ///
    /// `labels` are from [`add_labels`](Self::add_labels) of the same member; those
    /// of another one are taken for a block of this one, or for no text at all.
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

    /// Writes a line that is longer than what is prepared for.
    #[cold]
    fn write_parts(&mut self, before: &[u8], labels: LabelBlockId, after: &[u8]) {
        let block = self.text.blocks.text(labels).to_vec();
        self.write(before);
        self.write(&block);
        self.write(after);
    }

    /// How many bytes wait to be taken.
    pub(in super::super) fn pending(&self) -> usize {
        self.text.encoder.pending()
    }

    /// Takes what can be sent so far; some of the last text may come only later.
    pub(in super::super) fn take(&mut self) -> Vec<u8> {
        self.text.encoder.take()
    }

    /// Ends the member, and returns what was not taken yet.
    pub(in super::super) fn finish(mut self) -> Vec<u8> {
        self.text.flush_break();
        // Section 2.3.1: both modulo 2^32.
        let length = self.text.encoder.position() & u64::from(u32::MAX);
        self.text.encoder.finish([u64::from(!self.sum), length]);
        self.text.encoder.take()
    }
}
