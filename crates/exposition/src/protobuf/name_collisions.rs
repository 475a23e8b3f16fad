//! Finds names of bodies that would become equal in the output.

use std::collections::BTreeSet;

use super::{
    super::{
        labels::{AddedLabels, LabelTraits},
        names::Escaping,
        renames::{Renames, SourceNames, stem},
    },
    index::{FamilyMessage, IndexedMessages},
    message::LabelPair,
};

/// The output names that differ from the usual ones, for bodies with equal `added` labels.
pub(super) fn find(
    bodies: &[IndexedMessages<'_>],
    added: &AddedLabels,
    escaping: Escaping,
) -> Renames {
    let mut names = SourceNames::default();
    if escaping != Escaping::AllowUtf8 && bodies.iter().any(|body| body.index.has_utf8_names) {
        for (body, family) in families(bodies) {
            names.add_family(family.name.of(body.body), family.kinds.roles());
        }
    }
    let mut used = LabelTraits::default();
    bodies.iter().for_each(|body| used.join(body.index.labels));
    if used.must_be_checked(escaping) {
        for (body, family) in families(bodies) {
            add_labels(body, family, names.labels_of(stem(family.name.of(body.body))));
        }
    }
    Renames::new(&names, added, escaping)
}

fn families<'a>(
    bodies: &'a [IndexedMessages<'a>],
) -> impl Iterator<Item = (IndexedMessages<'a>, &'a FamilyMessage)> {
    bodies.iter().flat_map(|body| body.index.families.iter().map(|family| (*body, family)))
}

fn add_labels(body: IndexedMessages<'_>, family: &FamilyMessage, names: &mut BTreeSet<Box<[u8]>>) {
    for metric in family.metrics(body.index) {
        for label in LabelPair::all(metric.span.of(body.body)) {
            if !names.contains(label.name) {
                names.insert(label.name.into());
            }
        }
    }
}
