//! The look at a sample line when its body arrives.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::{
    canonical,
    dialect::Dialect,
    error::ErrorKind,
    families::{Bound, Role},
    labels::Labels,
    limits::Limits,
    names::RESERVED_LABEL,
    number,
    renames::LabelUse,
    sample::{self, Label, Name, Next, TakeLabels},
};

/// What an index needs to know of a sample line before its value.
pub(super) struct Checked<'a> {
    pub(super) name: Name<'a>,
    /// Where the added labels go, if it is canonical.
    pub(super) insert: usize,
    /// Where the value starts.
    pub(super) end: usize,
    /// Whether it can be copied: no label clashes, and it is written as we write lines.
    pub(super) is_canonical: bool,
    /// Of no use if the line is not canonical.
    pub(super) facts: Facts,
    pub(super) labels: LabelUse,
}

/// What a canonical series says, whatever its value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Equal for equal series.
    pub(super) series: u64,
    pub(super) le: Bound,
    pub(super) quantile: Bound,
    /// The parts of `series` that come from these two labels.
    le_hash: u64,
    quantile_hash: u64,
    /// `le` or `quantile` is not as OpenMetrics wants it.
    pub(super) has_odd_bound: bool,
}

impl Facts {
    /// Equal for the samples of one metric, which in this role differ by their bounds.
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

/// Checks the sample lines of one body.
pub(super) struct Checker<'a> {
    /// Whether the whole body is UTF-8, so that no line need be looked at.
    is_utf8: bool,
    dialect: Dialect,
    /// The name of the line before.
    previous: &'a [u8],
    labels: LabelChecker<'a>,
}

impl<'a> Checker<'a> {
    /// For a body that is UTF-8, or else for one whose lines must be looked at.
    pub(super) fn new(
        is_utf8: bool,
        added: &'a Labels,
        limits: &Limits,
        dialect: Dialect,
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
                known: Vec::new(),
                count: 0,
                found: Found::default(),
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

    /// Checks a sample line up to its value.
    #[inline]
    pub(super) fn series(&mut self, line: &'a [u8]) -> Result<Checked<'a>, ErrorKind> {
        self.encoding(line)?;
        self.labels.count = 0;
        self.labels.found = Found::default();
        let series = sample::parse(line, self.previous, &mut self.labels)?;
        let found = self.labels.finish(series.is_canonical)?;
        if !series.name.is_quoted {
            self.previous = series.name.text;
        }
        let is_written_so = !series.has_quoted || self.dialect.has_quotes();
        Ok(Checked {
            name: series.name,
            insert: series.insert,
            end: series.end,
            is_canonical: series.is_canonical
                && !found.labels.has(LabelUse::CLASH)
                && is_written_so,
            facts: found.facts,
            labels: found.labels,
        })
    }

    /// Name and facts of a canonical series, as [`series`](Self::series) finds them.
    pub(super) fn facts<'b>(&self, line: &'b [u8]) -> Result<(&'b [u8], Facts), ErrorKind> {
        facts(line, &self.labels.state, self.labels.wants_bounds)
    }
}

/// Name and facts of a canonical series.
pub(super) fn facts<'b>(
    line: &'b [u8],
    state: &RandomState,
    wants_bounds: bool,
) -> Result<(&'b [u8], Facts), ErrorKind> {
    let mut facts = Facts::default();
    let series = sample::parse(line, &[], &mut |label: Label<'_>| {
        facts.add(&Known::new(label, LabelUse::default(), state, wants_bounds));
        Ok(())
    })?;
    Ok((series.name.text, facts))
}

impl Facts {
    #[inline(always)]
    fn add(&mut self, known: &Known<'_>) {
        // A sum, because labels are equal in any order.
        self.series = self.series.wrapping_add(known.hash);
        match known.meaning {
            Meaning::Le => (self.le, self.le_hash) = (known.bound, known.hash),
            Meaning::Quantile => (self.quantile, self.quantile_hash) = (known.bound, known.hash),
            Meaning::Other => return,
        }
        self.has_odd_bound |= known.is_odd;
    }
}

/// Checks the labels of one line after the other.
struct LabelChecker<'a> {
    added: &'a Labels,
    max_labels: usize,
    wants_bounds: bool,
    /// Nobody can prepare lines whose hashes collide.
    state: RandomState,
    /// Labels of the lines before. Their names are different ones, and when a line's first
    /// names are the same as here, they need no further look.
    known: Vec<Known<'a>>,
    /// How many labels this line has so far.
    count: usize,
    found: Found,
}

