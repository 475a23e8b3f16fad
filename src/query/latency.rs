//! Recent latencies of one Prometheus server.

use std::time::Duration;

/// Number of latencies that are kept.
const CAPACITY: usize = 64;
/// Fewer latencies have no useful quantile.
const MIN_SAMPLES: usize = 8;

/// Number of latencies after which the 95th percentile is computed again.
const REFRESH: usize = 8;

/// The last latencies, in no order.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    recent: Vec<Duration>,
    /// Index of the next one, which replaces the oldest one.
    next: usize,
    p95: Option<Duration>,
}

impl Latencies {
    pub(super) fn record(&mut self, latency: Duration) {
        match self.recent.get_mut(self.next) {
            Some(oldest) => *oldest = latency,
            None => self.recent.push(latency),
        }
        self.next = (self.next + 1) % CAPACITY;
        if self.next.is_multiple_of(REFRESH) {
            self.p95 = self.quantile(95);
        }
    }

    /// The 95th percentile. Each query needs it, so it may be a few latencies old.
    pub(super) fn recent_p95(&self) -> Option<Duration> {
        self.p95
    }

    /// A percentile, if there are enough latencies.
    pub(super) fn quantile(&self, percent: usize) -> Option<Duration> {
        if self.recent.len() < MIN_SAMPLES {
            return None;
        }
        let mut sorted = self.recent.clone();
        let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        let (_, quantile, _) = sorted.select_nth_unstable(index);
        Some(*quantile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_follows_the_last_latencies() {
        let mut latencies = Latencies::default();
        let ms = Duration::from_millis;
        (1..8).for_each(|number| latencies.record(ms(number)));
        assert_eq!(latencies.quantile(95), None);
        latencies.record(ms(8));
        assert_eq!(latencies.quantile(95), Some(ms(8)));
        assert_eq!(latencies.recent_p95(), Some(ms(8)));
        (0..64).for_each(|number| latencies.record(ms(100 + number)));
        assert_eq!(latencies.quantile(95), Some(ms(160)), "the earlier ones are gone");
        (0..63).for_each(|_| latencies.record(ms(1)));
        assert_eq!(latencies.quantile(95), Some(ms(1)), "one outlier does not count");
    }
}
