//! Metrics of refused requests.

use super::Denied;
use crate::telemetry::metrics::CounterByLabel;
use prometheus_client::registry::Registry;

#[derive(Debug)]
pub struct AccessMetrics(CounterByLabel);

impl AccessMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        Self(CounterByLabel::register(
            registry,
            "scrapebroker_access_refused",
            "Requests refused for want of a token or of an operator's credentials, by reason",
            "reason",
            ["missing", "wrong", "forbidden", "not_configured", "too_many"],
        ))
    }

    pub(super) fn count(&self, denied: Denied) {
        self.0.count(match denied {
            Denied::Missing => "missing",
            Denied::Wrong | Denied::NoOperator => "wrong",
            Denied::NotYours | Denied::OperatorsOnly => "forbidden",
            Denied::NoOperators => "not_configured",
            Denied::TooMany(_) => "too_many",
        });
    }
}
