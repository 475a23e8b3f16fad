//! What is kept of a body besides its bytes.

use memchr::memchr;

use super::{families::Shape, metadata::MetricType};

#[derive(Default)]
pub(super) struct Index {
    /// One for each sample line, in their order.
    pub(super) lines: Vec<Line>,
    /// In their order.
    pub(super) runs: Vec<Run>,
    /// In the order in which the body first names them.
    pub(super) families: Vec<Family>,
    /// The length of all samples when written.
    pub(super) sample_bytes: u64,
    pub(super) duplicates: usize,
    pub(super) renamed_labels: usize,
}

/// What an instance says of a family.
pub(super) struct Family {
    pub(super) name: Span,
    /// The first `HELP` with a text, or empty.
    pub(super) help: Span,
    /// The first `TYPE`.
    pub(super) metric_type: Option<MetricType>,
    pub(super) shape: Shape,
}

/// Samples of one family whose lines follow each other directly.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// Its place among the families.
    pub(super) family: u32,
    /// Where in the body the first line starts.
    pub(super) offset: u32,
    /// The place of the first line among the lines.
    pub(super) line: u32,
    /// How many lines there are.
    pub(super) count: u32,
}

/// How a sample line is to be written, in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Line(u32);

impl Line {
    /// A line that must be brought into form, or is too long to describe.
    pub(super) const REWRITE: Self = Self(u32::MAX);
    /// A duplicate.
    pub(super) const DROPPED: Self = Self(u32::MAX - 1);

    /// A line of `length` bytes with its line break, to be copied with the added
    /// labels at `insert`.
    pub(super) fn copy(length: usize, insert: usize) -> Self {
        // A value and a line break follow on `insert`, so none looks like the two above.
        match (u16::try_from(length), u16::try_from(insert)) {
            (Ok(length), Ok(insert)) => Self(u32::from(length) << 16 | u32::from(insert)),
            _ => Self::REWRITE,
        }
    }

    /// Length and place of the added labels, of a line to be copied.
    pub(super) fn as_copy(self) -> Option<(usize, usize)> {
        let is_copy = self != Self::REWRITE && self != Self::DROPPED;
        is_copy.then_some(((self.0 >> 16) as usize, (self.0 & 0xffff) as usize))
    }
}

/// A part of a body; bodies have less than 4 GiB.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// Where `part`, which is a slice of `body`, stands in it.
    pub(super) fn within(body: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(body.as_ptr().addr());
        Self { start: start as u32, length: part.len() as u32 }
    }

    pub(super) fn of(self, body: &[u8]) -> &[u8] {
        let start = self.start as usize;
        body.get(start..start + self.length as usize).unwrap_or_default()
    }

    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }
}

/// A line of a body.
pub(super) struct TextLine<'a> {
    /// Without its line break.
    pub(super) text: &'a [u8],
    /// Where the next one starts.
    pub(super) next: usize,
    /// Whether the line break is as we write it: there, and not `\r\n`.
    pub(super) is_clean: bool,
}

/// The line that starts at `offset`.
#[inline]
pub(super) fn line(body: &[u8], offset: usize) -> TextLine<'_> {
    let rest = body.get(offset..).unwrap_or_default();
    let (text, is_ended) = match memchr(b'\n', rest) {
        Some(length) => (rest.get(..length).unwrap_or_default(), true),
        None => (rest, false),
    };
    let next = offset + text.len() + usize::from(is_ended);
    match text {
        [text @ .., b'\r'] => TextLine { text, next, is_clean: false },
        _ => TextLine { text, next, is_clean: is_ended },
    }
}
