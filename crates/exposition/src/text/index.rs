//! The index of a body: the form of each sample line, runs of lines, and families.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use memchr::memchr;

use super::{
    families::{FamilyNaming, FamilyShape, MetricType, Role, Roles},
    labels::AddedLabels,
    limits::Limits,
    output_dialect::OutputDialect,
    renames::Renames,
    sample::SourceName,
    span::Span,
};

/// UTF-8 files that were written on Windows can start with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a body is read, and for which output.
#[derive(Clone, Copy)]
pub(super) struct ParseContext<'a> {
    pub(super) body: &'a [u8],
    pub(super) labels: &'a AddedLabels,
    pub(super) limits: &'a Limits,
    /// The naming of the body's format.
    pub(super) source: FamilyNaming,
    pub(super) dialect: OutputDialect,
    /// Names that differ from the usual ones.
    pub(super) renames: Option<&'a Renames>,
}

#[derive(Default)]
pub(super) struct TextIndex {
    /// The form of each sample line, in the order of the body.
    pub(super) lines: Vec<LineForm>,
    /// Runs in the order of the body.
    pub(super) runs: Vec<SampleRun>,
    /// Families in the order in which the body first names them.
    pub(super) families: Vec<IndexedFamily>,
    /// The exemplars of families that have some, by the index of the family.
    pub(super) exemplars: HashMap<u32, FamilyExemplars, RandomState>,
    /// Whether the families are the first ones of the template, in the same order.
    pub(super) has_template_families: bool,
    /// The length of all samples in the output, without exemplars.
    pub(super) sample_bytes: u64,
    pub(super) duplicates: usize,
    /// Samples that were dropped because their timestamps are equal in milliseconds.
    pub(super) lost_timestamps: usize,
    pub(super) renamed_labels: usize,
    /// Exemplars that the output format cannot carry for any metric type.
    pub(super) lost_exemplars: usize,
}

impl TextIndex {
    /// The memory of the index, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.lines.capacity() * size_of::<LineForm>()
            + self.runs.capacity() * size_of::<SampleRun>()
            + self.families.capacity() * size_of::<IndexedFamily>()
            + self.exemplars.capacity() * 2 * size_of::<(u32, FamilyExemplars)>()
    }

    /// The roles of the samples of a family.
    pub(super) fn roles(&self, family: u32) -> Roles {
        let family = self.families.get(family as usize);
        family.map_or(Roles::default(), |family| family.shape.roles)
    }
}

/// A body and its index.
#[derive(Clone, Copy)]
pub(super) struct IndexedText<'a> {
    pub(super) body: &'a [u8],
    pub(super) index: &'a TextIndex,
}

/// A family of one body.
#[derive(Debug)]
pub(super) struct IndexedFamily {
    pub(super) name: NameSpan,
    /// The first `HELP` text that is not empty, or an empty span.
    pub(super) help: Span,
    /// The first `UNIT` that is not empty, or an empty span.
    pub(super) unit: Span,
    /// The first `TYPE`.
    pub(super) metric_type: Option<MetricType>,
    pub(super) shape: FamilyShape,
    pub(super) rule_result: RuleResult,
}

impl IndexedFamily {
    /// A family of which only the name is known.
    pub(super) fn new(name: NameSpan) -> Self {
        Self {
            name,
            help: Span::default(),
            unit: Span::default(),
            metric_type: None,
            shape: FamilyShape::default(),
            rule_result: RuleResult::default(),
        }
    }

    /// The family without its samples, for a body with the same lines `distance` bytes further on.
    pub(super) fn shifted(&self, distance: u32) -> Self {
        let name = NameSpan { text: self.name.text.shifted(distance), ..self.name };
        Self {
            help: self.help.shifted(distance),
            unit: self.unit.shifted(distance),
            metric_type: self.metric_type,
            ..Self::new(name)
        }
    }
}

/// The result of checking the samples of a family against the OpenMetrics rules of its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RuleResult {
    /// A rule is violated.
    pub(super) is_violated: bool,
    /// The samples must be sorted and checked again.
    pub(super) needs_reordering: bool,
    /// The samples were not checked, because the type was not known yet.
    pub(super) is_unchecked: bool,
    /// Two bounds have the same value. Canonical bounds would make their series equal.
    pub(super) has_equal_bounds: bool,
}

impl RuleResult {
    pub(super) fn join(&mut self, other: Self) {
        self.is_violated |= other.is_violated;
        self.needs_reordering |= other.needs_reordering;
        self.is_unchecked |= other.is_unchecked;
        self.has_equal_bounds |= other.has_equal_bounds;
    }
}

