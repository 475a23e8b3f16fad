//! The look at a sample line when its body arrives.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::{
    error::ErrorKind,
    families::Bound,
    labels::Labels,
    limits::Limits,
    number,
    sample::{self, Label, Likeness, RESERVED_LABEL, Sample, TakeLabels},
};

/// What an index needs to know of a sample line.
pub(super) struct Checked<'a> {
    pub(super) name: &'a [u8],
    /// Where the added labels go, if it is canonical.
    pub(super) insert: usize,
    /// Whether it can be copied: no label clashes, and it is written as we write lines.
    pub(super) is_canonical: bool,
    /// How many of its labels have the name of an added one.
    pub(super) clashes: usize,
    pub(super) le: Bound,
    pub(super) quantile: Bound,
    /// Equal for equal series and timestamps; of no use if the line is not canonical.
    pub(super) hash: u64,
}

/// Checks the sample lines of one body.
pub(super) struct Checker<'a> {
    /// Whether the whole body is UTF-8, so that no line need be looked at.
    is_utf8: bool,
    /// The name of the line before, and its hash.
    previous: (&'a [u8], u64),
    labels: LabelChecker<'a>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(body: &[u8], added: &'a Labels, limits: &Limits) -> Self {
        Self {
            is_utf8: std::str::from_utf8(body).is_ok(),
            previous: (b"", 0),
            labels: LabelChecker {
                added,
                max_labels: limits.max_labels,
                state: RandomState::default(),
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

    /// Checks a sample line.
    #[inline]
    pub(super) fn sample(&mut self, line: &'a [u8]) -> Result<Checked<'a>, ErrorKind> {
        self.encoding(line)?;
        self.labels.count = 0;
        self.labels.found = Found::default();
        let sample = sample::parse(line, self.previous.0, &mut self.labels)?;
        let found = self.labels.finish(&sample)?;
        if sample.name != self.previous.0 {
            self.previous = (sample.name, hash(&self.labels.state, sample.name));
        }
        Ok(Checked {
            name: sample.name,
            insert: sample.insert,
            is_canonical: sample.is_canonical && found.clashes == 0,
            clashes: found.clashes,
            le: found.le,
            quantile: found.quantile,
            hash: self.labels.combine(self.previous.1, found.hash, sample.timestamp_ms),
        })
    }

    /// The hash of a canonical line, as [`sample`](Self::sample) finds it.
    pub(super) fn hash(&self, line: &[u8]) -> Result<u64, ErrorKind> {
        let state = &self.labels.state;
        let mut labels = 0_u64;
        let sample = sample::parse(line, &[], &mut |label: Label<'_>| {
            labels = labels.wrapping_add(hash(state, label.text));
            Ok(())
        })?;
        Ok(self.labels.combine(hash(state, sample.name), labels, sample.timestamp_ms))
    }
}

/// Checks the labels of one line after the other.
struct LabelChecker<'a> {
    added: &'a Labels,
    max_labels: usize,
    /// Seeded for each body: nobody can prepare lines whose hashes collide.
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
}

/// What a label's name means to us.
#[derive(Clone, Copy)]
enum Meaning {
    Le,
    Quantile,
    /// It is the name of an added label.
    Clash,
    Other,
}

/// What the labels of one line have in common.
#[derive(Clone, Copy, Default)]
struct Found {
    clashes: usize,
    le: Bound,
    quantile: Bound,
    /// A sum, because labels are equal in any order.
    hash: u64,
    /// Whether to compare all names in the end.
    is_unsure: bool,
}

impl<'a> TakeLabels<'a> for LabelChecker<'a> {
    #[inline(always)]
    fn likely(&self) -> Option<Label<'a>> {
        self.known.get(self.count).map(|known| known.label)
    }

    #[inline(always)]
    fn take(&mut self, label: Label<'a>, likeness: Likeness) -> Result<(), ErrorKind> {
        if likeness == Likeness::Unknown {
            self.learn(label)?;
        }
        let Some(known) = self.known.get_mut(self.count) else { return Ok(()) };
        if likeness == Likeness::Name {
            known.label = label;
            known.hash = hash(&self.state, label.text);
        }
        self.count += 1;
        let found = &mut self.found;
        found.hash = found.hash.wrapping_add(known.hash);
        match known.meaning {
            Meaning::Le => found.le = bound(label),
            Meaning::Quantile => found.quantile = bound(label),
            Meaning::Clash => found.clashes += 1,
            Meaning::Other => {}
        }
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
        let meaning = match label.name {
            b"le" => Meaning::Le,
            b"quantile" => Meaning::Quantile,
            RESERVED_LABEL => return Err(ErrorKind::ReservedLabel),
            name if self.added.has(name) => Meaning::Clash,
            _ => Meaning::Other,
        };
        if self.count > Self::FEW {
            self.found.is_unsure = true;
        } else if self.known.iter().any(|known| known.label.name == label.name) {
            return Err(ErrorKind::DuplicateLabel);
        }
        self.known.push(Known { label, hash: hash(&self.state, label.text), meaning });
        Ok(())
    }

    #[inline(always)]
    fn finish(&mut self, sample: &Sample<'_>) -> Result<Found, ErrorKind> {
        if self.found.is_unsure {
            let mut names: Vec<_> = self.known.iter().map(|known| known.label.name).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
                return Err(ErrorKind::DuplicateLabel);
            }
        }
        if !sample.is_canonical {
            // Its labels may have blanks in them, so they say little of how others begin.
            self.known.clear();
        }
        Ok(self.found)
    }

    #[inline(always)]
    fn combine(&self, name: u64, labels: u64, timestamp_ms: Option<i64>) -> u64 {
        let time = timestamp_ms.map_or(0, |ms| hash(&self.state, &ms.to_le_bytes()));
        name.wrapping_add(labels).wrapping_add(time)
    }
}

fn bound(label: Label<'_>) -> Bound {
    if number::is_float(label.value) { Bound::Number } else { Bound::Other }
}

#[inline(always)]
fn hash(state: &RandomState, text: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(line: &str) -> Result<(), ErrorKind> {
        let (added, limits) = (Labels::new([]), Limits { max_labels: 1000, ..Limits::default() });
        Checker::new(line.as_bytes(), &added, &limits).sample(line.as_bytes()).map(|_| ())
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
    fn hashes_are_equal_for_equal_series_and_timestamps() {
        let lines = [
            "x 1",
            "x 1 0",
            "x 1 1",
            "y 1",
            "x{a=\"1\"} 1",
            "x{a=\"1\",b=\"2\"} 1",
            "x{a=\"2\",b=\"1\"} 1",
            "x{b=\"2\"} 1",
        ];
        let (added, limits) = (Labels::new([]), Limits::default());
        let mut checker = Checker::new(b"", &added, &limits);
        let hashes = lines.map(|line| checker.sample(line.as_bytes()).unwrap().hash);
        for (i, one) in hashes.iter().enumerate() {
            assert_eq!(*one, checker.hash(lines[i].as_bytes()).unwrap());
            assert_eq!(hashes.iter().filter(|other| *other == one).count(), 1, "{}", lines[i]);
        }
        let other_order = checker.hash(b"x{b=\"2\",a=\"1\"} 7").unwrap();
        assert_eq!(other_order, hashes[5]);
    }
}
