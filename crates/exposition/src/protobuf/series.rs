//! Which metrics an instance has twice.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::{
    check,
    index::{Family, Index, Metric},
    instance,
    message::{Content, Kind, Label},
    naming::{self, Naming},
};

/// A metric, for the look for duplicates.
#[derive(Clone, Copy)]
struct Print {
    /// Equal for equal series and timestamps.
    hash: u64,
    /// Its place among the metrics.
    place: u32,
}

/// Marks every metric that is as an earlier one as dropped; returns how many samples they have.
pub(super) fn drop_duplicates(body: &[u8], index: &mut Index, naming: Naming<'_>) -> usize {
    // Seeded for each body: nobody can prepare metrics whose hashes collide.
    let state = RandomState::default();
    let mut prints = Vec::with_capacity(index.metrics.len());
    for family in &index.families {
        let name = hash(&state, [naming.family(family.name.of(body)).as_ref()]);
        for (metric, place) in family.metrics(index).iter().zip(family.metrics.clone()) {
            if metric.is(Metric::DROPPED) {
                continue;
            }
            let mut sum = name.wrapping_add(print(body, family, *metric, naming, &state));
            if let Some(timestamp_ms) = Content::of(metric.span.of(body)).timestamp_ms() {
                sum = sum.wrapping_add(hash(&state, [timestamp_ms.to_le_bytes().as_slice()]));
            }
            prints.push(Print { hash: sum, place });
        }
    }
    let is_same = |one: u32, other: u32| {
        if are_alike(body, index, [one, other]) {
            return true;
        }
        let one = Series::of(body, index, naming, one);
        one.is_some() && one == Series::of(body, index, naming, other)
    };
    let dropped = repeated(&prints, is_same);
    let mut samples = 0;
    for place in dropped {
        samples += index.drop(place, body);
    }
    samples
}

/// Equal for equal labels of metrics of one family.
fn print(
    body: &[u8],
    family: &Family,
    metric: Metric,
    naming: Naming<'_>,
    state: &RandomState,
) -> u64 {
    let message = metric.span.of(body);
    let content = Content::of(message);
    let mut sum = class(family, metric, &content);
    // A sum, because labels are equal in any order.
    if instance::must_be_renamed(metric, naming) {
        for label in naming.labels(family.name.of(body), message).0 {
            sum = sum.wrapping_add(hash(state, [&*label.name, label.value]));
        }
    } else {
        for label in Label::all(message) {
            sum = sum.wrapping_add(hash(state, [label.name, label.value]));
        }
    }
    sum
}

/// The same for metrics of all instances, with the labels that are added.
pub(super) fn full_print(
    body: &[u8],
    family: &Family,
    metric: Metric,
    naming: Naming<'_>,
    states: &[RandomState; 2],
) -> [u64; 2] {
    states.each_ref().map(|state| {
        let name = hash(state, [naming.family(family.name.of(body)).as_ref()]);
        let added = naming::added_pairs(naming.added).into_iter();
        let added = added.map(|(name, value)| hash(state, [&*name, &*value]));
        let sum = print(body, family, metric, naming, state).wrapping_add(name);
        added.fold(sum, u64::wrapping_add)
    })
}

/// How many samples a metric of a family has.
pub(super) fn samples(body: &[u8], family: &Family, metric: Metric) -> usize {
    let content = Content::of(metric.span.of(body));
    let kind = content.kind(family.metric_type);
    check::samples(kind, content.value(kind), metric.is(Metric::NATIVE))
}

/// The places of all prints that are the same as an earlier one.
fn repeated(prints: &[Print], is_same: impl Fn(u32, u32) -> bool) -> Vec<u32> {
    // Open addressing, half full at most; a slot holds an index, plus one.
    let mut slots = vec![0_u32; (prints.len() * 2).next_power_of_two()];
    let mask = slots.len() - 1;
    let mut repeated = Vec::new();
    for (i, print) in prints.iter().enumerate() {
        // The index is at home in the low bits of the hash, and probes upwards.
        let mut at = print.hash as usize & mask;
        while let Some(slot) = slots.get_mut(at) {
            let Some(earlier) = (*slot as usize).checked_sub(1).and_then(|i| prints.get(i)) else {
                *slot = i as u32 + 1;
                break;
            };
            if earlier.hash == print.hash && is_same(earlier.place, print.place) {
                repeated.push(print.place);
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

/// Metrics of different classes have different samples, whatever their labels.
fn class(family: &Family, metric: Metric, content: &Content<'_>) -> u64 {
    match content.kind(family.metric_type) {
        Kind::Gauge | Kind::Counter | Kind::Untyped => 0,
        Kind::Summary => 1,
        Kind::Histogram if metric.is(Metric::NATIVE) => 2,
        Kind::Histogram => 3,
    }
}

/// Whether two metrics are the same at first sight: most that are have their
/// labels in one order.
fn are_alike(body: &[u8], index: &Index, places: [u32; 2]) -> bool {
    let [Some(one), Some(other)] = places.map(|place| {
        let (family, metric) = (index.family_of(place)?, *index.metrics.get(place as usize)?);
        let message = metric.span.of(body);
        let content = Content::of(message);
        let class = class(family, metric, &content);
        Some((family.name.of(body), class, content.timestamp_ms(), message))
    }) else {
        return false;
    };
    // Under whatever names they go out, these depend on nothing else.
    (one.0, one.1, one.2) == (other.0, other.1, other.2)
        && Label::all(one.3).eq(Label::all(other.3))
}

/// What makes a metric the same as another.
#[derive(PartialEq, Eq)]
struct Series {
    family: Vec<u8>,
    class: u64,
    timestamp_ms: Option<i64>,
    /// Names and values, in their order.
    labels: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Series {
    fn of(body: &[u8], index: &Index, naming: Naming<'_>, place: u32) -> Option<Self> {
        let family = index.family_of(place)?;
        let metric = *index.metrics.get(place as usize)?;
        let message = metric.span.of(body);
        let content = Content::of(message);
        let labels = naming.labels(family.name.of(body), message).0.into_iter();
        let mut labels: Vec<_> =
            labels.map(|label| (label.name.into_owned(), label.value.to_vec())).collect();
        labels.sort_unstable();
        Some(Self {
            family: naming.family(family.name.of(body)).into_owned(),
            class: class(family, metric, &content),
            timestamp_ms: content.timestamp_ms(),
            labels,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hashes: &[u64], is_same: impl Fn(u32, u32) -> bool) -> Vec<u32> {
        let prints: Vec<_> =
            hashes.iter().zip(0..).map(|(&hash, place)| Print { hash, place }).collect();
        repeated(&prints, is_same)
    }

    #[test]
    fn all_but_the_first_of_equal_ones_are_found() {
        assert_eq!(found(&[], |_, _| true), [0; 0]);
        assert_eq!(found(&[7, 8, 7, 9, 7, 8], |_, _| true), [2, 4, 5]);
        assert_eq!(found(&[0, u64::MAX, 0], |_, _| true), [2]);
    }

    #[test]
    fn a_collision_of_hashes_is_no_duplicate() {
        assert_eq!(found(&[7; 5], |_, _| false), [0; 0]);
        // The even ones are equal, the odd ones too.
        assert_eq!(found(&[7; 5], |one, other| one % 2 == other % 2), [2, 3, 4]);
    }
}
