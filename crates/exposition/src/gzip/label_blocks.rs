//! Blocks of added labels, which are repeated on each line of an instance.

use super::{checksum, difference::common_prefix};

/// Identifies a label block of one [`GzipWriter`](super::GzipWriter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct LabelBlockId(pub(super) u32);

/// A label block.
#[derive(Clone, Copy, Debug)]
pub(super) struct LabelBlock {
    start: usize,
    pub(super) length: usize,
    /// The checksum of the text, starting at 0.
    pub(super) sum: u32,
    /// The last position of the block in the text.
    pub(super) position: Option<u64>,
}

/// All label blocks of one output.
#[derive(Debug, Default)]
pub(super) struct LabelBlocks {
    text: Vec<u8>,
    blocks: Vec<LabelBlock>,
    /// The last comparison: two blocks and the length of their common prefix.
    compared: Option<(LabelBlockId, LabelBlockId, usize)>,
}

impl LabelBlocks {
    pub(super) fn add(&mut self, text: &[u8]) -> LabelBlockId {
        let labels = LabelBlockId(self.blocks.len() as u32);
        let (start, length) = (self.text.len(), text.len());
        let sum = checksum::update(0, text);
        self.blocks.push(LabelBlock { start, length, sum, position: None });
        self.text.extend_from_slice(text);
        labels
    }

    #[inline(always)]
    pub(super) fn get(&self, labels: LabelBlockId) -> Option<&LabelBlock> {
        self.blocks.get(labels.0 as usize)
    }

    #[inline(always)]
    pub(super) fn text(&self, labels: LabelBlockId) -> &[u8] {
        let Some(block) = self.get(labels) else { return &[] };
        self.text.get(block.start..block.start + block.length).unwrap_or_default()
    }

    /// Records the last position of a block.
    #[inline(always)]
    pub(super) fn record(&mut self, labels: LabelBlockId, position: u64) {
        if let Some(block) = self.blocks.get_mut(labels.0 as usize) {
            block.position = Some(position);
        }
    }

    /// The length of the common prefix of two blocks.
    #[inline(always)]
    pub(super) fn common_prefix(&mut self, a: LabelBlockId, b: LabelBlockId) -> usize {
        if let Some((c, d, length)) = self.compared
            && (a, b) == (c, d)
        {
            return length;
        }
        let length = common_prefix(self.text(a), self.text(b));
        self.compared = Some((a, b, length));
        length
    }
}
