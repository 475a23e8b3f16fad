//! Recent latencies of one Prometheus server.

use std::time::Duration;

/// Number of latencies that are kept.
const CAPACITY: usize = 64;
/// Fewer latencies have no useful quantile.
const MIN_SAMPLES: usize = 8;

/// The last latencies, in no order.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    recent: Vec<Duration>,
    /// Index of the oldest one, which the next one replaces.
    oldest: usize,
}

impl Latencies {
    pub(super) fn record(&mut self, latency: Duration) {
        if self.recent.len() < CAPACITY {
            self.recent.push(latency);
            return;
        }
        if let Some(oldest) = self.recent.get_mut(self.oldest) {
            *oldest = latency;
        }
        self.oldest = (self.oldest + 1) % CAPACITY;
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
        (0..64).for_each(|number| latencies.record(ms(100 + number)));
        assert_eq!(latencies.quantile(95), Some(ms(160)), "the earlier ones are gone");
        (0..63).for_each(|_| latencies.record(ms(1)));
        assert_eq!(latencies.quantile(95), Some(ms(1)), "one outlier does not count");
    }
}
