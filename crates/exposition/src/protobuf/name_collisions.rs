//! Finds names and metrics of bodies that would become equal in the output.

use std::collections::{BTreeSet, HashMap, HashSet};

use foldhash::quality::RandomState;

use super::{
    super::{
        duplicate_sample::{DuplicateSample, MAX_REPORTED, SampleLocation},
        format::Escaping,
        label_sets::LabelSets,
        renames::{LabelTraits, Renames, SourceNames, stem},
    },
    body::ProtobufBody,
    duplicates,
    index::{FamilyMessage, IndexedMetric},
    message::LabelPair,
    plan,
};

/// Gives bodies output names under which different series stay different.
///
/// Only bodies with equal added labels are compared. Otherwise the added labels make the series
/// different.
pub(super) fn resolve(instances: &mut [ProtobufBody], escaping: Escaping) {
    let mut groups = HashMap::<&[u8], Vec<usize>>::new();
    for (i, instance) in instances.iter().enumerate() {
        groups.entry(instance.added()).or_default().push(i);
    }
    let groups: Vec<_> = groups.into_values().filter(|group| group.len() > 1).collect();
    for group in groups {
        let bodies: Vec<_> = group.iter().filter_map(|&i| instances.get(i)).collect();
        let renames = find(&bodies, escaping);
        for i in group {
            if let Some(instance) = instances.get_mut(i).filter(|one| *one.renames() != renames) {
                instance.rename(renames.clone(), escaping);
            }
        }
    }
}

/// Drops metrics that an earlier instance has, unless the added labels make them different. Returns
/// the first of them. A preferred instance has precedence.
pub(super) fn drop_shared_metrics(
    instances: &mut [ProtobufBody],
    escaping: Escaping,
) -> Vec<DuplicateSample> {
    let mut found = Vec::new();
    let sets = LabelSets::new(instances.iter().map(ProtobufBody::labels));
    if sets.are_disjoint {
        return found;
    }
    let shared = shared_families(instances, &sets, escaping);
    let mut order: Vec<_> = (0..instances.len()).collect();
    order.sort_by_key(|&i| (instances.get(i).is_some_and(|one| !one.is_preferred), i));
    let states = [RandomState::default(), RandomState::default()];
    let mut seen = HashMap::<[u64; 2], usize>::new();
    for i in order {
        let Some(instance) = instances.get_mut(i) else { continue };
        let output_names = instance.output_names(escaping);
        let mut repeated = Vec::new();
        for family in &instance.index().families {
            if !shared.contains(&*output_names.family(family.name.of(instance.body()))) {
                continue;
            }
            for (place, metric) in family.metrics.clone().zip(family.metrics(instance.index())) {
                let fingerprint = duplicates::full_fingerprint(
                    instance.body(),
                    family,
                    *metric,
                    output_names,
                    &states,
                );
                if metric.is(IndexedMetric::DROPPED) {
                    continue;
                }
                let first = *seen.entry(fingerprint).or_insert(i);
                if first != i {
                    repeated.push(place);
                    if found.len() < MAX_REPORTED {
                        let series = output_names.series(
                            family.name.of(instance.body()),
                            metric.span.of(instance.body()),
                        );
                        let [kept, dropped] =
                            [first, i].map(|instance| SampleLocation { instance, line: None });
                        found.push(DuplicateSample { series, kept, dropped });
                    }
                }
            }
        }
        if !repeated.is_empty() {
            instance.drop_metrics(&repeated, escaping);
        }
    }
    found
}

/// The names of families of which several instances can have equal series.
fn shared_families(
    instances: &[ProtobufBody],
    sets: &LabelSets<'_>,
    escaping: Escaping,
) -> HashSet<Vec<u8>> {
    let mut first = HashMap::<Vec<u8>, usize>::new();
    let mut shared = HashSet::new();
    for (i, instance) in instances.iter().enumerate() {
        let output_names = instance.output_names(escaping);
        for family in &instance.index().families {
            let name = output_names.family(family.name.of(instance.body()));
            match first.get(&*name) {
                None => _ = first.insert(name.into_owned(), i),
                Some(&first) if sets.can_overlap(first, i) => _ = shared.insert(name.into_owned()),
                Some(_) => {}
            }
        }
    }
    shared
}

/// The output names that differ from the usual ones, for bodies with equal added labels.
pub(super) fn find(bodies: &[&ProtobufBody], escaping: Escaping) -> Renames {
    let Some(first) = bodies.first() else { return Renames::default() };
    let mut names = SourceNames::default();
    if escaping != Escaping::AllowUtf8 && bodies.iter().any(|body| body.index().has_utf8_names) {
        for (body, family) in families(bodies) {
            names.add_family(family.name.of(body.body()), plan::roles(family.kinds));
        }
    }
    let mut used = LabelTraits::default();
    bodies.iter().for_each(|body| used.join(body.index().labels));
    if used.must_be_checked(escaping) {
        for (body, family) in families(bodies) {
            add_labels(body, family, names.labels_of(stem(family.name.of(body.body()))));
        }
    }
    Renames::new(&names, first.labels(), escaping)
}

fn families<'a>(
    bodies: &'a [&'a ProtobufBody],
) -> impl Iterator<Item = (&'a ProtobufBody, &'a FamilyMessage)> {
    bodies.iter().flat_map(|body| body.index().families.iter().map(|family| (*body, family)))
}

fn add_labels(body: &ProtobufBody, family: &FamilyMessage, names: &mut BTreeSet<Box<[u8]>>) {
    for metric in family.metrics(body.index()) {
        for label in LabelPair::all(metric.span.of(body.body())) {
            if !names.contains(label.name) {
                names.insert(label.name.into());
            }
        }
    }
}
