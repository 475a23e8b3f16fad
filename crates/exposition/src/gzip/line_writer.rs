//! Writes lines as copies of their parts and literals.
//!
//! Each part of a line has one likely position in the text before. Equal bytes are copied from
//! there, and the rest is written as literals. There is no search.

use super::{
    alphabet::MAX_COPY,
    bits::BitWriter,
    difference::{self, EditStep, word},
    encoder::{DeflateEncoder, MIN_NEW_COPY},
    label_blocks::{LabelBlock, LabelBlockId, LabelBlocks},
    line_ring::{FoundLine, KnownLine, LineOccurrence, LineRing},
};

/// The number of bytes of other text between two updates of the codes.
const PIECE: usize = 4 << 10;

/// The state of the text so far, as far as it is used for copies.
#[derive(Debug)]
pub(super) struct LineWriter {
    pub(super) encoder: DeflateEncoder,
    pub(super) blocks: LabelBlocks,
    lines: LineRing,
    last: Option<PreviousLine>,
    /// A buffer for steps that are not stored.
    steps: Vec<EditStep>,
    /// Whether a line break was received and is not written yet. It is held back so that the copy
    /// of the next line can include it.
    has_pending_break: bool,
    /// Whether the text so far ends in a line break.
    is_after_break: bool,
}

/// The previous line from its labels on.
#[derive(Clone, Copy, Debug)]
struct PreviousLine {
    labels: LabelBlockId,
    /// The position of the labels.
    position: u64,
    after_position: u64,
    /// The first bytes after the labels.
    after: u128,
    after_length: usize,
}

impl LineWriter {
    /// Starts after the bits that `bits` has already.
    pub(super) fn new(bits: BitWriter) -> Self {
        Self {
            encoder: DeflateEncoder::new(bits),
            blocks: LabelBlocks::default(),
            lines: LineRing::default(),
            last: None,
            steps: Vec::new(),
            has_pending_break: false,
            is_after_break: false,
        }
    }

    /// Writes any text, and forgets the lines before it.
    pub(super) fn write(&mut self, text: &[u8]) {
        self.flush_break();
        self.lines.clear();
        for piece in text.chunks(PIECE) {
            self.encoder.literals(piece);
            self.encoder.end_line();
        }
        if let Some(last) = text.last() {
            self.is_after_break = *last == b'\n';
        }
    }

    /// Writes a line with the labels `block`. Returns the checksum of `before`, starting at 0.
    #[inline(always)]
    pub(super) fn line(
        &mut self,
        before: &[u8],
        labels: LabelBlockId,
        block: &LabelBlock,
        after: &[u8],
    ) -> u32 {
        let found = self.lines.find(before);
        let Some(&KnownLine { sum, occurrence, .. }) = self.lines.get(found.index) else {
            return 0;
        };
        let position = self.encoder.position() + u64::from(self.has_pending_break);
        let is_after_break = self.is_after_break;
        let copied = if found.is_known && self.encoder.reaches(position, occurrence.position) {
            self.write_repeated(before, labels, &occurrence)
        } else {
            self.write_changed(before, labels, found);
            0
        };
        self.write_labels(labels, block, copied);
        self.write_after(labels, block, after);
        self.encoder.end_line();
        self.lines.record(found.index, LineOccurrence { position, labels, is_after_break });
        sum
    }

    /// Writes a known line and the common prefix of its labels and the labels it had before.
    /// Returns the length of this prefix.
    #[inline(always)]
    fn write_repeated(
        &mut self,
        before: &[u8],
        labels: LabelBlockId,
        occurrence: &LineOccurrence,
    ) -> usize {
        let takes_break = self.has_pending_break && occurrence.is_after_break;
        if !takes_break {
            self.flush_break();
        }
        let prefix = usize::from(takes_break) + before.len();
        let same = self.blocks.common_prefix(occurrence.labels, labels);
        let copied = match self.last {
            // The previous line has the same labels and is nearer. A copy of all labels from the
            // older line would be split at the maximal length.
            Some(last) if last.labels == labels => same.min(MAX_COPY.saturating_sub(prefix)),
            _ => same,
        };
        if prefix + copied >= MIN_NEW_COPY {
            self.encoder.extend(occurrence.position - u64::from(takes_break), prefix + copied);
            self.has_pending_break = false;
            return copied;
        }
        self.flush_break();
        self.encoder.literals(before);
        0
    }

    /// Writes `before`, the text of `found`, as edit steps from the previous line.
    #[inline(always)]
    fn write_changed(&mut self, before: &[u8], labels: LabelBlockId, found: FoundLine) {
        let previous =
            found.previous.and_then(|index| Some((index, self.lines.get(index)?.occurrence)));
        // The previous line directly precedes this one and is shorter than 3 KiB, so it is within
        // the window.
        let Some((previous, occurrence)) = previous else {
            self.flush_break();
            return self.encoder.literals(before);
        };
        let takes_break = self.has_pending_break && occurrence.is_after_break;
        if !takes_break {
            self.flush_break();
        }
        self.has_pending_break = false;
        let steps = self.lines.steps(previous, found.index);
        let prefix = steps.first().map_or(0, |step| step.prefix());
        if takes_break && prefix >= MIN_NEW_COPY {
            self.encoder.extend(occurrence.position - 1, 1);
        } else if takes_break {
            self.encoder.literals(b"\n");
        }
        let is_joined = self.last.is_some_and(|last| last.labels == labels)
            && self.blocks.text(labels).len() >= MIN_NEW_COPY;
        difference::write(steps, before, occurrence.position, is_joined, &mut self.encoder);
    }

    /// Writes the labels without the first `copied` bytes.
    #[inline(always)]
    fn write_labels(&mut self, labels: LabelBlockId, block: &LabelBlock, copied: usize) {
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
        self.blocks.record(labels, position);
    }

    /// Writes the text after the labels, and holds back its line break.
    #[inline(always)]
    fn write_after(&mut self, labels: LabelBlockId, block: &LabelBlock, after: &[u8]) {
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
            self.has_pending_break = true;
        } else {
            self.encoder.literals(rest);
        }
        self.is_after_break = after.last() == Some(&b'\n');
        self.last = Some(PreviousLine {
            labels,
            position: position - block.length as u64,
            after_position: position,
            after: word,
            after_length: after.len(),
        });
    }

    /// Writes a line break that was held back.
    #[inline(always)]
    pub(super) fn flush_break(&mut self) {
        if self.has_pending_break {
            self.encoder.literals(b"\n");
            self.has_pending_break = false;
        }
    }
}
