//! Detects and validates native histograms.
//!
//! Prometheus refuses a whole response for one inconsistent native histogram, so the output must
//! not contain one.

use super::{
    message::{double, fields, messages, number, varint},
    wire::{FieldValue, unzigzag},
};

/// The field numbers of the buckets on one side of zero.
struct BucketSide {
    spans: u32,
    deltas: u32,
    counts: u32,
}

const SIDES: [BucketSide; 2] = [
    BucketSide {
        spans: number::NEGATIVE[0],
        deltas: number::NEGATIVE[1],
        counts: number::NEGATIVE[2],
    },
    BucketSide {
        spans: number::POSITIVE[0],
        deltas: number::POSITIVE[1],
        counts: number::POSITIVE[2],
    },
];

/// Whether a version of Prometheus reads the histogram as native: it has spans, native buckets or a
/// zero bucket.
pub(super) fn is_native(histogram: &[u8]) -> bool {
    let [[spans_below, ..], [spans_above, ..]] = [number::NEGATIVE, number::POSITIVE];
    fields(histogram).any(|field| match field.number {
        number::PARTS => false,
        number::ZERO_COUNT => field.value != FieldValue::Varint(0),
        number::ZERO_COUNT_FLOAT | number::ZERO_THRESHOLD => {
            field.value.double().is_ok_and(|value| value > 0.0)
        }
        // An empty span marks a native histogram without observations.
        number if number == spans_below || number == spans_above => true,
        // A packed list can be present and empty.
        number if number::NEGATIVE.contains(&number) || number::POSITIVE.contains(&number) => {
            field.value != FieldValue::Bytes(b"")
        }
        _ => false,
    })
}

/// Whether all versions of Prometheus accept the native histogram.
pub(super) fn is_consistent(histogram: &[u8]) -> bool {
    let schema = unzigzag(varint(histogram, number::SCHEMA));
    if !(-4..=52).contains(&schema) {
        return false;
    }
    let is_float = double(histogram, number::COUNT_FLOAT) > 0.0
        || double(histogram, number::ZERO_COUNT_FLOAT) > 0.0;
    if is_float {
        return double(histogram, number::ZERO_COUNT_FLOAT) >= 0.0
            && SIDES.iter().all(|side| {
                let counts = || {
                    let lists = fields(histogram).filter(|field| field.number == side.counts);
                    lists.flat_map(|field| field.value.doubles().map_while(Result::ok))
                };
                buckets_of_spans(histogram, side) == Some(counts().count() as u64)
                    && !counts().any(|count| count < 0.0)
            });
    }
    let mut observations = Some(varint(histogram, number::ZERO_COUNT));
    for side in &SIDES {
        let Some((buckets, sum)) = sum_of_deltas(histogram, side) else { return false };
        if buckets_of_spans(histogram, side) != Some(buckets) {
            return false;
        }
        observations = observations.and_then(|before| before.checked_add(sum));
    }
    let count = varint(histogram, number::COUNT);
    let is_nan = double(histogram, number::SUM).is_nan();
    // An observation of NaN is in no bucket and makes the sum NaN.
    observations.is_some_and(|sum| if is_nan { sum <= count } else { sum == count })
}

/// The number of buckets that the spans describe. `None` if the offset of a span is negative.
fn buckets_of_spans(histogram: &[u8], side: &BucketSide) -> Option<u64> {
    let mut buckets = 0_u64;
    for (i, span) in messages(histogram, side.spans).enumerate() {
        if i > 0 && unzigzag(varint(span, number::SPAN_OFFSET)) < 0 {
            return None;
        }
        buckets = buckets.checked_add(varint(span, number::SPAN_LENGTH))?;
    }
    Some(buckets)
}

/// The number of buckets and of their observations. `None` if a bucket has a negative count.
fn sum_of_deltas(histogram: &[u8], side: &BucketSide) -> Option<(u64, u64)> {
    let (mut buckets, mut sum, mut bucket) = (0, 0_u64, 0_i64);
    for list in fields(histogram).filter(|field| field.number == side.deltas) {
        for delta in list.value.varints() {
            bucket = bucket.checked_add(unzigzag(delta.ok()?))?;
            sum = sum.checked_add(u64::try_from(bucket).ok()?)?;
            buckets += 1;
        }
    }
    Some((buckets, sum))
}

