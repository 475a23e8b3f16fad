//! Whether added labels tell the series of instances apart.

use std::collections::{BTreeSet, HashMap};

use super::labels::Labels;

/// Which instances get which labels.
pub(super) struct LabelSets<'a> {
    /// By instance, those that get labels of the same names.
    of: Vec<usize>,
    /// The labels of the first instance of each set.
    labels: Vec<&'a Labels>,
    /// Whether another instance gets the same labels, by instance.
    has_twin: Vec<bool>,
    /// Whether the series of no two instances can be equal.
    pub(super) are_apart: bool,
}

impl<'a> LabelSets<'a> {
    /// Of instances that get these labels.
    pub(super) fn new(instances: impl Iterator<Item = &'a Labels> + Clone) -> Self {
        let mut labels: Vec<&Labels> = Vec::new();
        let mut counts = HashMap::<&[u8], usize>::new();
        let mut of = Vec::new();
        for own in instances.clone() {
            let known = labels.iter().position(|known| known.have_the_names_of(own));
            of.push(known.unwrap_or(labels.len()));
            if known.is_none() {
                labels.push(own);
            }
            *counts.entry(own.inserted(true)).or_default() += 1;
        }
        let has_twin = |own: &Labels| counts.get(own.inserted(true)).is_some_and(|n| *n > 1);
        let has_twin: Vec<_> = instances.map(has_twin).collect();
        let are_apart = labels.len() < 2 && !has_twin.contains(&true);
        Self { of, labels, has_twin, are_apart }
    }

    pub(super) fn set(&self, instance: usize) -> usize {
        self.of.get(instance).copied().unwrap_or_default()
    }

    pub(super) fn has_twin(&self, instance: usize) -> bool {
        self.has_twin.get(instance).copied().unwrap_or_default()
    }

    /// Whether no added label tells the series of two instances apart for sure.
    pub(super) fn can_meet(&self, one: usize, other: usize) -> bool {
        one != other && (self.has_twin(other) || self.set(one) != self.set(other))
    }

    /// Whether a sample of an instance of set `one`, with these labels of its own, can have
    /// those that are added to one of `other`.
    pub(super) fn can_be_of(&self, one: usize, other: usize, own: &BTreeSet<Vec<u8>>) -> bool {
        let [Some(added), Some(others)] = [one, other].map(|set| self.labels.get(set)) else {
            return false;
        };
        others.names().all(|name| added.has(name) || own.contains(name))
    }
}
