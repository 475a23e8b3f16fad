//! Counts the distinct values of labels.

use std::collections::{HashMap, HashSet};

use foldhash::quality::RandomState;

use super::{FamilyReport, InspectLimits, LabelReport, shorten};

/// Values are recognised by 64-bit hashes, so that the memory does not depend on their length.
pub(super) struct LabelCounter<'a> {
    limits: &'a InspectLimits,
    hasher: RandomState,
    names: HashMap<Box<[u8]>, usize, RandomState>,
    labels: Vec<LabelReport>,
    /// Hashes of label and value.
    values: HashSet<u64, RandomState>,
    /// Hashes of label, family and value.
    values_of_families: HashSet<u64, RandomState>,
    /// Number of values by label and family.
    counts: HashMap<(usize, usize), u64, RandomState>,
}

impl<'a> LabelCounter<'a> {
    pub(super) fn new(limits: &'a InspectLimits) -> Self {
        Self {
            limits,
            hasher: RandomState::default(),
            names: HashMap::default(),
            labels: Vec::new(),
            values: HashSet::default(),
            values_of_families: HashSet::default(),
            counts: HashMap::default(),
        }
    }

    /// Returns false if the label or value is not counted, because a limit is reached.
    pub(super) fn add(&mut self, family: usize, name: &[u8], value: &[u8]) -> bool {
        let Some(label) = self.label(name) else { return false };
        let in_family = self.hash(&(label, family), value);
        if self.values_of_families.contains(&in_family) {
            return true;
        }
        if self.values.len() + self.values_of_families.len() + 2 > self.limits.values {
            return false;
        }
        self.values_of_families.insert(in_family);
        *self.counts.entry((label, family)).or_default() += 1;
        let is_new = self.values.insert(self.hash(&label, value));
        if let Some(report) = self.labels.get_mut(label).filter(|_| is_new) {
            report.values += 1;
            if report.examples.len() < self.limits.examples {
                let mut example = String::from_utf8_lossy(value).into_owned();
                shorten(&mut example, self.limits.example_bytes);
                report.examples.push(example);
            }
        }
        true
    }

    fn label(&mut self, name: &[u8]) -> Option<usize> {
        if let Some(&label) = self.names.get(name) {
            return Some(label);
        }
        let label = self.labels.len();
        if label >= self.limits.labels {
            return None;
        }
        self.names.insert(name.into(), label);
        let name = String::from_utf8_lossy(name).into_owned();
        self.labels.push(LabelReport { name, ..LabelReport::default() });
        Some(label)
    }

    fn hash(&self, of: &impl std::hash::Hash, value: &[u8]) -> u64 {
        std::hash::BuildHasher::hash_one(&self.hasher, (of, value))
    }

    /// Returns the labels with the most values first, and completes the families.
    pub(super) fn finish(self, families: &mut [FamilyReport]) -> Vec<LabelReport> {
        let Self { limits, mut labels, counts, .. } = self;
        for ((label, family), values) in counts {
            let (Some(label), Some(family)) = (labels.get_mut(label), families.get_mut(family))
            else {
                continue;
            };
            let is_wider =
                |(name, widest): &(String, u64)| (values, &*label.name) > (*widest, &**name);
            if family.widest_label.as_ref().is_none_or(is_wider) {
                family.widest_label = Some((label.name.clone(), values));
            }
            label.families += 1;
            label.top.push((family.name.clone(), values));
            // Sorted and cut now and then, so that names are not copied for all families at once.
            if label.top.len() > 4 * limits.examples.max(1) {
                keep_most(&mut label.top, limits.examples);
            }
        }
        for label in &mut labels {
            keep_most(&mut label.top, limits.examples);
        }
        labels.sort_by(|a, b| b.values.cmp(&a.values).then_with(|| a.name.cmp(&b.name)));
        labels
    }
}

/// Keeps the names with the most values. Names with equally many are in the order of bytes.
fn keep_most(top: &mut Vec<(String, u64)>, count: usize) {
    top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    top.truncate(count);
}
