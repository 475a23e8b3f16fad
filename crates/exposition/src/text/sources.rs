//! Series that several bodies of a merge have.
//!
//! Labels that are added tell the series of most bodies apart. Where they do not, the first
//! body that has a series keeps its samples, and a preferred one goes before all others.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

use foldhash::quality::RandomState;

use super::{
    check,
    dialect::Dialect,
    index::Line,
    instance::Instance,
    label_sets::LabelSets,
    plan::Plan,
    planned::Part,
    repeated::MAX_NAMED,
    rewrite::{Form, Rewriter},
    sample::{self, Label},
};

/// What bodies have in common.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Samples that an earlier body has: where their lines start, by instance.
    pub(super) lines: BTreeMap<usize, BTreeSet<u32>>,
    /// The first of them: the series, and where both samples are.
    pub(super) told: Vec<(String, [(usize, u32); 2])>,
    /// Families whose series differ in how a bound is spelled, by instance.
    pub(super) equal_bounds: BTreeMap<usize, BTreeSet<Vec<u8>>>,
}

/// Finds what bodies have in common.
pub(super) fn find(instances: &[Instance], plan: &Plan, dialect: Dialect) -> Found {
    let mut found = Found::default();
    let sets = LabelSets::new(instances.iter().map(|instance| &instance.labels));
    if sets.are_apart {
        return found;
    }
    for planned in &plan.families {
        let parts = plan.parts.get(planned.parts.clone()).unwrap_or_default();
        if can_meet(&sets, parts) {
            let family = Family::new(instances, parts, plan);
            if family.can_meet(&sets) {
                Search::new(dialect, &mut found).family(&family);
            }
        }
    }
    found
}

/// Whether these are parts of several instances that no added label tells apart for sure.
fn can_meet(sets: &LabelSets<'_>, parts: &[Part]) -> bool {
    let Some(first) = parts.first().map(|part| part.instance as usize) else { return false };
    parts.iter().any(|part| sets.can_meet(first, part.instance as usize))
}

/// The samples of a family of the output.
struct Family<'a> {
    /// In the order in which their samples are kept.
    instances: Vec<(usize, &'a Instance)>,
    /// The runs in which they are, by instance.
    runs: BTreeMap<usize, BTreeSet<u32>>,
}

impl<'a> Family<'a> {
    fn new(instances: &'a [Instance], parts: &[Part], plan: &Plan) -> Self {
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

    /// Calls `each` with the lines of an instance that are written, until it returns false.
    fn lines(
        &self,
        (i, instance): (usize, &'a Instance),
        each: &mut dyn FnMut(u32, u32, &'a [u8]) -> bool,
    ) {
        for &r in self.runs.get(&i).into_iter().flatten() {
            let Some(run) = instance.index.runs.get(r as usize) else { continue };
            let lines = instance.index.lines.iter().skip(run.line as usize);
            let mut offset = run.offset;
            for form in lines.take(run.count as usize) {
                let line = instance.line(offset as usize);
                if *form != Line::DROPPED && !each(r, offset, line.text) {
                    return;
                }
                offset = line.next as u32;
            }
        }
    }

    /// Whether a series of one instance can be one of another, by the names of its labels.
    fn can_meet(&self, sets: &LabelSets<'_>) -> bool {
        if self.instances.iter().filter(|(i, _)| sets.has_twin(*i)).count() > 1 {
            return true;
        }
        let here: BTreeSet<_> = self.instances.iter().map(|(i, _)| sets.set(*i)).collect();
        let mut can_be = BTreeSet::new();
        for &(i, instance) in &self.instances {
            let set = sets.set(i);
            let none = BTreeSet::new();
            let mut open: Vec<_> = here.iter().copied().filter(|other| *other != set).collect();
            let mut look = |open: &mut Vec<usize>, own: &BTreeSet<Vec<u8>>| {
                let able = open.extract_if(.., |other| sets.can_be_of(set, *other, own));
                can_be.extend(able.map(|other| (set, other)));
            };
            look(&mut open, &none);
            self.lines((i, instance), &mut |_, _, line| {
                if !open.is_empty() {
                    look(&mut open, &label_names(line));
                }
                !open.is_empty()
            });
        }
        can_be.iter().any(|&(one, other)| can_be.contains(&(other, one)))
    }
}

fn label_names(line: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::new();
    // It was read before, so there is no error to see here.
    let _ = sample::parse(line, &[], &mut |label: Label<'_>| {
        names.insert(label.name.unescaped().into_owned());
        Ok(())
    });
    names
}

/// Compares the samples of one family.
struct Search<'f> {
    dialect: Dialect,
    found: &'f mut Found,
    /// Two seeded hashes: that they agree by chance is not to be expected.
    states: [RandomState; 2],
    /// Where a sample was seen first, and how its series is spelled there.
    seen: HashMap<[u64; 2], (usize, u32, [u64; 2])>,
    written: Vec<u8>,
}

impl<'f> Search<'f> {
    fn new(dialect: Dialect, found: &'f mut Found) -> Self {
        let states = [RandomState::default(), RandomState::default()];
        Self { dialect, found, states, seen: HashMap::new(), written: Vec::new() }
    }

    fn family(&mut self, family: &Family<'_>) {
        for &(i, instance) in &family.instances {
            family.lines((i, instance), &mut |run, offset, line| {
                self.line((i, instance), run, offset, line);
                true
            });
        }
    }

    fn line(&mut self, (i, instance): (usize, &Instance), run: u32, offset: u32, line: &[u8]) {
        let form = instance.form(run as usize, false);
        let Some(series) = self.series(instance, form, line) else { return };
        let spelled = match form.has_bounds {
            true => self.series(instance, Form { has_bounds: false, ..form }, line),
            false => Some(series),
        };
        let spelled = spelled.unwrap_or(series);
        let (first, at, first_spelled) = match self.seen.entry(series) {
            Entry::Vacant(new) => {
                new.insert((i, offset, spelled));
                return;
            }
            Entry::Occupied(first) => *first.get(),
        };
        if first == i {
            return;
        }
        if first_spelled != spelled {
            let family = form.family.name.unescaped().into_owned();
            for instance in [first, i] {
                self.found.equal_bounds.entry(instance).or_default().insert(family.clone());
            }
            return;
        }
        self.found.lines.entry(i).or_default().insert(offset);
        if self.found.told.len() < MAX_NAMED {
            let series = instance.series(form, line, self.dialect);
            self.found.told.push((series, [(first, at), (i, offset)]));
        }
    }

    /// Equal for the same name and labels in the output.
    fn series(&mut self, instance: &Instance, form: Form<'_>, line: &[u8]) -> Option<[u64; 2]> {
        self.written.clear();
        let mut rewriter = Rewriter::new(self.dialect);
        rewriter.series(line, &instance.labels, form, &mut self.written).ok()?;
        let mut sums = [0_u64; 2];
        let mut add = |text: &[u8]| {
            for (sum, state) in sums.iter_mut().zip(&self.states) {
                *sum = sum.wrapping_add(check::hash(state, text));
            }
        };
        // A sum, because labels are equal in any order.
        let name = sample::parse(&self.written, &[], &mut |label: Label<'_>| {
            add(label.text);
            Ok(())
        });
        add(name.ok()?.name.text);
        let added = instance.labels.inserted(false);
        if !added.is_empty() {
            sample::parse_labels(added, &mut |label: Label<'_>| {
                add(label.text);
                Ok(())
            })
            .ok()?;
        }
        Some(sums)
    }
}