/// Exemplars on samples whose role allows them.
///
/// The two counts are separate, because the samples of a family can go to different output
/// families. For example, a counter `x_total` without a type has samples `x_total`, and with a type
/// it has samples `x_total_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FamilyExemplars {
    /// On samples with the name of the family.
    pub(super) plain: Exemplars,
    /// On buckets or on samples of a counter.
    pub(super) part: Exemplars,
}

impl FamilyExemplars {
    pub(super) fn of(&mut self, role: Role) -> &mut Exemplars {
        if role == Role::Plain { &mut self.plain } else { &mut self.part }
    }
}

/// A number of exemplars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exemplars {
    pub(super) count: u32,
    /// Their length in the output.
    pub(super) bytes: u32,
}

/// Consecutive sample lines of one family.
#[derive(Clone, Copy)]
pub(super) struct SampleRun {
    /// The index of the family.
    pub(super) family: u32,
    /// The start of the first line in the body.
    pub(super) offset: u32,
    /// The index of the first line.
    pub(super) line: u32,
    /// The number of lines.
    pub(super) count: u32,
    /// The template sample that matches the first line. The following lines match the following
    /// samples. Only lines with the form [`LineForm::from_template`] use it.
    pub(super) template_sample: u32,
    /// Whether the values of `le` and `quantile` are written in the canonical form.
    pub(super) has_canonical_bounds: bool,
}

/// How a sample line is written, in 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct LineForm(u32);

impl LineForm {
    /// The line must be rewritten, or it is too long for this encoding.
    pub(super) const REWRITE: Self = Self(u32::MAX);
    /// The sample is a duplicate.
    pub(super) const DROPPED: Self = Self(u32::MAX - 1);

    /// The line is copied with the added labels at `insert`. `length` includes the line break.
    pub(super) fn copy(length: usize, insert: usize) -> Self {
        // A value and a line break follow after `insert`, so the result differs from the constants.
        match (u16::try_from(length), u16::try_from(insert)) {
            (Ok(length), Ok(insert)) => Self(u32::from(length) << 16 | u32::from(insert)),
            _ => Self::REWRITE,
        }
    }

    /// The line starts with the rewritten prefix of the template. The last `length` bytes, after
    /// the added labels, are copied.
    pub(super) fn from_template(length: usize) -> Option<Self> {
        // A copied line is never empty, so its upper half is not 0.
        u16::try_from(length).ok().map(|length| Self(length.into()))
    }

    /// The number of copied bytes, if the line starts with a prefix of the template.
    #[inline(always)]
    pub(super) fn as_template_tail(self) -> Option<usize> {
        (self.0 >> 16 == 0).then_some(self.0 as usize)
    }

    /// The length of the line and the position of the added labels, if the line is copied.
    #[inline(always)]
    pub(super) fn as_copy(self) -> Option<(usize, usize)> {
        let is_other =
            self == Self::REWRITE || self == Self::DROPPED || self.as_template_tail().is_some();
        (!is_other).then_some(((self.0 >> 16) as usize, (self.0 & 0xffff) as usize))
    }
}

/// The position of a name in a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameSpan {
    text: Span,
    is_quoted: bool,
}

impl NameSpan {
    pub(super) fn within(body: &[u8], name: SourceName<'_>) -> Self {
        Self { text: Span::within(body, name.text), is_quoted: name.is_quoted }
    }

    pub(super) fn start(self) -> usize {
        self.text.start()
    }

    pub(super) fn of(self, body: &[u8]) -> SourceName<'_> {
        SourceName { text: self.text.of(body), is_quoted: self.is_quoted }
    }
}

/// The offset of the first line.
pub(super) fn start(body: &[u8]) -> usize {
    if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
}

/// A line of a body.
pub(super) struct BodyLine<'a> {
    /// The text without the line break.
    pub(super) text: &'a [u8],
    /// The offset of the next line.
    pub(super) next: usize,
    /// Whether the line ends in `\n`. Other lines end in `\r\n` or at the end of the body.
    pub(super) has_plain_break: bool,
}

/// The line that starts at `offset`.
#[inline]
pub(super) fn line(body: &[u8], offset: usize) -> BodyLine<'_> {
    let rest = body.get(offset..).unwrap_or_default();
    let (text, is_ended) = match memchr(b'\n', rest) {
        Some(length) => (rest.get(..length).unwrap_or_default(), true),
        None => (rest, false),
    };
    let next = offset + text.len() + usize::from(is_ended);
    match text {
        [text @ .., b'\r'] => BodyLine { text, next, has_plain_break: false },
        _ => BodyLine { text, next, has_plain_break: is_ended },
    }
}
