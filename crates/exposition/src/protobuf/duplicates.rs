//! Duplicate metrics of one body.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::{
    index::{FamilyMessage, IndexedMetric, ProtobufIndex},
    message::{LabelPair, MetricContent, ValueKind},
    output_names::{self, OutputNames},
};

/// The hash and the index of a metric.
#[derive(Clone, Copy)]
struct MetricFingerprint {
    /// Equal for equal series and timestamps.
    hash: u64,
    /// The index of the metric.
    metric_index: u32,
}

/// Drops each metric that repeats an earlier one. Returns the number of dropped samples.
pub(super) fn drop_duplicates(
    body: &[u8],
    index: &mut ProtobufIndex,
    output_names: OutputNames<'_>,
) -> usize {
    // A random seed for each body, so that colliding hashes cannot be prepared.
    let state = RandomState::default();
    let mut fingerprints = Vec::with_capacity(index.metrics.len());
    for family in &index.families {
        let name = hash(&state, [output_names.family(family.name.of(body)).as_ref()]);
        for (metric, metric_index) in family.metrics(index).iter().zip(family.metrics.clone()) {
            if metric.is(IndexedMetric::DROPPED) {
                continue;
            }
            let mut sum =
                name.wrapping_add(fingerprint(body, family, *metric, output_names, &state));
            if let Some(timestamp_ms) = MetricContent::of(metric.span.of(body)).timestamp_ms() {
                sum = sum.wrapping_add(hash(&state, [timestamp_ms.to_le_bytes().as_slice()]));
            }
            fingerprints.push(MetricFingerprint { hash: sum, metric_index });
        }
    }
    let is_same = |one: u32, other: u32| {
        if have_equal_labels(body, index, [one, other]) {
            return true;
        }
        let one = MetricKey::of(body, index, output_names, one);
        one.is_some() && one == MetricKey::of(body, index, output_names, other)
    };
    let dropped = repeated(&fingerprints, is_same);
    let mut samples = 0;
    for metric_index in dropped {
        samples += index.drop(metric_index, body);
    }
    samples
}

/// Equal for metrics of one family with equal labels.
fn fingerprint(
    body: &[u8],
    family: &FamilyMessage,
    metric: IndexedMetric,
    output_names: OutputNames<'_>,
    state: &RandomState,
) -> u64 {
    let message = metric.span.of(body);
    let content = MetricContent::of(message);
    let mut sum = sample_class(family, metric, &content);
    // The sum does not depend on the order of labels.
    if output_names.must_rename(metric) {
        for label in output_names.labels(family.name.of(body), message).0 {
            sum = sum.wrapping_add(hash(state, [&*label.name, label.value]));
        }
    } else {
        for label in LabelPair::all(message) {
            sum = sum.wrapping_add(hash(state, [label.name, label.value]));
        }
    }
    sum
}

/// A fingerprint with the added labels, to compare metrics of all instances.
pub(super) fn full_fingerprint(
    body: &[u8],
    family: &FamilyMessage,
    metric: IndexedMetric,
    output_names: OutputNames<'_>,
    states: &[RandomState; 2],
) -> [u64; 2] {
    states.each_ref().map(|state| {
        let name = hash(state, [output_names.family(family.name.of(body)).as_ref()]);
        let added = output_names::added_pairs(output_names.added).into_iter();
        let added = added.map(|(name, value)| hash(state, [&*name, &*value]));
        let sum = fingerprint(body, family, metric, output_names, state).wrapping_add(name);
        added.fold(sum, u64::wrapping_add)
    })
}

/// The indexes of the metrics that repeat an earlier one.
fn repeated(fingerprints: &[MetricFingerprint], is_same: impl Fn(u32, u32) -> bool) -> Vec<u32> {
    // Open addressing with a load factor of at most one half. A slot holds an index plus 1.
    let mut slots = vec![0_u32; (fingerprints.len() * 2).next_power_of_two()];
    let mask = slots.len() - 1;
    let mut repeated = Vec::new();
    for (i, fingerprint) in fingerprints.iter().enumerate() {
        // The low bits of the hash give the first slot, and the next slots are probed.
        let mut at = fingerprint.hash as usize & mask;
        while let Some(slot) = slots.get_mut(at) {
            let Some(earlier) = (*slot as usize).checked_sub(1).and_then(|i| fingerprints.get(i))
            else {
                *slot = i as u32 + 1;
                break;
            };
            if earlier.hash == fingerprint.hash
                && is_same(earlier.metric_index, fingerprint.metric_index)
            {
                repeated.push(fingerprint.metric_index);
                break;
            }
            at = (at + 1) & mask;
        }
    }
    repeated
}

