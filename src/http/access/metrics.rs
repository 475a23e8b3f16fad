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
            "Requests refused without a valid token or operator's credentials, by reason",
            "reason",
            ["missing", "wrong", "forbidden", "not_configured", "too_many"],
        ))
    }

    pub(super) fn count(&self, denied: Denied) {
        self.0.count(match denied {
            Denied::Missing => "missing",
            Denied::Wrong | Denied::OperatorRequired => "wrong",
            Denied::Forbidden | Denied::OperatorsOnly => "forbidden",
            Denied::NoOperators => "not_configured",
            Denied::Throttled(_) => "too_many",
        });
    }
}
