//! LabelBlocks of labels that come found_at on line after line.

use super::{checksum, difference::common_prefix};

/// A block of labels that was made known to the [`GzipWriter`](super::GzipWriter) it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct LabelBlockId(pub(super) u32);

/// What is known about a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct LabelBlock {
    start: usize,
    pub(super) length: usize,
    /// The checksum of the text, from zero.
    pub(super) sum: u32,
    /// Where in the whole text it stands last.
    pub(super) position: Option<u64>,
}

/// All blocks of one answer.
#[derive(Debug, Default)]
pub(super) struct LabelBlocks {
    text: Vec<u8>,
    blocks: Vec<LabelBlock>,
    /// The two blocks that were compared last, and how many bytes they begin with alike.
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

    /// Notes where the block stands.
    #[inline(always)]
    pub(super) fn place(&mut self, labels: LabelBlockId, position: u64) {
        if let Some(block) = self.blocks.get_mut(labels.0 as usize) {
            block.position = Some(position);
        }
    }

    /// How many bytes `a` and `b` begin with that are the same.
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
