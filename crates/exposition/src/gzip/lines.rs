//! The lines of a family, in the order in which instances have them.
//!
//! Instances of one app expose the same lines, so the line to come is most
//! likely the one that followed last time. A ring of lines and a place in it
//! foresees it; one comparison tells whether that was right.

use super::{
    checksum,
    difference::{self, Step},
    labels::Labels,
};

/// More is more than caches hold, and further back than references reach.
const MOST_TEXT: usize = 256 << 10;
const MOST_LINES: usize = 8 << 10;
const MOST_STEPS: usize = 32 << 10;

/// How many lines are looked at after the foreseen one, for an instance may lack some.
const SKIPPED: usize = 4;

/// A line's text before the labels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    start: usize,
    length: usize,
    /// The checksum of the text, from zero.
    pub(super) sum: u32,
    /// Where it came last.
    pub(super) seen: Seen,
    next: usize,
    /// How it differs from the line that came before it last time.
    steps: Steps,
}

/// Differences that were found.
#[derive(Clone, Copy, Debug, Default)]
struct Steps {
    /// The line from which.
    old: Option<usize>,
    start: usize,
    end: usize,
}

/// Where a line stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// In the whole text.
    pub(super) position: u64,
    /// The block that follows the line's text.
    pub(super) labels: Labels,
    /// Whether a line break stands before it.
    pub(super) is_after_break: bool,
}

/// The ring.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: Vec<u8>,
    ring: Vec<Line>,
    steps: Vec<Step>,
    /// The line found or added last; the first one comes after the last.
    place: usize,
}

/// A line in the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) place: usize,
    /// Whether it was there before, and not just added.
    pub(super) is_again: bool,
    /// The one found or added before it, unless all are forgotten since.
    pub(super) previous: Option<usize>,
}

impl Lines {
    /// Forgets all lines: others will come.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ring.clear();
        self.steps.clear();
        self.place = 0;
    }

    #[inline(always)]
    pub(super) fn get(&self, place: usize) -> Option<&Line> {
        self.ring.get(place)
    }

    /// Notes where a line stands.
    #[inline(always)]
    pub(super) fn place(&mut self, place: usize, seen: Seen) {
        if let Some(line) = self.ring.get_mut(place) {
            line.seen = seen;
        }
    }

    /// The steps from line `old` to line `place`.
    #[inline(always)]
    pub(super) fn steps(&mut self, old: usize, place: usize) -> &[Step] {
        let steps = match self.ring.get(place) {
            Some(Line { steps, .. }) if steps.old == Some(old) => *steps,
            _ => self.find_steps(old, place),
        };
        self.steps.get(steps.start..steps.end).unwrap_or_default()
    }

    fn find_steps(&mut self, old: usize, place: usize) -> Steps {
        if self.steps.len() > MOST_STEPS {
            self.steps.clear();
            self.ring.iter_mut().for_each(|line| line.steps = Steps::default());
        }
        let start = self.steps.len();
        let mut found = std::mem::take(&mut self.steps);
        if let (Some(line), Some(old)) = (self.ring.get(place), self.ring.get(old)) {
            difference::find(self.text(line), self.text(old), &mut found);
        }
        self.steps = found;
        let steps = Steps { old: Some(old), start, end: self.steps.len() };
        if let Some(line) = self.ring.get_mut(place) {
            line.steps = steps;
        }
        steps
    }

    #[inline(always)]
    fn text(&self, line: &Line) -> &[u8] {
        self.text.get(line.start..line.start + line.length).unwrap_or_default()
    }

    /// Finds the line that begins with `before`, or adds it after the last one.
    #[inline(always)]
    pub(super) fn find(&mut self, before: &[u8]) -> Found {
        if let Some(last) = self.ring.get(self.place)
            && let Some(foreseen) = self.ring.get(last.next)
            && self.text(foreseen) == before
        {
            let place = last.next;
            return self.again(place);
        }
        self.search(before)
    }

    #[inline(always)]
    fn again(&mut self, place: usize) -> Found {
        let previous = std::mem::replace(&mut self.place, place);
        Found { place, is_again: true, previous: Some(previous) }
    }

    /// Looks where an instance goes on that lacks the foreseen line.
    #[inline(never)]
    fn search(&mut self, before: &[u8]) -> Found {
        let foreseen = self.ring.get(self.place).map(|last| last.next);
        let mut after = foreseen.and_then(|foreseen| self.ring.get(foreseen));
        // It may begin again at the head, whatever the last instance had after this.
        let mut place = 0;
        for _ in 0..=SKIPPED {
            let Some(line) = self.ring.get(place) else { break };
            if self.text(line) == before {
                return self.again(place);
            }
            let Some(line) = after else { break };
            place = line.next;
            after = self.ring.get(place);
        }
        self.add(before)
    }

    fn add(&mut self, before: &[u8]) -> Found {
        if self.text.len() + before.len() > MOST_TEXT || self.ring.len() >= MOST_LINES {
            self.clear();
        }
        let place = self.ring.len();
        let previous = (place > 0).then_some(self.place);
        let next = match self.ring.get_mut(self.place) {
            Some(last) => std::mem::replace(&mut last.next, place),
            None => place,
        };
        self.ring.push(Line {
            start: self.text.len(),
            length: before.len(),
            sum: checksum::update(0, before),
            seen: Seen { position: 0, labels: Labels(0), is_after_break: false },
            next,
            steps: Steps::default(),
        });
        self.text.extend_from_slice(before);
        self.place = place;
        Found { place, is_again: false, previous }
    }
}
