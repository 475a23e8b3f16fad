//! Finds series that several bodies of a merge have.
//!
//! Mostly the added labels make the series of bodies different. Otherwise the samples of the first
//! body are kept. Samples of a preferred body take precedence.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

use foldhash::quality::RandomState;

use super::{
    body::TextBody,
    duplicate_sample::MAX_REPORTED,
    index::LineForm,
    label_sets::LabelSets,
    output_dialect::OutputDialect,
    output_family::OutputPart,
    plan::TextPlan,
    rewrite::{RewriteContext, Rewriter},
    sample::{self, TextLabel},
    sample_check,
};

/// The result of comparing bodies.
#[derive(Debug, Default)]
pub(super) struct SharedSeries {
    /// For each instance, the offsets of lines whose series an earlier body has.
    pub(super) lines: BTreeMap<usize, BTreeSet<u32>>,
    /// The first shared series, each with the instance and offset of both samples.
    pub(super) reported: Vec<(String, [(usize, u32); 2])>,
    /// For each instance, the families with series that differ only in the notation of a bound.
    pub(super) equal_bounds: BTreeMap<usize, BTreeSet<Vec<u8>>>,
}

/// Compares the series of all bodies.
pub(super) fn find(
    instances: &[TextBody],
    plan: &TextPlan,
    dialect: OutputDialect,
) -> SharedSeries {
    let mut found = SharedSeries::default();
    let sets = LabelSets::new(instances.iter().map(|instance| &instance.labels));
    if sets.are_disjoint {
        return found;
    }
    for planned in &plan.families {
        let parts = plan.parts.get(planned.parts.clone()).unwrap_or_default();
        if can_overlap(&sets, parts) {
            let family = SharedFamily::new(instances, parts, plan);
            if family.can_overlap(&sets) {
                SharedSeriesSearch::new(dialect, &mut found).family(&family);
            }
        }
    }
    found
}

/// Whether these parts are of instances whose series can be equal.
fn can_overlap(sets: &LabelSets<'_>, parts: &[OutputPart]) -> bool {
    let Some(first) = parts.first().map(|part| part.instance as usize) else { return false };
    parts.iter().any(|part| sets.can_overlap(first, part.instance as usize))
}

/// The samples of an output family.
struct SharedFamily<'a> {
    /// Instances in order of precedence.
    instances: Vec<(usize, &'a TextBody)>,
    /// For each instance, the runs with the samples.
    runs: BTreeMap<usize, BTreeSet<u32>>,
}

impl<'a> SharedFamily<'a> {
    fn new(instances: &'a [TextBody], parts: &[OutputPart], plan: &TextPlan) -> Self {
        let mut runs = BTreeMap::<usize, BTreeSet<u32>>::new();
        for part in parts {
            let of_instance = runs.entry(part.instance as usize).or_default();
            match plan.regrouped.get(part.run as usize).filter(|_| part.is_regrouped) {
                Some(regrouped) => of_instance.extend(regrouped.lines.iter().map(|line| line.run)),
                None => _ = of_instance.insert(part.run),
            }
        }
        let known = |&i: &usize| Some((i, instances.get(i)?));
        let mut instances: Vec<_> = runs.keys().filter_map(known).collect();
        instances.sort_by_key(|(i, instance)| (!instance.is_preferred, *i));
        Self { instances, runs }
    }

