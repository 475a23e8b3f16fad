//! Metrics of refused requests.

use super::Denied;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug)]
pub struct AccessMetrics(Family<ReasonLabel, Counter>);

impl AccessMetrics {
    /// Adds the family to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let refused = Family::<ReasonLabel, Counter>::default();
        for reason in ["missing", "wrong", "forbidden", "not_configured", "too_many"] {
            refused.get_or_create_owned(&ReasonLabel { reason });
        }
        registry.register(
            "scrapebroker_access_refused",
            "Requests refused for want of a token or of an operator's credentials, by reason",
            refused.clone(),
        );
        Self(refused)
    }

    pub(super) fn count(&self, denied: Denied) {
        let reason = match denied {
            Denied::Missing => "missing",
            Denied::Wrong | Denied::NoOperator => "wrong",
            Denied::NotYours | Denied::OperatorsOnly => "forbidden",
            Denied::NoOperators => "not_configured",
            Denied::TooMany(_) => "too_many",
        };
        self.0.get_or_create(&ReasonLabel { reason }).inc();
    }
}
