//! Metrics of service discovery.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Made,
    Cached,
    NotModified,
    Refused,
    TooOften,
    Unavailable,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Made,
        Self::Cached,
        Self::NotModified,
        Self::Refused,
        Self::TooOften,
        Self::Unavailable,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Cached => "cached",
            Self::NotModified => "not_modified",
            Self::Refused => "refused",
            Self::TooOften => "too_often",
            Self::Unavailable => "unavailable",
        }
    }
}

#[derive(Clone, Debug)]
pub struct SdMetrics(Family<OutcomeLabel, Counter>);

impl SdMetrics {
    /// Adds the family to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let answers = Family::<OutcomeLabel, Counter>::default();
        for outcome in Outcome::ALL {
            answers.get_or_create_owned(&OutcomeLabel { outcome: outcome.name() });
        }
        registry.register(
            "scrapebroker_sd_requests",
            "Requests for service discovery, by outcome: the list was made, or one from before was good, ...",
            answers.clone(),
        );
        Self(answers)
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.0.get_or_create(&OutcomeLabel { outcome: outcome.name() }).inc();
    }
}
