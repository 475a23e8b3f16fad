//! Blocks of labels that come again on line after line.

use super::{checksum, difference::common_prefix};

/// A block of labels that was made known to the [`Gzip`](super::Gzip) it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Labels(pub(super) u32);

/// What is known about a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    start: usize,
    pub(super) length: usize,
    /// The checksum of the text, from zero.
    pub(super) sum: u32,
    /// Where in the whole text it stands last.
    pub(super) position: Option<u64>,
}

/// All blocks of one answer.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    text: Vec<u8>,
    blocks: Vec<Block>,
    /// The two blocks that were compared last, and how many bytes they begin with alike.
    compared: Option<(Labels, Labels, usize)>,
}

impl Blocks {
    pub(super) fn add(&mut self, text: &[u8]) -> Labels {
        let labels = Labels(self.blocks.len() as u32);
        let (start, length) = (self.text.len(), text.len());
        let sum = checksum::update(0, text);
        self.blocks.push(Block { start, length, sum, position: None });
        self.text.extend_from_slice(text);
        labels
    }

    #[inline(always)]
    pub(super) fn get(&self, labels: Labels) -> Option<&Block> {
        self.blocks.get(labels.0 as usize)
    }

    #[inline(always)]
    pub(super) fn text(&self, labels: Labels) -> &[u8] {
        let Some(block) = self.get(labels) else { return &[] };
        self.text.get(block.start..block.start + block.length).unwrap_or_default()
    }

    /// Notes where the block stands.
    #[inline(always)]
    pub(super) fn place(&mut self, labels: Labels, position: u64) {
        if let Some(block) = self.blocks.get_mut(labels.0 as usize) {
            block.position = Some(position);
        }
    }

    /// How many bytes `a` and `b` begin with that are the same.
    #[inline(always)]
    pub(super) fn common_prefix(&mut self, a: Labels, b: Labels) -> usize {
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
