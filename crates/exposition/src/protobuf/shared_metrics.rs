//! Finds metrics that several bodies of a merge have.

use std::collections::{HashMap, HashSet};

use foldhash::quality::RandomState;

use super::{
    super::{
        duplicate_sample::{DuplicateSample, MAX_REPORTED, SampleLocation},
        label_sets::LabelSets,
        names::Escaping,
    },
    body::ProtobufBody,
    duplicates,
    index::IndexedMetric,
};

/// Drops metrics that an earlier instance has, unless the added labels make them different. Returns
/// the first of them. A preferred instance has precedence.
pub(super) fn drop_metrics(
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
            for (metric_index, metric) in
                family.metrics.clone().zip(family.metrics(instance.index()))
            {
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
                    repeated.push(metric_index);
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