    /// Calls `each` with the lines of an instance in the output, until it returns false.
    fn lines(
        &self,
        (i, instance): (usize, &'a TextBody),
        each: &mut dyn FnMut(u32, u32, &'a [u8]) -> bool,
    ) {
        for &r in self.runs.get(&i).into_iter().flatten() {
            let Some(run) = instance.index.runs.get(r as usize) else { continue };
            let lines = instance.index.lines.iter().skip(run.line as usize);
            let mut offset = run.offset;
            for form in lines.take(run.count as usize) {
                let line = instance.line(offset as usize);
                if *form != LineForm::DROPPED && !each(r, offset, line.text) {
                    return;
                }
                offset = line.next as u32;
            }
        }
    }

    /// Whether the label names allow equal series of two instances.
    fn can_overlap(&self, sets: &LabelSets<'_>) -> bool {
        if self.instances.iter().filter(|(i, _)| sets.has_same_labels(*i)).count() > 1 {
            return true;
        }
        let here: BTreeSet<_> = self.instances.iter().map(|(i, _)| sets.set(*i)).collect();
        let mut can_be = BTreeSet::new();
        for &(i, instance) in &self.instances {
            let set = sets.set(i);
            let none = BTreeSet::new();
            let mut open: Vec<_> = here.iter().copied().filter(|other| *other != set).collect();
            let mut mark_possible = |open: &mut Vec<usize>, names: &BTreeSet<Vec<u8>>| {
                let reachable =
                    open.extract_if(.., |other| sets.can_have_labels_of(set, *other, names));
                can_be.extend(reachable.map(|other| (set, other)));
            };
            mark_possible(&mut open, &none);
            self.lines((i, instance), &mut |_, _, line| {
                if !open.is_empty() {
                    mark_possible(&mut open, &label_names(line));
                }
                !open.is_empty()
            });
        }
        can_be.iter().any(|&(one, other)| can_be.contains(&(other, one)))
    }
}

fn label_names(line: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::new();
    // The line was parsed before, so there is no error.
    let _ = sample::parse(line, &[], &mut |label: TextLabel<'_>| {
        names.insert(label.name.unescaped().into_owned());
        Ok(())
    });
    names
}

/// Compares the samples of one family.
struct SharedSeriesSearch<'f> {
    hasher: SeriesHasher,
    found: &'f mut SharedSeries,
    /// For each series, the first instance and offset, and the hash of the series with its original
    /// bounds.
    seen: HashMap<[u64; 2], (usize, u32, [u64; 2])>,
}

impl<'f> SharedSeriesSearch<'f> {
    fn new(dialect: OutputDialect, found: &'f mut SharedSeries) -> Self {
        Self { hasher: SeriesHasher::new(dialect), found, seen: HashMap::new() }
    }

    fn family(&mut self, family: &SharedFamily<'_>) {
        for &(i, instance) in &family.instances {
            family.lines((i, instance), &mut |run, offset, line| {
                self.line((i, instance), run, offset, line);
                true
            });
        }
    }

    fn line(&mut self, (i, instance): (usize, &TextBody), run: u32, offset: u32, line: &[u8]) {
        let form = instance.form(run as usize, false);
        let Some(series) = self.hasher.series(instance, form, line) else { return };
        let original = match form.has_canonical_bounds {
            true => {
                let form = RewriteContext { has_canonical_bounds: false, ..form };
                self.hasher.series(instance, form, line)
            }
            false => Some(series),
        };
        let original = original.unwrap_or(series);
        let (first, at, first_original) = match self.seen.entry(series) {
            Entry::Vacant(new) => {
                new.insert((i, offset, original));
                return;
            }
            Entry::Occupied(first) => *first.get(),
        };
        if first == i {
            return;
        }
        if first_original != original {
            let family = form.family.name.unescaped().into_owned();
            for instance in [first, i] {
                self.found.equal_bounds.entry(instance).or_default().insert(family.clone());
            }
            return;
        }
        self.found.lines.entry(i).or_default().insert(offset);
        if self.found.reported.len() < MAX_REPORTED {
            let series = instance.series(form, line, self.hasher.dialect);
            self.found.reported.push((series, [(first, at), (i, offset)]));
        }
    }
}

/// Hashes the series of lines.
pub(super) struct SeriesHasher {
    dialect: OutputDialect,
    /// Two seeded hashes of 64 bits, so that accidental collisions are not expected.
    states: [RandomState; 2],
    written: Vec<u8>,
}

impl SeriesHasher {
    pub(super) fn new(dialect: OutputDialect) -> Self {
        let states = [RandomState::default(), RandomState::default()];
        Self { dialect, states, written: Vec::new() }
    }

    /// A hash that is equal for equal names and labels in the output.
    pub(super) fn series(
        &mut self,
        instance: &TextBody,
        form: RewriteContext<'_>,
        line: &[u8],
    ) -> Option<[u64; 2]> {
        self.written.clear();
        let mut rewriter = Rewriter::new(self.dialect);
        rewriter.series(line, &instance.labels, form, &mut self.written).ok()?;
        let mut sums = [0_u64; 2];
        let mut add = |text: &[u8]| {
            for (sum, state) in sums.iter_mut().zip(&self.states) {
                *sum = sum.wrapping_add(sample_check::hash(state, text));
            }
        };
        // The sum does not depend on the order of labels.
        let name = sample::parse(&self.written, &[], &mut |label: TextLabel<'_>| {
            add(label.text);
            Ok(())
        });
        add(name.ok()?.name.text);
        let added = instance.labels.inserted(false);
        if !added.is_empty() {
            sample::parse_labels(added, &mut |label: TextLabel<'_>| {
                add(label.text);
                Ok(())
            })
            .ok()?;
        }
        Some(sums)
    }
}
