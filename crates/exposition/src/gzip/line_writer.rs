//! Lines as what is new in them.
//!
//! Each part of a line has a place where it most likely stands already; what is
//! the same there is copied, and the rest is written. Nothing is searched.

use super::{
    bits::BitWriter,
    code::LONGEST_COPY,
    difference::{self, Step, word},
    encoder::{Encoder, WORTHWHILE},
    labels::{Block, Blocks, Labels},
    lines::{Found, Line, Lines, Seen},
};

/// How much other text goes into the counts of the code at once.
const PIECE: usize = 4 << 10;

/// Knows what was written, as far as it may come again.
#[derive(Debug)]
pub(super) struct LineWriter {
    pub(super) encoder: Encoder,
    pub(super) blocks: Blocks,
    lines: Lines,
    last: Option<Last>,
    /// Room for differences that are not kept.
    steps: Vec<Step>,
    /// A line break that was given and not yet written: with luck the copy of the
    /// next line begins with it.
    holds_break: bool,
    /// Whether the text so far ends in a line break.
    is_after_break: bool,
}

/// The line before, from its labels on.
#[derive(Clone, Copy, Debug)]
struct Last {
    labels: Labels,
    /// Of the labels.
    position: u64,
    after_position: u64,
    /// The first bytes after them.
    after: u128,
    after_length: usize,
}

impl LineWriter {
    /// Begins after what `bits` already has.
    pub(super) fn new(bits: BitWriter) -> Self {
        Self {
            encoder: Encoder::new(bits),
            blocks: Blocks::default(),
            lines: Lines::default(),
            last: None,
            steps: Vec::new(),
            holds_break: false,
            is_after_break: false,
        }
    }

    /// Writes anything, and forgets the lines before it.
    pub(super) fn write(&mut self, text: &[u8]) {
        self.release_break();
        self.lines.clear();
        for piece in text.chunks(PIECE) {
            self.encoder.literals(piece);
            self.encoder.end_line();
        }
        if let Some(last) = text.last() {
            self.is_after_break = *last == b'\n';
        }
    }

    /// Writes a line, its labels being `block`; returns the checksum of `before` from zero.
    #[inline(always)]
    pub(super) fn line(
        &mut self,
        before: &[u8],
        labels: Labels,
        block: &Block,
        after: &[u8],
    ) -> u32 {
        let found = self.lines.find(before);
        let Some(&Line { sum, seen, .. }) = self.lines.get(found.place) else { return 0 };
        let position = self.encoder.position() + u64::from(self.holds_break);
        let is_after_break = self.is_after_break;
        let copied = if found.is_again && self.encoder.reaches(position, seen.position) {
            self.repeat(before, labels, &seen)
        } else {
            self.differ(before, labels, found);
            0
        };
        self.write_labels(labels, block, copied);
        self.write_after(labels, block, after);
        self.encoder.end_line();
        self.lines.place(found.place, Seen { position, labels, is_after_break });
        sum
    }

    /// Writes a line that came before, up to where its labels differ from those it
    /// had; returns how many bytes of the labels that are.
    #[inline(always)]
    fn repeat(&mut self, before: &[u8], labels: Labels, seen: &Seen) -> usize {
        let takes_break = self.holds_break && seen.is_after_break;
        if !takes_break {
            self.release_break();
        }
        let ahead = usize::from(takes_break) + before.len();
        let same = self.blocks.common_prefix(seen.labels, labels);
        let copied = match self.last {
            // The line before has all of the labels, and is nearer: this copy shall not
            // be followed by another one from the same place.
            Some(last) if last.labels == labels => same.min(LONGEST_COPY.saturating_sub(ahead)),
            _ => same,
        };
        if ahead + copied >= WORTHWHILE {
            self.encoder.extend(seen.position - u64::from(takes_break), ahead + copied);
            self.holds_break = false;
            return copied;
        }
        self.release_break();
        self.encoder.literals(before);
        0
    }

    /// Writes `before`, the text of `found`, as it differs from that of the line before.
    #[inline(always)]
    fn differ(&mut self, before: &[u8], labels: Labels, found: Found) {
        let previous = found.previous.and_then(|place| Some((place, self.lines.get(place)?.seen)));
        // Nothing is between the two lines, and none is longer than 3 KiB, so everything in
        // the line before is within reach.
        let Some((previous, seen)) = previous else {
            self.release_break();
            return self.encoder.literals(before);
        };
        let takes_break = self.holds_break && seen.is_after_break;
        if !takes_break {
            self.release_break();
        }
        self.holds_break = false;
        let steps = self.lines.steps(previous, found.place);
        let prefix = steps.first().map_or(0, |step| step.prefix());
        if takes_break && prefix >= WORTHWHILE {
            self.encoder.extend(seen.position - 1, 1);
        } else if takes_break {
            self.encoder.literals(b"\n");
        }
        let is_joined = self.last.is_some_and(|last| last.labels == labels)
            && self.blocks.text(labels).len() >= WORTHWHILE;
        difference::write(steps, before, seen.position, is_joined, &mut self.encoder);
    }

    /// Writes the labels but for the first bytes, which are copied already.
    #[inline(always)]
    fn write_labels(&mut self, labels: Labels, block: &Block, copied: usize) {
        let position = self.encoder.position() - copied as u64;
        let rest = self.blocks.text(labels).get(copied..).unwrap_or_default();
        if let Some(source) = block.position
            && self.encoder.reaches(position, source)
        {
            self.encoder.copy(source + copied as u64, rest);
        } else if let Some(last) = self.last {
            let old = self.blocks.text(last.labels).get(copied..).unwrap_or_default();
            let source = last.position + copied as u64;
            self.steps.clear();
            difference::find(rest, old, &mut self.steps);
            difference::write(&self.steps, rest, source, false, &mut self.encoder);
        } else {
            self.encoder.literals(rest);
        }
        self.blocks.place(labels, position);
    }

    /// Writes what stands after the labels, and holds back its line break.
    #[inline(always)]
    fn write_after(&mut self, labels: Labels, block: &Block, after: &[u8]) {
        let position = self.encoder.position();
        let (mut rest, word) = (after, word(after));
        if let Some(last) = self.last
            && self.encoder.continues(last.after_position)
        {
            let same = ((word ^ last.after).trailing_zeros() / 8) as usize;
            let same = same.min(last.after_length).min(after.len());
            let (copied, other) = after.split_at_checked(same).unwrap_or((&[], after));
            self.encoder.copy(last.after_position, copied);
            rest = other;
        }
        if let Some((b'\n', text)) = rest.split_last() {
            self.encoder.literals(text);
            self.holds_break = true;
        } else {
            self.encoder.literals(rest);
        }
        self.is_after_break = after.last() == Some(&b'\n');
        self.last = Some(Last {
            labels,
            position: position - block.length as u64,
            after_position: position,
            after: word,
            after_length: after.len(),
        });
    }

    /// Writes the line break that was held back.
    #[inline(always)]
    pub(super) fn release_break(&mut self) {
        if self.holds_break {
            self.encoder.literals(b"\n");
            self.holds_break = false;
        }
    }
}
