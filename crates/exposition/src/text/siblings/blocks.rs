//! The lines that name families: bodies of one app have them in common, to the byte.

use super::{
    super::{
        index::{self, Family},
        metadata::{self, Metadata},
        sample::{Name, skip_blanks},
        task::Task,
    },
    Fact,
};

/// Lines that stand together, and name families that no line before them names.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Block {
    /// The sample before which they stand.
    pub(in super::super) sample: usize,
    /// Where they start.
    pub(in super::super) start: usize,
    pub(in super::super) length: usize,
    pub(in super::super) lines: usize,
    /// Where among the families of the body those are that they name: from, and up to.
    pub(in super::super) families: (usize, usize),
}

/// Finds the blocks of a body, and takes note in `facts` how many families are known when.
///
/// There are none where a family is named in several places, for then it takes more to know
/// which family a sample belongs to.
pub(super) fn find(task: &Task<'_>, facts: &mut [Fact], families: &[Family]) -> Vec<Block> {
    let mut walk =
        Walk { task, families, known: 0, end: index::start(task.body), blocks: Vec::new() };
    let counts: Option<Vec<u32>> =
        facts.iter().enumerate().map(|(i, fact)| walk.step(i, fact.offset as usize)).collect();
    match counts {
        Some(counts) if walk.block(facts.len(), task.body.len()).is_some() => {
            for (fact, count) in facts.iter_mut().zip(counts) {
                fact.families = count;
            }
            // The end of an exposition is for each body itself to say.
            walk.blocks.retain(|block| block.sample < facts.len());
            walk.blocks
        }
        _ => Vec::new(),
    }
}

struct Walk<'a> {
    task: &'a Task<'a>,
    families: &'a [Family],
    /// How many of them are named so far.
    known: usize,
    /// Where the sample before ends.
    end: usize,
    blocks: Vec<Block>,
}

impl Walk<'_> {
    /// Goes on behind the sample at `offset`, and says how many families are known there;
    /// `None` if one is named again before it.
    fn step(&mut self, i: usize, offset: usize) -> Option<u32> {
        self.block(i, offset)?;
        self.end = index::line(self.task.body, offset).next;
        self.know();
        Some(self.known as u32)
    }

    /// Takes the lines from the last sample on up to `end`.
    fn block(&mut self, sample: usize, end: usize) -> Option<()> {
        let (start, before) = (self.end, self.known);
        self.end = end;
        self.know();
        let new = self.families.get(before..self.known)?;
        let mut named = new.iter();
        let mut last = Name::default();
        let (mut offset, mut lines) = (start, 0);
        while offset < end {
            let line = index::line(self.task.body, offset);
            (offset, lines) = (line.next, lines + 1);
            let name = match metadata::parse(skip_blanks(line.text), self.task.source) {
                Ok(Metadata::Help { name, .. } | Metadata::Type { name, .. }) => name,
                Ok(Metadata::Unit { name, .. }) => name,
                _ => continue,
            };
            if name != last {
                last = named.next()?.name.of(self.task.body);
            }
            if name != last {
                return None;
            }
        }
        if !new.is_empty() {
            let families = (before, self.known);
            self.blocks.push(Block { sample, start, length: end - start, lines, families });
        }
        Some(())
    }

    /// Counts the families that are named before `end`.
    fn know(&mut self) {
        let rest = self.families.get(self.known..).unwrap_or_default();
        self.known += rest.iter().take_while(|family| family.name.start() < self.end).count();
    }
}
