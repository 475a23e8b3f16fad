//! Validates sample lines.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::{
    canonical,
    error::ErrorKind,
    families::{Bound, Role},
    labels::{AddedLabels, LabelTraits},
    limits::Limits,
    names::RESERVED_LABEL,
    number,
    output_dialect::OutputDialect,
    sample::{self, LabelVisitor, NextLabel, SourceName, TextLabel},
};

/// The properties of a sample line before its value.
pub(super) struct CheckedSeries<'a> {
    pub(super) name: SourceName<'a>,
    /// The position of the added labels, if the line is canonical.
    pub(super) insert: usize,
    /// The position of the value.
    pub(super) end: usize,
    /// Whether the line can be copied: it is canonical, and no label has the name of an added one.
    pub(super) is_canonical: bool,
    /// Valid only if the line is canonical.
    pub(super) facts: SeriesFacts,
    pub(super) labels: LabelTraits,
}

/// Hashes and bounds of a canonical series.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeriesFacts {
    /// Equal for equal series.
    pub(super) series: u64,
    pub(super) le: Bound,
    pub(super) quantile: Bound,
    /// The contributions of `le` and `quantile` to `series`.
    le_hash: u64,
    quantile_hash: u64,
    /// Whether `le` or `quantile` is not a canonical number.
    pub(super) has_noncanonical_bound: bool,
}

impl SeriesFacts {
    /// A hash that is equal for the samples of one metric, which differ in their bounds.
    pub(super) fn metric(&self, role: Role) -> u64 {
        let bound = match role {
            Role::Bucket => self.le_hash,
            Role::Plain => self.quantile_hash,
            _ => 0,
        };
        self.series.wrapping_sub(bound)
    }

    /// The bound of a sample in this role.
    pub(super) fn bound(&self, role: Role) -> Bound {
        if role == Role::Plain { self.quantile } else { self.le }
    }
}

/// Validates the sample lines of one body.
pub(super) struct SampleChecker<'a> {
    /// Whether the whole body is UTF-8, so that lines are not checked.
    is_utf8: bool,
    dialect: OutputDialect,
    /// The name in the previous line.
    previous: &'a [u8],
    labels: LabelChecker<'a>,
}

impl<'a> SampleChecker<'a> {
    /// Creates a checker. If the body is not known to be UTF-8, each line is checked.
    pub(super) fn new(
        is_utf8: bool,
        added: &'a AddedLabels,
        limits: &Limits,
        dialect: OutputDialect,
        state: RandomState,
    ) -> Self {
        Self {
            is_utf8,
            dialect,
            previous: b"",
            labels: LabelChecker {
                added,
                max_labels: limits.max_labels,
                wants_bounds: dialect.is_openmetrics(),
                state,
                seen: Vec::new(),
                count: 0,
                line: LineLabels::default(),
            },
        }
    }

    /// Refuses text that is not UTF-8.
    pub(super) fn encoding(&self, line: &[u8]) -> Result<(), ErrorKind> {
        if self.is_utf8 || std::str::from_utf8(line).is_ok() {
            Ok(())
        } else {
            Err(ErrorKind::Encoding)
        }
    }

    /// Validates a sample line up to its value.
    #[inline]
    pub(super) fn series(&mut self, line: &'a [u8]) -> Result<CheckedSeries<'a>, ErrorKind> {
        self.encoding(line)?;
        self.labels.count = 0;
        self.labels.line = LineLabels::default();
        let series = sample::parse(line, self.previous, &mut self.labels)?;
        let line = self.labels.finish(series.is_canonical)?;
        if !series.name.is_quoted {
            self.previous = series.name.text;
        }
        let has_valid_quotes = !series.has_quoted || self.dialect.allows_quotes();
        Ok(CheckedSeries {
            name: series.name,
            insert: series.insert,
            end: series.end,
            is_canonical: series.is_canonical
                && !line.labels.has(LabelTraits::CLASH)
                && has_valid_quotes,
            facts: line.facts,
            labels: line.labels,
        })
    }

    /// The name and facts of a canonical series, as [`series`](Self::series) returns them.
    pub(super) fn facts<'b>(&self, line: &'b [u8]) -> Result<(&'b [u8], SeriesFacts), ErrorKind> {
        facts(line, &self.labels.state, self.labels.wants_bounds)
    }
}

