//! Whether the added labels make the series of instances different.

use std::collections::{BTreeSet, HashMap};

use super::labels::AddedLabels;

/// The added labels of all instances of a merge.
pub(super) struct LabelSets<'a> {
    /// For each instance, the set of instances whose added labels have the same names.
    set_by_instance: Vec<usize>,
    /// For each set, the added labels of its first instance.
    labels: Vec<&'a AddedLabels>,
    /// For each instance, whether another instance gets equal labels.
    has_same_labels: Vec<bool>,
    /// Whether no two instances can have equal series.
    pub(super) are_disjoint: bool,
}

impl<'a> LabelSets<'a> {
    /// Compares the added labels of all instances.
    pub(super) fn new(instances: impl Iterator<Item = &'a AddedLabels> + Clone) -> Self {
        let mut labels: Vec<&AddedLabels> = Vec::new();
        let mut counts = HashMap::<&[u8], usize>::new();
        let mut set_by_instance = Vec::new();
        for added in instances.clone() {
            let known = labels.iter().position(|known| known.have_names_of(added));
            set_by_instance.push(known.unwrap_or(labels.len()));
            if known.is_none() {
                labels.push(added);
            }
            *counts.entry(added.inserted(true)).or_default() += 1;
        }
        let has_same_labels =
            |added: &AddedLabels| counts.get(added.inserted(true)).is_some_and(|n| *n > 1);
        let has_same_labels: Vec<_> = instances.map(has_same_labels).collect();
        let are_disjoint = labels.len() < 2 && !has_same_labels.contains(&true);
        Self { set_by_instance, labels, has_same_labels, are_disjoint }
    }

    pub(super) fn set(&self, instance: usize) -> usize {
        self.set_by_instance.get(instance).copied().unwrap_or_default()
    }

    pub(super) fn has_same_labels(&self, instance: usize) -> bool {
        self.has_same_labels.get(instance).copied().unwrap_or_default()
    }

    /// Whether two instances can have equal series.
    pub(super) fn can_overlap(&self, one: usize, other: usize) -> bool {
        one != other && (self.has_same_labels(other) || self.set(one) != self.set(other))
    }

    /// Whether a sample in set `one` with label names `names` can have all label names that are
    /// added in set `other`.
    pub(super) fn can_have_labels_of(
        &self,
        one: usize,
        other: usize,
        names: &BTreeSet<Vec<u8>>,
    ) -> bool {
        let [Some(added), Some(others)] = [one, other].map(|set| self.labels.get(set)) else {
            return false;
        };
        others.names().all(|name| added.has(name) || names.contains(name))
    }
}