#[cfg(test)]
mod tests {
    use super::{
        super::wire::{put_double, put_message, put_varint, put_varint_field},
        *,
    };

    /// The count, spans and deltas of a histogram.
    type Parts<'a> = (u64, &'a [(i64, u64)], &'a [i64]);

    fn zigzag(value: i64) -> u64 {
        (value << 1 ^ value >> 63) as u64
    }

    fn histogram(count: u64, spans: &[(i64, u64)], deltas: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint_field(number::COUNT, count, &mut out);
        for &(offset, length) in spans {
            put_message(number::POSITIVE[0], &mut out, |out| {
                put_varint_field(number::SPAN_OFFSET, zigzag(offset), out);
                put_varint_field(number::SPAN_LENGTH, length, out);
            });
        }
        put_message(number::POSITIVE[1], &mut out, |out| {
            deltas.iter().for_each(|&delta| put_varint(zigzag(delta), out));
        });
        out
    }

    #[test]
    fn a_histogram_with_native_fields_is_native() {
        assert!(!is_native(b""));
        // An empty list of buckets is not a mark of a native histogram, but an empty span is.
        assert!(!is_native(&histogram(0, &[], &[])));
        assert!(is_native(&histogram(0, &[(0, 0)], &[])));
        assert!(is_native(&histogram(1, &[], &[1])));
        let mut zero = Vec::new();
        put_double(number::ZERO_THRESHOLD, 1e-128, &mut zero);
        assert!(is_native(&zero));
    }

    #[test]
    fn the_fields_must_be_consistent() {
        let sound: [Parts<'_>; 3] =
            [(0, &[(0, 0)], &[]), (4, &[(-3, 2)], &[1, 2]), (9, &[(-3, 2), (1, 1)], &[2, 0, 3])];
        for (count, spans, deltas) in sound {
            assert!(is_consistent(&histogram(count, spans, deltas)), "{spans:?}, {deltas:?}");
        }
        let unsound: [Parts<'_>; 8] = [
            (3, &[(-3, 2)], &[1, 2]),
            (5, &[(-3, 2)], &[1, 2]),
            (4, &[(-3, 3)], &[1, 2]),
            (4, &[], &[1, 2]),
            (9, &[(3, 2), (-1, 1)], &[2, 0, 3]),
            (0, &[(0, 2)], &[1, -2]),
            (4, &[(0, u64::MAX), (0, 3)], &[1, 2]),
            (0, &[(0, 2)], &[i64::MAX, i64::MAX]),
        ];
        for (count, spans, deltas) in unsound {
            assert!(!is_consistent(&histogram(count, spans, deltas)), "{spans:?}, {deltas:?}");
        }
    }

    #[test]
    fn with_a_sum_of_nan_some_observations_are_in_no_bucket() {
        let mut one = histogram(5, &[(0, 2)], &[1, 2]);
        put_double(number::SUM, f64::NAN, &mut one);
        assert!(is_consistent(&one));
        let mut less = histogram(3, &[(0, 2)], &[1, 2]);
        put_double(number::SUM, f64::NAN, &mut less);
        assert!(!is_consistent(&less));
    }

    #[test]
    fn the_schema_must_be_in_range() {
        for (schema, is_known) in [(-4, true), (8, true), (52, true), (-5, false), (53, false)] {
            let mut one = histogram(4, &[(0, 2)], &[1, 2]);
            put_varint_field(number::SCHEMA, zigzag(schema), &mut one);
            assert_eq!(is_consistent(&one), is_known, "{schema}");
        }
    }

    #[test]
    fn counts_of_float_histograms_are_not_negative() {
        for (count, is_valid) in [(0.5, true), (-0.5, false)] {
            let mut one = Vec::new();
            put_double(number::COUNT_FLOAT, 2.5, &mut one);
            put_message(number::NEGATIVE[0], &mut one, |out| {
                put_varint_field(number::SPAN_LENGTH, 1, out);
            });
            put_double(number::NEGATIVE[2], count, &mut one);
            assert_eq!(is_consistent(&one), is_valid);
        }
    }
}
