//! Points of plots: durations and sample counts of an instance's latest scrapes.

use super::LastScrape;
use std::{
    collections::VecDeque,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Maximum number of points of all instances: 48 MB.
const MAX_POINTS: usize = 4_000_000;

/// Maximum number of points of one instance.
const MAX_OF_INSTANCE: usize = 60;

/// Maximum number of points of each instance, if there are this many instances.
pub(super) fn max_per_instance(instances: usize) -> usize {
    (MAX_POINTS / instances.max(1)).min(MAX_OF_INSTANCE)
}

/// One scrape of an instance in a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapePoint {
    /// When it ended, in whole seconds.
    pub at: SystemTime,
    pub duration: Duration,
    /// None if the scrape failed.
    pub samples: Option<u32>,
}

impl ScrapePoint {
    pub(super) fn of(last: &LastScrape) -> Self {
        let samples = last.result.as_ref().ok();
        let samples = samples.map(|&samples| u32::try_from(samples).unwrap_or(u32::MAX));
        Self { at: last.at, duration: last.duration, samples }
    }
}

/// A [`ScrapePoint`] in 12 bytes.
#[derive(Clone, Copy, Debug)]
struct PackedPoint {
    /// Seconds since 1970.
    at: u32,
    microseconds: u32,
    /// [`FAILED`] for a failed scrape.
    samples: u32,
}

const FAILED: u32 = u32::MAX;

impl From<&ScrapePoint> for PackedPoint {
    fn from(point: &ScrapePoint) -> Self {
        let at = point.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            at: u32::try_from(at).unwrap_or(u32::MAX),
            microseconds: u32::try_from(point.duration.as_micros()).unwrap_or(u32::MAX),
            samples: point.samples.map_or(FAILED, |samples| samples.min(FAILED - 1)),
        }
    }
}

impl From<&PackedPoint> for ScrapePoint {
    fn from(packed: &PackedPoint) -> Self {
        Self {
            at: UNIX_EPOCH + Duration::from_secs(packed.at.into()),
            duration: Duration::from_micros(packed.microseconds.into()),
            samples: (packed.samples != FAILED).then_some(packed.samples),
        }
    }
}

/// The latest points of an instance, oldest first.
#[derive(Debug, Default)]
pub(super) struct PointHistory(VecDeque<PackedPoint>);

impl PointHistory {
    /// Adds a point, and removes the oldest ones if there are more than `max`.
    pub(super) fn push(&mut self, point: &ScrapePoint, max: usize) {
        self.0.push_back(point.into());
        self.remove_surplus(max);
    }

    /// Removes the oldest points if there are more than `max`, and releases their memory.
    pub(super) fn keep_latest(&mut self, max: usize) {
        self.remove_surplus(max);
        // A push needs room for one point more.
        self.0.shrink_to(max + 1);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = ScrapePoint> {
        self.0.iter().map(ScrapePoint::from)
    }

    fn remove_surplus(&mut self, max: usize) {
        self.0.drain(..self.0.len().saturating_sub(max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: u64, samples: Option<u32>) -> ScrapePoint {
        let at = UNIX_EPOCH + Duration::from_secs(second);
        ScrapePoint { at, duration: Duration::from_micros(second * 3), samples }
    }

    #[test]
    fn the_61st_point_drops_the_first() {
        let mut history = PointHistory::default();
        let max = max_per_instance(1);
        for second in 0..61 {
            history.push(&point(second, Some(7)), max);
        }
        let points: Vec<_> = history.iter().collect();
        assert_eq!(points, (1..61).map(|second| point(second, Some(7))).collect::<Vec<_>>());
    }

    #[test]
    fn points_are_packed_without_loss_and_extreme_values_are_limited() {
        assert_eq!(size_of::<PackedPoint>(), 12);
        for exact in [point(0, None), point(1_795_000_000 / 4, Some(0)), point(5, Some(FAILED - 1))]
        {
            assert_eq!(ScrapePoint::from(&PackedPoint::from(&exact)), exact);
        }
        let extreme = ScrapePoint {
            at: UNIX_EPOCH - Duration::from_secs(1),
            duration: Duration::MAX,
            samples: Some(u32::MAX),
        };
        let limited = ScrapePoint {
            at: UNIX_EPOCH,
            duration: Duration::from_micros(u32::MAX.into()),
            samples: Some(u32::MAX - 1),
        };
        assert_eq!(ScrapePoint::from(&PackedPoint::from(&extreme)), limited);
    }

    #[test]
    fn all_instances_together_have_a_limited_number_of_points() {
        for (instances, expected) in
            [(0, 60), (60_000, 60), (200_000, 20), (3_000_000, 1), (5_000_000, 0)]
        {
            let max = max_per_instance(instances);
            assert_eq!(max, expected, "{instances}");
            assert!(max * instances <= MAX_POINTS, "{instances}");
        }
        let mut history = PointHistory::default();
        (0..60).for_each(|second| history.push(&point(second, None), 60));
        history.keep_latest(20);
        assert_eq!(history.iter().next(), Some(point(40, None)));
        assert_eq!((history.0.len(), history.0.capacity()), (20, 21));
        history.push(&point(60, None), 20);
        assert_eq!((history.0.len(), history.0.capacity()), (20, 21));
        history.keep_latest(0);
        history.push(&point(61, None), 0);
        assert_eq!(history.iter().next(), None);
    }
}
