//! Blocks of metadata lines, which are mostly equal in all bodies of an app.

use super::{
    super::{
        index::ParseContext,
        index::{self, IndexedFamily},
        metadata::{self, MetadataLine},
        sample::{SourceName, skip_blanks},
    },
    TemplateSample,
};

/// Consecutive lines that name new families.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct MetadataBlock {
    /// The index of the next sample.
    pub(in super::super) sample: usize,
    /// The start in the body.
    pub(in super::super) start: usize,
    pub(in super::super) length: usize,
    pub(in super::super) lines: usize,
    /// The range of families that the block names.
    pub(in super::super) families: (usize, usize),
}

/// Finds the metadata blocks of a body, and records in `samples` how many families are named before
/// each.
///
/// Returns no blocks if a family is named in several of them, because the number of families does
/// not determine the family of a sample then.
pub(super) fn find(
    context: &ParseContext<'_>,
    samples: &mut [TemplateSample],
    families: &[IndexedFamily],
) -> Vec<MetadataBlock> {
    let mut finder = BlockFinder {
        context,
        families,
        known: 0,
        end: index::start(context.body),
        blocks: Vec::new(),
    };
    let counts: Option<Vec<u32>> = samples
        .iter()
        .enumerate()
        .map(|(i, sample)| finder.pass_sample(i, sample.offset as usize))
        .collect();
    match counts {
        Some(counts) if finder.block(samples.len(), context.body.len()).is_some() => {
            for (sample, count) in samples.iter_mut().zip(counts) {
                sample.families = count;
            }
            // Each body must have its own `# EOF`.
            finder.blocks.retain(|block| block.sample < samples.len());
            finder.blocks
        }
        _ => Vec::new(),
    }
}

struct BlockFinder<'a> {
    context: &'a ParseContext<'a>,
    families: &'a [IndexedFamily],
    /// The number of families named so far.
    known: usize,
    /// The end of the previous sample.
    end: usize,
    blocks: Vec<MetadataBlock>,
}

impl BlockFinder<'_> {
    /// Passes the sample at `offset`, and returns the number of families named so far. `None` if a
    /// family was named again.
    fn pass_sample(&mut self, i: usize, offset: usize) -> Option<u32> {
        self.block(i, offset)?;
        self.end = index::line(self.context.body, offset).next;
        self.count_families();
        Some(self.known as u32)
    }

    /// Passes the lines from the previous sample to `end`.
    fn block(&mut self, sample: usize, end: usize) -> Option<()> {
        let (start, before) = (self.end, self.known);
        self.end = end;
        self.count_families();
        let new = self.families.get(before..self.known)?;
        let mut named = new.iter();
        let mut last = SourceName::default();
        let (mut offset, mut lines) = (start, 0);
        while offset < end {
            let line = index::line(self.context.body, offset);
            (offset, lines) = (line.next, lines + 1);
            let name = match metadata::parse(skip_blanks(line.text), self.context.source) {
                Ok(MetadataLine::Help { name, .. } | MetadataLine::Type { name, .. }) => name,
                Ok(MetadataLine::Unit { name, .. }) => name,
                _ => continue,
            };
            if name != last {
                last = named.next()?.name.of(self.context.body);
            }
            if name != last {
                return None;
            }
        }
        if !new.is_empty() {
            let families = (before, self.known);
            self.blocks.push(MetadataBlock { sample, start, length: end - start, lines, families });
        }
        Some(())
    }

    /// Counts the families that are named before `end`.
    fn count_families(&mut self) {
        let rest = self.families.get(self.known..).unwrap_or_default();
        self.known += rest.iter().take_while(|family| family.name.start() < self.end).count();
    }
}
