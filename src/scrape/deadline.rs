//! How long a scrape may take.

use std::time::Duration;

/// The operator's bounds on a scrape's time.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// When the scraper announces none.
    pub default: Duration,
    /// Longest that a scraper may announce.
    pub max: Duration,
    /// Subtracted from the announced time, at most half of it, so that the
    /// answer arrives before the scraper gives up.
    pub offset: Duration,
}

impl Timeouts {
    /// The time for all instances together, given the value of
    /// `X-Prometheus-Scrape-Timeout-Seconds`. A value that is no positive
    /// number counts as none.
    pub fn budget(&self, announced: Option<&str>) -> Duration {
        let announced = announced
            .and_then(|text| text.trim().parse::<f64>().ok())
            .filter(|seconds| *seconds > 0.0)
            .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(self.max).min(self.max));
        match announced {
            Some(time) => time - self.offset.min(time / 2),
            None => self.default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// promfetcher, gap 20: the timeout that the scraper announces is the one that holds.
    #[test]
    fn gap_20_the_scraper_sets_the_deadline() {
        let timeouts = Timeouts {
            default: Duration::from_secs(30),
            max: Duration::from_secs(120),
            offset: Duration::from_millis(500),
        };
        let cases = [
            (None, 30_000),
            (Some("10"), 9_500),
            (Some("10.000000"), 9_500),
            (Some(" 60 "), 59_500),
            (Some("0.5"), 250),
            (Some("1e3"), 119_500),
            (Some("1e300"), 119_500),
            (Some("inf"), 119_500),
            (Some("nan"), 30_000),
            (Some("0"), 30_000),
            (Some("-3"), 30_000),
            (Some("soon"), 30_000),
        ];
        for (announced, expected_ms) in cases {
            assert_eq!(timeouts.budget(announced).as_millis(), expected_ms, "{announced:?}");
        }
    }
}
