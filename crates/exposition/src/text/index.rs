//! What is kept of a body besides its bytes.

use memchr::memchr;

use super::{
    families::{MetricType, Role, Shape},
    sample::Name,
    span::Span,
};

/// Files written on Windows start with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Default)]
pub(super) struct Index {
    /// One for each sample line, in their order.
    pub(super) lines: Vec<Line>,
    /// In their order.
    pub(super) runs: Vec<Run>,
    /// In the order in which the body first names them.
    pub(super) families: Vec<Family>,
    /// The length of all samples when written, without exemplars.
    pub(super) sample_bytes: u64,
    pub(super) duplicates: usize,
    /// Samples that are dropped since their timestamps are equal in milliseconds only.
    pub(super) lost_timestamps: usize,
    pub(super) renamed_labels: usize,
    /// Exemplars that no answer in the dialect can carry.
    pub(super) lost_exemplars: usize,
}

/// What an instance says of a family.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: NameSpan,
    /// The first `HELP` with a text, or empty.
    pub(super) help: Span,
    /// The first `UNIT` with a text, or empty.
    pub(super) unit: Span,
    /// The first `TYPE`.
    pub(super) metric_type: Option<MetricType>,
    pub(super) shape: Shape,
    pub(super) strictness: Strictness,
    pub(super) exemplars: FamilyExemplars,
}

impl Family {
    /// A family of which no more is known.
    pub(super) fn new(name: NameSpan) -> Self {
        Self {
            name,
            help: Span::default(),
            unit: Span::default(),
            metric_type: None,
            shape: Shape::default(),
            strictness: Strictness::default(),
            exemplars: FamilyExemplars::default(),
        }
    }

    /// The family, without its samples, in a body that has the same lines so much further on.
    pub(super) fn moved(&self, distance: u32) -> Self {
        let name = NameSpan { text: self.name.text.moved(distance), ..self.name };
        Self {
            help: self.help.moved(distance),
            unit: self.unit.moved(distance),
            metric_type: self.metric_type,
            ..Self::new(name)
        }
    }
}

/// How the samples of a family stand to the rules of OpenMetrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Strictness {
    /// They break a rule of their type.
    pub(super) is_broken: bool,
    /// They must be put in order first, and be looked at again.
    pub(super) is_irregular: bool,
    /// Nobody looked, since the type was not known yet.
    pub(super) is_unchecked: bool,
    /// Two of their bounds are one number, so that their series would become equal.
    pub(super) has_equal_bounds: bool,
}

impl Strictness {
    pub(super) fn join(&mut self, other: Self) {
        self.is_broken |= other.is_broken;
        self.is_irregular |= other.is_irregular;
        self.is_unchecked |= other.is_unchecked;
        self.has_equal_bounds |= other.has_equal_bounds;
    }
}

/// Exemplars of samples that may have some, if their type is right.
///
/// A counter `x_total` without its type has them at `x_total`, one with it at `x_total_total`:
/// samples of one body that need not go to the same family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FamilyExemplars {
    /// Of samples that are named as the family is.
    pub(super) plain: Exemplars,
    /// Of buckets, or of the counter's samples.
    pub(super) part: Exemplars,
}

impl FamilyExemplars {
    pub(super) fn of(&mut self, role: Role) -> &mut Exemplars {
        if role == Role::Plain { &mut self.plain } else { &mut self.part }
    }
}

/// How many they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exemplars {
    pub(super) count: u32,
    /// How long they are when written.
    pub(super) bytes: u32,
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
    /// The sample of the model that its first line is alike to, and so on; for those lines
    /// that say so.
    pub(super) alike: u32,
    /// Whether bounds are written as OpenMetrics wants them.
    pub(super) has_bounds: bool,
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

    /// A line that must be brought into form as the model's was, and has so many bytes behind
    /// the added labels.
    pub(super) fn alike(length: usize) -> Option<Self> {
        // No line to be copied has less than its line break.
        u16::try_from(length).ok().map(|length| Self(length.into()))
    }

    /// How long a line is behind the added labels, if it is alike to the model's.
    #[inline(always)]
    pub(super) fn as_alike(self) -> Option<usize> {
        (self.0 >> 16 == 0).then_some(self.0 as usize)
    }

    /// Length and place of the added labels, of a line to be copied.
    #[inline(always)]
    pub(super) fn as_copy(self) -> Option<(usize, usize)> {
        let is_other = self == Self::REWRITE || self == Self::DROPPED || self.as_alike().is_some();
        (!is_other).then_some(((self.0 >> 16) as usize, (self.0 & 0xffff) as usize))
    }
}

/// A name in a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameSpan {
    text: Span,
    is_quoted: bool,
}

impl NameSpan {
    pub(super) fn within(body: &[u8], name: Name<'_>) -> Self {
        Self { text: Span::within(body, name.text), is_quoted: name.is_quoted }
    }

    pub(super) fn start(self) -> usize {
        self.text.start()
    }

    pub(super) fn of(self, body: &[u8]) -> Name<'_> {
        Name { text: self.text.of(body), is_quoted: self.is_quoted }
    }
}

/// Where the first line of a body starts.
pub(super) fn start(body: &[u8]) -> usize {
    if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
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
