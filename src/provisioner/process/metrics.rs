//! Metrics of the provisioner `process`.

use crate::domain::prometheus::{Replica, ReplicaState};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, Default)]
pub struct ProcessMetrics {
    instances: Family<StateLabel, Gauge>,
    restarts: Counter,
}

impl ProcessMetrics {
    /// Registers the metrics in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "scrapebroker_prometheus_instances",
            "Prometheus servers that run as child processes, by state; each replica counts",
            metrics.instances.clone(),
        );
        registry.register(
            "scrapebroker_prometheus_restarts",
            "Restarts of Prometheus servers after they ended unexpectedly or failed to start",
            metrics.restarts.clone(),
        );
        metrics
    }

    pub(super) fn observe<'a>(&self, replicas: impl IntoIterator<Item = &'a Replica>) {
        let replicas: Vec<_> = replicas.into_iter().collect();
        for state in ReplicaState::ALL {
            let count = replicas.iter().filter(|replica| replica.state == state).count();
            let gauge = self.instances.get_or_create(&StateLabel { state: state.as_str() });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn count_restart(&self) {
        self.restarts.inc();
    }

    #[cfg(test)]
    pub(super) fn restarts(&self) -> u64 {
        self.restarts.get()
    }
}