#[derive(Clone, Copy)]
struct Known<'a> {
    label: Label<'a>,
    hash: u64,
    meaning: Meaning,
    used: LabelUse,
    bound: Bound,
    /// It is a bound, and not as OpenMetrics wants it.
    is_odd: bool,
}

impl<'a> Known<'a> {
    fn new(label: Label<'a>, used: LabelUse, state: &RandomState, wants_bounds: bool) -> Self {
        let mut known = Self {
            label,
            hash: hash(state, label.text),
            meaning: Meaning::of(label.name),
            used,
            bound: Bound::Absent,
            is_odd: false,
        };
        known.look_at_bound(wants_bounds);
        known
    }

    #[inline(always)]
    fn look_at_bound(&mut self, wants_bounds: bool) {
        if matches!(self.meaning, Meaning::Le | Meaning::Quantile) {
            self.bound = number::parse(self.label.value).map_or(Bound::Other, Bound::Number);
            self.is_odd = wants_bounds
                && self.bound != Bound::Other
                && !canonical::is_canonical(self.label.value);
        }
    }
}

/// What a label's name means to us.
#[derive(Clone, Copy)]
enum Meaning {
    Le,
    Quantile,
    Other,
}

impl Meaning {
    fn of(name: Name<'_>) -> Self {
        match name.text {
            b"le" => Self::Le,
            b"quantile" => Self::Quantile,
            _ => Self::Other,
        }
    }
}

/// What the labels of one line have in common.
#[derive(Clone, Copy, Default)]
struct Found {
    facts: Facts,
    labels: LabelUse,
    /// Whether to compare all names in the end.
    is_unsure: bool,
}

impl<'a> TakeLabels<'a> for LabelChecker<'a> {
    #[inline(always)]
    fn likely(&self) -> Option<&Label<'a>> {
        self.known.get(self.count).map(|known| &known.label)
    }

    #[inline(always)]
    fn take(&mut self, label: Next<'a>) -> Result<(), ErrorKind> {
        if let Next::Unknown(label) = label {
            self.learn(label)?;
        }
        let Some(known) = self.known.get_mut(self.count) else { return Ok(()) };
        if let Next::Named { value, text } = label {
            (known.label.value, known.label.text) = (value, text);
            known.hash = hash(&self.state, text);
            known.look_at_bound(self.wants_bounds);
        }
        self.count += 1;
        self.found.labels.join(known.used);
        self.found.facts.add(known);
        Ok(())
    }
}

impl<'a> LabelChecker<'a> {
    /// Up to here a name is compared with each one before; with more, that would take too long.
    const FEW: usize = 16;

    /// Looks at a label that is not where it was in the lines before.
    fn learn(&mut self, label: Label<'a>) -> Result<(), ErrorKind> {
        self.known.truncate(self.count);
        if self.count >= self.max_labels {
            return Err(ErrorKind::TooManyLabels);
        }
        if label.name.text == RESERVED_LABEL {
            return Err(ErrorKind::ReservedLabel);
        }
        if self.count > Self::FEW {
            self.found.is_unsure = true;
        } else if self.known.iter().any(|known| known.label.name.text == label.name.text) {
            return Err(ErrorKind::DuplicateLabel);
        }
        let used = LabelUse::of(&label.name.unescaped(), self.added);
        self.known.push(Known::new(label, used, &self.state, self.wants_bounds));
        Ok(())
    }

    #[inline(always)]
    fn finish(&mut self, is_canonical: bool) -> Result<Found, ErrorKind> {
        if self.found.is_unsure {
            let mut names: Vec<_> = self.known.iter().map(|known| known.label.name.text).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
                return Err(ErrorKind::DuplicateLabel);
            }
        }
        if !is_canonical {
            // Its labels may have blanks in them, so they say little of how others begin.
            self.known.clear();
        }
        Ok(self.found)
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
    use super::super::format::{Format, Target};
    use super::*;

    fn checker<'a>(labels: &'a Labels, limits: &Limits) -> Checker<'a> {
        let dialect = Dialect::new(Target::new(Format::OpenMetrics100));
        Checker::new(true, labels, limits, dialect, RandomState::default())
    }

    fn checked(line: &str) -> Result<(), ErrorKind> {
        let (added, limits) = (Labels::new([]), Limits { max_labels: 1000, ..Limits::default() });
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
        // The same look, other names.
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
        let (added, limits) = (Labels::new([]), Limits::default());
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
        assert!(facts[5].has_odd_bound && !facts[4].has_odd_bound);
    }
}
