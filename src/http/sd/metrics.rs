//! Metrics of service discovery.

use crate::telemetry::metrics::CounterByLabel;
use prometheus_client::registry::Registry;

#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Rendered,
    Cached,
    NotModified,
    Refused,
    TooOften,
    Unavailable,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Rendered,
        Self::Cached,
        Self::NotModified,
        Self::Refused,
        Self::TooOften,
        Self::Unavailable,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Rendered => "rendered",
            Self::Cached => "cached",
            Self::NotModified => "not_modified",
            Self::Refused => "refused",
            Self::TooOften => "too_often",
            Self::Unavailable => "unavailable",
        }
    }
}

#[derive(Clone, Debug)]
pub struct SdMetrics(CounterByLabel);

impl SdMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        Self(CounterByLabel::register(
            registry,
            "scrapebroker_sd_requests",
            "Requests for service discovery, by outcome: the list was rendered, a cached list was valid, ...",
            "outcome",
            Outcome::ALL.map(Outcome::name),
        ))
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.0.count(outcome.name());
    }
}
