//! The lines of a family, in the order in which instances have them.
//!
//! Instances of one app expose the same lines, so the line to come is most
//! likely the one that followed last time. A ring of lines and a place in it
//! foresees it; one comparison tells whether that was right.

use super::{
    checksum,
    difference::{self, EditStep},
    label_blocks::LabelBlockId,
};

/// More is more than caches hold, and further back than references reach.
const MAX_TEXT: usize = 256 << 10;
const MAX_LINES: usize = 8 << 10;
const MAX_STEPS: usize = 32 << 10;

/// How many lines are looked at after the predicted one, for an instance may lack some.
const MAX_SKIPPED: usize = 4;

/// A line's text before the labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownLine {
    start: usize,
    length: usize,
    /// The checksum of the text, from zero.
    pub(super) sum: u32,
    /// Where it came last.
    pub(super) seen: LineOccurrence,
    next: usize,
    /// How it differs from the line that came before it last time.
    steps: EditRange,
}

/// Differences that were found.
#[derive(Clone, Copy, Debug, Default)]
struct EditRange {
    /// The line from which.
    old: Option<usize>,
    start: usize,
    end: usize,
}

/// Where a line stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineOccurrence {
    /// In the whole text.
    pub(super) position: u64,
    /// The block that follows the line's text.
    pub(super) labels: LabelBlockId,
    /// Whether a line break stands before it.
    pub(super) is_after_break: bool,
}

/// The ring.
#[derive(Debug, Default)]
pub(super) struct LineRing {
    text: Vec<u8>,
    ring: Vec<KnownLine>,
    steps: Vec<EditStep>,
    /// The line found or added last; the first one comes after the last.
    place: usize,
}

/// A line in the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundLine {
    pub(super) place: usize,
    /// Whether it was there before, and not just added.
    pub(super) is_known: bool,
    /// The one found or added before it, unless all are forgotten since.
    pub(super) previous: Option<usize>,
}

impl LineRing {
    /// Forgets all lines: others will come.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ring.clear();
        self.steps.clear();
        self.place = 0;
    }

    #[inline(always)]
    pub(super) fn get(&self, place: usize) -> Option<&KnownLine> {
        self.ring.get(place)
    }

    /// Notes where a line stands.
    #[inline(always)]
    pub(super) fn place(&mut self, place: usize, seen: LineOccurrence) {
        if let Some(line) = self.ring.get_mut(place) {
            line.seen = seen;
        }
    }

    /// The steps from line `old` to line `place`.
    #[inline(always)]
    pub(super) fn steps(&mut self, old: usize, place: usize) -> &[EditStep] {
        let steps = match self.ring.get(place) {
            Some(KnownLine { steps, .. }) if steps.old == Some(old) => *steps,
            _ => self.find_steps(old, place),
        };
        self.steps.get(steps.start..steps.end).unwrap_or_default()
    }

    fn find_steps(&mut self, old: usize, place: usize) -> EditRange {
        if self.steps.len() > MAX_STEPS {
            self.steps.clear();
            self.ring.iter_mut().for_each(|line| line.steps = EditRange::default());
        }
        let start = self.steps.len();
        let mut found = std::mem::take(&mut self.steps);
        if let (Some(line), Some(old)) = (self.ring.get(place), self.ring.get(old)) {
            difference::find(self.text(line), self.text(old), &mut found);
        }
        self.steps = found;
        let steps = EditRange { old: Some(old), start, end: self.steps.len() };
        if let Some(line) = self.ring.get_mut(place) {
            line.steps = steps;
        }
        steps
    }

    #[inline(always)]
    fn text(&self, line: &KnownLine) -> &[u8] {
        self.text.get(line.start..line.start + line.length).unwrap_or_default()
    }

    /// Finds the line that begins with `before`, or adds it after the last one.
    #[inline(always)]
    pub(super) fn find(&mut self, before: &[u8]) -> FoundLine {
        if let Some(last) = self.ring.get(self.place)
            && let Some(predicted) = self.ring.get(last.next)
            && self.text(predicted) == before
        {
            let place = last.next;
            return self.found_at(place);
        }
        self.search(before)
    }

    #[inline(always)]
    fn found_at(&mut self, place: usize) -> FoundLine {
        let previous = std::mem::replace(&mut self.place, place);
        FoundLine { place, is_known: true, previous: Some(previous) }
    }

    /// Looks where an instance goes on that lacks the predicted line.
    #[inline(never)]
    fn search(&mut self, before: &[u8]) -> FoundLine {
        let predicted = self.ring.get(self.place).map(|last| last.next);
        let mut after = predicted.and_then(|predicted| self.ring.get(predicted));
        // It may begin found_at at the head, whatever the last instance had after this.
        let mut place = 0;
        for _ in 0..=MAX_SKIPPED {
            let Some(line) = self.ring.get(place) else { break };
            if self.text(line) == before {
                return self.found_at(place);
            }
            let Some(line) = after else { break };
            place = line.next;
            after = self.ring.get(place);
        }
        self.add(before)
    }

    fn add(&mut self, before: &[u8]) -> FoundLine {
        if self.text.len() + before.len() > MAX_TEXT || self.ring.len() >= MAX_LINES {
            self.clear();
        }
        let place = self.ring.len();
        let previous = (place > 0).then_some(self.place);
        let next = match self.ring.get_mut(self.place) {
            Some(last) => std::mem::replace(&mut last.next, place),
            None => place,
        };
        self.ring.push(KnownLine {
            start: self.text.len(),
            length: before.len(),
            sum: checksum::update(0, before),
            seen: LineOccurrence { position: 0, labels: LabelBlockId(0), is_after_break: false },
            next,
            steps: EditRange::default(),
        });
        self.text.extend_from_slice(before);
        self.place = place;
        FoundLine { place, is_known: false, previous }
    }
}
