//! Recent lines of a family, in the order of the instances.
//!
//! Instances of one app expose the same lines. The next line is therefore mostly the one that
//! followed the last time. The ring predicts it, and one comparison verifies the prediction.

use super::{
    checksum,
    difference::{self, EditStep},
    label_blocks::LabelBlockId,
};

/// Larger limits exceed the cache of the processor and the window of back-references.
const MAX_TEXT: usize = 256 << 10;
const MAX_LINES: usize = 8 << 10;
const MAX_STEPS: usize = 32 << 10;

/// The number of lines that are tried after the predicted one, for instances that lack some lines.
const MAX_SKIPPED: usize = 4;

/// The text of a line before the labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownLine {
    start: usize,
    length: usize,
    /// The checksum of the text, starting at 0.
    pub(super) sum: u32,
    /// The last occurrence of the line.
    pub(super) occurrence: LineOccurrence,
    next: usize,
    /// The edit steps from the line that preceded it the last time.
    steps: EditRange,
}

/// A range of edit steps.
#[derive(Clone, Copy, Debug, Default)]
struct EditRange {
    /// The line from which the steps start.
    old: Option<usize>,
    start: usize,
    end: usize,
}

/// An occurrence of a line in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineOccurrence {
    /// The position in the text.
    pub(super) position: u64,
    /// The label block after the line's text.
    pub(super) labels: LabelBlockId,
    /// Whether a line break precedes the line.
    pub(super) is_after_break: bool,
}

/// A ring of lines.
#[derive(Debug, Default)]
pub(super) struct LineRing {
    text: Vec<u8>,
    ring: Vec<KnownLine>,
    steps: Vec<EditStep>,
    /// The last line. After the last entry of the ring the first one follows.
    current: usize,
}

/// The result of a search in the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundLine {
    pub(super) index: usize,
    /// Whether the line was in the ring before.
    pub(super) is_known: bool,
    /// The line before it, unless the ring was cleared since.
    pub(super) previous: Option<usize>,
}

impl LineRing {
    /// Forgets all lines, because lines of another family follow.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ring.clear();
        self.steps.clear();
        self.current = 0;
    }

    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> Option<&KnownLine> {
        self.ring.get(index)
    }

    /// Records an occurrence of a line.
    #[inline(always)]
    pub(super) fn record(&mut self, index: usize, occurrence: LineOccurrence) {
        if let Some(line) = self.ring.get_mut(index) {
            line.occurrence = occurrence;
        }
    }

    /// The steps from line `old` to line `index`.
    #[inline(always)]
    pub(super) fn steps(&mut self, old: usize, index: usize) -> &[EditStep] {
        let steps = match self.ring.get(index) {
            Some(KnownLine { steps, .. }) if steps.old == Some(old) => *steps,
            _ => self.find_steps(old, index),
        };
        self.steps.get(steps.start..steps.end).unwrap_or_default()
    }

    fn find_steps(&mut self, old: usize, index: usize) -> EditRange {
        if self.steps.len() > MAX_STEPS {
            self.steps.clear();
            self.ring.iter_mut().for_each(|line| line.steps = EditRange::default());
        }
        let start = self.steps.len();
        let mut found = std::mem::take(&mut self.steps);
        if let (Some(line), Some(old)) = (self.ring.get(index), self.ring.get(old)) {
            difference::find(self.text(line), self.text(old), &mut found);
        }
        self.steps = found;
        let steps = EditRange { old: Some(old), start, end: self.steps.len() };
        if let Some(line) = self.ring.get_mut(index) {
            line.steps = steps;
        }
        steps
    }

    #[inline(always)]
    fn text(&self, line: &KnownLine) -> &[u8] {
        self.text.get(line.start..line.start + line.length).unwrap_or_default()
    }

    /// Finds the line with this text, or adds it after the last one.
    #[inline(always)]
    pub(super) fn find(&mut self, before: &[u8]) -> FoundLine {
        if let Some(last) = self.ring.get(self.current)
            && let Some(predicted) = self.ring.get(last.next)
            && self.text(predicted) == before
        {
            let index = last.next;
            return self.known(index);
        }
        self.search(before)
    }

    #[inline(always)]
    fn known(&mut self, index: usize) -> FoundLine {
        let previous = std::mem::replace(&mut self.current, index);
        FoundLine { index, is_known: true, previous: Some(previous) }
    }

    /// Tries the lines after the predicted one and the first line of the ring.
    #[inline(never)]
    fn search(&mut self, before: &[u8]) -> FoundLine {
        let predicted = self.ring.get(self.current).map(|last| last.next);
        let mut after = predicted.and_then(|predicted| self.ring.get(predicted));
        // An instance can start again at the first line of the family.
        let mut index = 0;
        for _ in 0..=MAX_SKIPPED {
            let Some(line) = self.ring.get(index) else { break };
            if self.text(line) == before {
                return self.known(index);
            }
            let Some(line) = after else { break };
            index = line.next;
            after = self.ring.get(index);
        }
        self.add(before)
    }

    fn add(&mut self, before: &[u8]) -> FoundLine {
        if self.text.len() + before.len() > MAX_TEXT || self.ring.len() >= MAX_LINES {
            self.clear();
        }
        let index = self.ring.len();
        let previous = (index > 0).then_some(self.current);
        let next = match self.ring.get_mut(self.current) {
            Some(last) => std::mem::replace(&mut last.next, index),
            None => index,
        };
        self.ring.push(KnownLine {
            start: self.text.len(),
            length: before.len(),
            sum: checksum::update(0, before),
            occurrence: LineOccurrence {
                position: 0,
                labels: LabelBlockId(0),
                is_after_break: false,
            },
            next,
            steps: EditRange::default(),
        });
        self.text.extend_from_slice(before);
        self.current = index;
        FoundLine { index, is_known: false, previous }
    }
}