fn hash<'p>(state: &RandomState, parts: impl IntoIterator<Item = &'p [u8]>) -> u64 {
    let mut hasher = state.build_hasher();
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    hasher.finish()
}

/// Metrics of different classes have different samples.
fn sample_class(family: &FamilyMessage, metric: IndexedMetric, content: &MetricContent<'_>) -> u64 {
    match content.kind(family.metric_type) {
        ValueKind::Gauge | ValueKind::Counter | ValueKind::Untyped => 0,
        ValueKind::Summary => 1,
        ValueKind::Histogram if metric.is(IndexedMetric::NATIVE) => 2,
        ValueKind::Histogram => 3,
    }
}

/// Fast check for equal metrics, whose labels are mostly in the same order.
fn have_equal_labels(body: &[u8], index: &ProtobufIndex, metric_indexes: [u32; 2]) -> bool {
    let [Some(one), Some(other)] = metric_indexes.map(|metric_index| {
        let (family, metric) =
            (index.family_of(metric_index)?, *index.metrics.get(metric_index as usize)?);
        let message = metric.span.of(body);
        let content = MetricContent::of(message);
        let sample_class = sample_class(family, metric, &content);
        Some((family.name.of(body), sample_class, content.timestamp_ms(), message))
    }) else {
        return false;
    };
    // The output names depend on nothing else.
    (one.0, one.1, one.2) == (other.0, other.1, other.2)
        && LabelPair::all(one.3).eq(LabelPair::all(other.3))
}

/// The properties that make two metrics equal.
#[derive(PartialEq, Eq)]
struct MetricKey {
    family: Vec<u8>,
    sample_class: u64,
    timestamp_ms: Option<i64>,
    /// Sorted names and values.
    labels: Vec<(Vec<u8>, Vec<u8>)>,
}

impl MetricKey {
    fn of(
        body: &[u8],
        index: &ProtobufIndex,
        output_names: OutputNames<'_>,
        metric_index: u32,
    ) -> Option<Self> {
        let family = index.family_of(metric_index)?;
        let metric = *index.metrics.get(metric_index as usize)?;
        let message = metric.span.of(body);
        let content = MetricContent::of(message);
        let labels = output_names.labels(family.name.of(body), message).0.into_iter();
        let mut labels: Vec<_> =
            labels.map(|label| (label.name.into_owned(), label.value.to_vec())).collect();
        labels.sort_unstable();
        Some(Self {
            family: output_names.family(family.name.of(body)).into_owned(),
            sample_class: sample_class(family, metric, &content),
            timestamp_ms: content.timestamp_ms(),
            labels,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hashes: &[u64], is_same: impl Fn(u32, u32) -> bool) -> Vec<u32> {
        let fingerprints: Vec<_> = hashes
            .iter()
            .zip(0..)
            .map(|(&hash, metric_index)| MetricFingerprint { hash, metric_index })
            .collect();
        repeated(&fingerprints, is_same)
    }

    #[test]
    fn all_but_the_first_of_equal_metrics_are_found() {
        assert_eq!(found(&[], |_, _| true), [0; 0]);
        assert_eq!(found(&[7, 8, 7, 9, 7, 8], |_, _| true), [2, 4, 5]);
        assert_eq!(found(&[0, u64::MAX, 0], |_, _| true), [2]);
    }

    #[test]
    fn a_collision_of_hashes_is_no_duplicate() {
        assert_eq!(found(&[7; 5], |_, _| false), [0; 0]);
        // Even metrics are equal, and so are odd ones.
        assert_eq!(found(&[7; 5], |one, other| one % 2 == other % 2), [2, 3, 4]);
    }
}