/// The name and facts of a canonical series.
pub(super) fn facts<'b>(
    line: &'b [u8],
    state: &RandomState,
    wants_bounds: bool,
) -> Result<(&'b [u8], SeriesFacts), ErrorKind> {
    let mut facts = SeriesFacts::default();
    let series = sample::parse(line, &[], &mut |label: TextLabel<'_>| {
        facts.add(&SeenLabel::new(label, LabelTraits::default(), state, wants_bounds));
        Ok(())
    })?;
    Ok((series.name.text, facts))
}

impl SeriesFacts {
    #[inline(always)]
    fn add(&mut self, seen: &SeenLabel<'_>) {
        // The sum does not depend on the order of labels.
        self.series = self.series.wrapping_add(seen.hash);
        match seen.meaning {
            LabelMeaning::Le => (self.le, self.le_hash) = (seen.bound, seen.hash),
            LabelMeaning::Quantile => (self.quantile, self.quantile_hash) = (seen.bound, seen.hash),
            LabelMeaning::Other => return,
        }
        self.has_noncanonical_bound |= seen.is_noncanonical;
    }
}

/// Validates the labels of consecutive lines.
struct LabelChecker<'a> {
    added: &'a AddedLabels,
    max_labels: usize,
    wants_bounds: bool,
    /// A random seed, so that colliding hashes cannot be prepared.
    state: RandomState,
    /// The labels of the previous lines, with different names. If the labels of a line start with
    /// the same names, only the values are checked.
    seen: Vec<SeenLabel<'a>>,
    /// The number of labels in this line so far.
    count: usize,
    line: LineLabels,
}

#[derive(Clone, Copy)]
struct SeenLabel<'a> {
    label: TextLabel<'a>,
    hash: u64,
    meaning: LabelMeaning,
    used: LabelTraits,
    bound: Bound,
    /// Whether the label is a bound that is not a canonical number.
    is_noncanonical: bool,
}

impl<'a> SeenLabel<'a> {
    fn new(
        label: TextLabel<'a>,
        used: LabelTraits,
        state: &RandomState,
        wants_bounds: bool,
    ) -> Self {
        let mut seen = Self {
            label,
            hash: hash(state, label.text),
            meaning: LabelMeaning::of(label.name),
            used,
            bound: Bound::Absent,
            is_noncanonical: false,
        };
        seen.parse_bound(wants_bounds);
        seen
    }

    #[inline(always)]
    fn parse_bound(&mut self, wants_bounds: bool) {
        if matches!(self.meaning, LabelMeaning::Le | LabelMeaning::Quantile) {
            self.bound = number::parse(self.label.value).map_or(Bound::Other, Bound::Number);
            self.is_noncanonical = wants_bounds
                && self.bound != Bound::Other
                && !canonical::is_canonical(self.label.value);
        }
    }
}

/// The meaning of a label name.
#[derive(Clone, Copy)]
enum LabelMeaning {
    Le,
    Quantile,
    Other,
}

impl LabelMeaning {
    fn of(name: SourceName<'_>) -> Self {
        match name.text {
            b"le" => Self::Le,
            b"quantile" => Self::Quantile,
            _ => Self::Other,
        }
    }
}

/// The properties of all labels of a line.
#[derive(Clone, Copy, Default)]
struct LineLabels {
    facts: SeriesFacts,
    labels: LabelTraits,
    /// Whether all names must be compared at the end of the line.
    needs_full_check: bool,
}

impl<'a> LabelVisitor<'a> for LabelChecker<'a> {
    #[inline(always)]
    fn likely(&self) -> Option<&TextLabel<'a>> {
        self.seen.get(self.count).map(|seen| &seen.label)
    }

    #[inline(always)]
    fn take(&mut self, label: NextLabel<'a>) -> Result<(), ErrorKind> {
        if let NextLabel::Unknown(label) = label {
            self.add(label)?;
        }
        let Some(seen) = self.seen.get_mut(self.count) else { return Ok(()) };
        if let NextLabel::Named { value, text } = label {
            (seen.label.value, seen.label.text) = (value, text);
            seen.hash = hash(&self.state, text);
            seen.parse_bound(self.wants_bounds);
        }
        self.count += 1;
        self.line.labels.join(seen.used);
        self.line.facts.add(seen);
        Ok(())
    }
}

impl<'a> LabelChecker<'a> {
    /// Up to this number of labels each name is compared with all previous ones. For more labels
    /// the names are sorted.
    const PAIRWISE_LIMIT: usize = 16;

