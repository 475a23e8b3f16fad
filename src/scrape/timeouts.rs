//! Timeout of a scrape.

use std::time::Duration;

/// The operator's limits on the duration of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct ScrapeTimeouts {
    /// Timeout when the scraper sends none.
    pub default: Duration,
    /// Maximum timeout that a scraper can set.
    pub max: Duration,
    /// Subtracted from the scraper's timeout, but at most half of it, so that the response arrives
    /// before the scraper times out.
    pub offset: Duration,
}

impl ScrapeTimeouts {
    /// Timeout for all instances together, given the value of
    /// `X-Prometheus-Scrape-Timeout-Seconds`. A value that is not a positive number is ignored.
    pub fn total(&self, announced: Option<&str>) -> Duration {
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

    #[test]
    fn the_scraper_sets_the_deadline() {
        let timeouts = ScrapeTimeouts {
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
            assert_eq!(timeouts.total(announced).as_millis(), expected_ms, "{announced:?}");
        }
    }
}
