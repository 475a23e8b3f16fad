//! Circuit breaker of one Prometheus server: after several failures in a row it gets no queries for
//! a while, then one query, and after a success all of them again.

use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row that open the breaker.
const MAX_FAILURES: u32 = 3;
/// First pause without queries. It doubles after each failed probe, up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Breaker {
    #[default]
    Closed,
    /// This many failures in a row, fewer than [`MAX_FAILURES`].
    Failing(u32),
    /// No queries until this time.
    Open { until: Instant, pause: Duration },
    /// One query is in progress as a probe. If its client disconnects, the probe has no result, so
    /// the next one may start at `until`.
    HalfOpen { until: Instant, pause: Duration },
}

/// The state of a breaker for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    Open,
    /// The next query is a trial, or the trial is in progress.
    HalfOpen,
}

impl BreakerState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl Breaker {
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match *self {
            Self::Closed | Self::Failing(_) => BreakerState::Closed,
            Self::Open { until, .. } if now < until => BreakerState::Open,
            Self::Open { .. } | Self::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether a query may be sent now. An open breaker becomes half-open when its pause is over.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        match *self {
            Self::Closed | Self::Failing(_) => true,
            Self::Open { until, pause } | Self::HalfOpen { until, pause } => {
                let is_over = until <= now;
                if is_over {
                    *self = Self::HalfOpen { until: now + pause, pause };
                }
                is_over
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::HalfOpen { .. })
    }

    /// Records a response. Returns whether the breaker was open or half-open before.
    pub(super) fn record_success(&mut self) -> bool {
        let was_open = self.is_open();
        *self = Self::Closed;
        was_open
    }

    /// Records a failure. Returns whether it has opened a closed breaker.
    pub(super) fn record_failure(&mut self, now: Instant) -> bool {
        let open = |pause| Self::Open { until: now + pause, pause };
        let (next, has_opened) = match *self {
            Self::Closed => (Self::Failing(1), false),
            Self::Failing(failures) if failures + 1 < MAX_FAILURES => {
                (Self::Failing(failures + 1), false)
            }
            Self::Failing(_) => (open(MIN_PAUSE), true),
            // A query that was sent before the breaker opened says nothing new.
            Self::Open { .. } => (*self, false),
            Self::HalfOpen { pause, .. } => (open((pause * 2).min(MAX_PAUSE)), false),
        };
        *self = next;
        has_opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_after_three_failures_in_a_row() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..10 {
            assert!(!breaker.record_failure(now) && !breaker.record_failure(now));
            assert!(breaker.allows(now) && !breaker.record_success());
        }
        assert!(!breaker.record_failure(now) && !breaker.record_failure(now));
        assert!(breaker.record_failure(now), "the third failure opens it");
        assert!(!breaker.record_failure(now), "it is open already");
        assert!(!breaker.allows(now) && !breaker.allows(now + SECOND / 2));
    }

    #[test]
    fn one_probe_at_a_time_closes_it_or_doubles_the_pause() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        let opened = (0..3).map(|_| breaker.record_failure(now));
        assert_eq!(opened.collect::<Vec<_>>(), [false, false, true]);
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert!(!breaker.allows(now + SECOND * pause - SECOND / 10), "{pause}");
            now += SECOND * pause;
            assert!(breaker.allows(now), "{pause}");
            assert!(!breaker.allows(now), "only one probe: {pause}");
            assert!(!breaker.record_failure(now));
        }
        now += SECOND * 30;
        assert!(breaker.allows(now));
        assert!(breaker.record_success() && breaker.allows(now));
        assert!(!breaker.record_success(), "it was closed already");
    }

    #[test]
    fn a_probe_without_a_result_does_not_block_the_next_one() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let opened = (0..3).map(|_| breaker.record_failure(now));
        assert_eq!(opened.collect::<Vec<_>>(), [false, false, true]);
        assert!(breaker.allows(now + SECOND));
        assert!(!breaker.allows(now + SECOND));
        assert!(breaker.allows(now + SECOND * 2));
    }
}