    /// Validates a label that differs from the previous lines.
    fn add(&mut self, label: TextLabel<'a>) -> Result<(), ErrorKind> {
        self.seen.truncate(self.count);
        if self.count >= self.max_labels {
            return Err(ErrorKind::TooManyLabels);
        }
        if label.name.text == RESERVED_LABEL {
            return Err(ErrorKind::ReservedLabel);
        }
        if self.count > Self::PAIRWISE_LIMIT {
            self.line.needs_full_check = true;
        } else if self.seen.iter().any(|seen| seen.label.name.text == label.name.text) {
            return Err(ErrorKind::DuplicateLabel);
        }
        let used = LabelTraits::of(&label.name.unescaped(), self.added);
        self.seen.push(SeenLabel::new(label, used, &self.state, self.wants_bounds));
        Ok(())
    }

    #[inline(always)]
    fn finish(&mut self, is_canonical: bool) -> Result<LineLabels, ErrorKind> {
        if self.line.needs_full_check {
            let mut names: Vec<_> = self.seen.iter().map(|seen| seen.label.name.text).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
                return Err(ErrorKind::DuplicateLabel);
            }
        }
        if !is_canonical {
            // The labels can contain blanks, so they are no useful prediction.
            self.seen.clear();
        }
        Ok(self.line)
    }
}

#[inline(always)]
pub(super) fn hash(state: &RandomState, text: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::format::{Format, OutputFormat};
    use super::*;

    fn checker<'a>(labels: &'a AddedLabels, limits: &Limits) -> SampleChecker<'a> {
        let dialect = OutputDialect::new(OutputFormat::new(Format::OpenMetrics100));
        SampleChecker::new(true, labels, limits, dialect, RandomState::default())
    }

    fn checked(line: &str) -> Result<(), ErrorKind> {
        let (added, limits) =
            (AddedLabels::new([]), Limits { max_labels: 1000, ..Limits::default() });
        checker(&added, &limits).series(line.as_bytes()).map(|_| ())
    }

    #[test]
    fn a_label_name_may_occur_once() {
        let line = |names: &mut dyn Iterator<Item = String>| {
            let labels: Vec<_> = names.map(|name| format!("{name}=\"1\"")).collect();
            format!("x{{{}}} 1", labels.join(","))
        };
        for count in [1, 2, 10, 17, 18, 100, 900] {
            let names = || (0..count).map(|i| format!("n{i}"));
            assert_eq!(checked(&line(&mut names())), Ok(()), "{count}");
            for repeated in [0, count / 2, count - 1] {
                let again = std::iter::once(format!("n{repeated}"));
                assert_eq!(
                    checked(&line(&mut names().chain(again))),
                    Err(ErrorKind::DuplicateLabel),
                    "{count}, {repeated}"
                );
            }
        }
        // The same length and the same first and last letter.
        assert_eq!(checked(&line(&mut ["abc", "aXc"].map(String::from).into_iter())), Ok(()));
    }

    #[test]
    fn hashes_are_equal_for_equal_labels() {
        let lines = [
            "x 1",
            "x{a=\"1\"} 1",
            "x{a=\"1\",b=\"2\"} 1",
            "x{a=\"2\",b=\"1\"} 1",
            "x{b=\"2\"} 1",
            "x{le=\"2\",b=\"2\"} 1",
        ];
        let (added, limits) = (AddedLabels::new([]), Limits::default());
        let mut checker = checker(&added, &limits);
        let facts = lines.map(|line| checker.series(line.as_bytes()).unwrap().facts);
        for (i, one) in facts.iter().enumerate() {
            let (name, again) = checker.facts(lines[i].as_bytes()).unwrap();
            assert_eq!((name, again.series), (&b"x"[..], one.series));
            let same = facts.iter().filter(|other| other.series == one.series);
            assert_eq!(same.count(), 1, "{}", lines[i]);
        }
        let (_, other_order) = checker.facts(b"x{b=\"2\",a=\"1\"} 7").unwrap();
        assert_eq!(other_order.series, facts[2].series);
        assert_eq!(facts[5].metric(Role::Bucket), facts[4].series);
        assert_eq!(facts[5].bound(Role::Bucket), Bound::Number(2.0));
        assert!(facts[5].has_noncanonical_bound && !facts[4].has_noncanonical_bound);
    }
}
