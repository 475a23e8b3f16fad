//! Metrics of the provisioner `process`.

use crate::{
    domain::prometheus::{Replica, ReplicaState},
    telemetry::metrics::{Label, register},
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug)]
pub struct ProcessMetrics {
    instances: Family<Label<&'static str>, Gauge>,
    restarts: Counter,
}

impl ProcessMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            instances: register(
                registry,
                "scrapebroker_prometheus_instances",
                "Prometheus servers that run as child processes, by state; each replica counts",
                Default::default(),
            ),
            restarts: register(
                registry,
                "scrapebroker_prometheus_restarts",
                "Restarts of Prometheus servers after they ended unexpectedly or failed to start",
                Default::default(),
            ),
        }
    }

    pub(super) fn observe<'a>(&self, replicas: impl IntoIterator<Item = &'a Replica>) {
        let replicas: Vec<_> = replicas.into_iter().collect();
        for state in ReplicaState::ALL {
            let count = replicas.iter().filter(|replica| replica.state == state).count();
            let gauge = self.instances.get_or_create(&[("state", state.as_str())]);
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
