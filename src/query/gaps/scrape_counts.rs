//! How many scrapes a replica made, over time.

use std::{collections::VecDeque, ops::RangeInclusive};

/// Numbers of scrapes within a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Scrapes {
    pub(super) all: f32,
    /// Those that got a response.
    pub(super) successful: f32,
}

/// Numbers of scrapes at the times `index * step`, without a hole between the first and
/// the last index.
#[derive(Clone, Debug)]
pub(super) struct ScrapeCounts {
    first: i64,
    counts: VecDeque<Scrapes>,
    max: usize,
}

impl ScrapeCounts {
    /// Holds the `max` newest numbers.
    pub(super) fn new(max: usize) -> Self {
        Self { first: 0, counts: VecDeque::new(), max }
    }

    /// The known indexes.
    pub(super) fn known(&self) -> Option<RangeInclusive<i64>> {
        let length = i64::try_from(self.counts.len()).unwrap_or(i64::MAX);
        (length > 0).then(|| self.first..=self.first + length - 1)
    }

    pub(super) fn get(&self, index: i64) -> Option<Scrapes> {
        let position = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.counts.get(position).copied()
    }

    /// The next numbers to learn, at most `count`: first those up to `newest`, then older ones down
    /// to `oldest`.
    pub(super) fn unknown(
        &self,
        oldest: i64,
        newest: i64,
        count: i64,
    ) -> Option<RangeInclusive<i64>> {
        let max = i64::try_from(self.max).unwrap_or(i64::MAX);
        let oldest = oldest.max(newest - max + 1);
        let Some(known) = self.known() else {
            return (oldest <= newest).then(|| oldest.max(newest - count + 1)..=newest);
        };
        let (first, last) = known.into_inner();
        if last < newest {
            return Some(last + 1..=newest.min(last + count));
        }
        (oldest < first).then(|| oldest.max(first - count)..=first - 1)
    }

    /// Adds the numbers of the indexes from `first`, which must follow or precede the known ones.
    pub(super) fn add(&mut self, first: i64, counts: Vec<Scrapes>) {
        let length = i64::try_from(counts.len()).unwrap_or(i64::MAX);
        match self.known().map(RangeInclusive::into_inner) {
            Some((known, _)) if first + length == known => {
                self.first = first;
                counts.into_iter().rev().for_each(|it| self.counts.push_front(it));
            }
            Some((_, last)) if first == last + 1 => self.counts.extend(counts),
            _ => {
                self.first = first;
                self.counts = counts.into();
            }
        }
        while self.counts.len() > self.max {
            self.counts.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn number(index: i64) -> Scrapes {
        Scrapes { all: index as f32, successful: 0.0 }
    }

    #[test]
    fn new_numbers_are_learned_before_old_ones() {
        let mut counts = ScrapeCounts::new(10);
        let learn = |counts: &mut ScrapeCounts, newest| {
            let range = counts.unknown(0, newest, 4)?;
            counts.add(*range.start(), range.clone().map(number).collect());
            Some(range)
        };
        for (newest, expected) in [
            (100, Some(97..=100)),
            (100, Some(93..=96)),
            (102, Some(101..=102)),
            (102, None),
            (120, Some(103..=106)),
            (107, Some(107..=107)),
            (107, None),
        ] {
            assert_eq!(learn(&mut counts, newest), expected, "{newest}");
        }
        assert_eq!(counts.known(), Some(98..=107), "the newest ten");
        assert_eq!(
            (counts.get(97), counts.get(98), counts.get(108)),
            (None, Some(number(98)), None)
        );
    }

    #[test]
    fn numbers_before_the_oldest_sample_are_not_learned() {
        let counts = ScrapeCounts::new(100);
        assert_eq!(counts.unknown(8, 10, 50), Some(8..=10));
        assert_eq!(counts.unknown(11, 10, 50), None);
        let mut counts = ScrapeCounts::new(100);
        counts.add(8, vec![Scrapes::default(); 3]);
        assert_eq!(counts.unknown(8, 10, 50), None);
        assert_eq!(counts.unknown(5, 10, 2), Some(6..=7));
    }
}
