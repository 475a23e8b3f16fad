//! The pools of provisioned instances with several replicas, such as those of the plan `ha`. They come
//! and go with their instances, so their number is bounded by `prometheus.max_instances`.

use super::provisioned_locator::ProvisionedLocator;
use crate::{
    broker::BindingTable,
    domain::{BaseUrl, InstanceId, prometheus::segment},
    query::{
        Affinity, CookieKey, InstancePools, Locator, Pool, PoolMetrics, PoolMonitor, PoolSettings,
        PrometheusClient, Strategy, TryLimits, Writes,
    },
    tls::ClientSettings,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Keeps the pools of instances current.
pub(super) struct InstancePoolManager {
    pub(super) table: BindingTable,
    pub(super) pools: InstancePools,
    pub(super) base_url: BaseUrl,
    pub(super) cookie_key: Arc<CookieKey>,
    pub(super) metrics: PoolMetrics,
    pub(super) client: PrometheusClient,
    /// The monitors of all pools run in it.
    pub(super) loops: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

/// A dropped guard stops the monitor.
type Monitors = HashMap<InstanceId, DropGuard>;

impl InstancePoolManager {
    /// Runs until `shutdown`. The monitors run on the same thread.
    pub(super) async fn run(self) {
        let mut changes = self.table.changes();
        let mut monitors = Monitors::new();
        loop {
            self.update(&mut monitors);
            // The sender lives as long as `table`.
            if self.shutdown.run_until_cancelled(changes.changed()).await.is_none() {
                return;
            }
        }
    }

    /// Creates and removes pools, so that each instance with several replicas has one.
    fn update(&self, monitors: &mut Monitors) {
        let instances = self.table.all_prometheus();
        let with_several = instances.iter().filter(|(_, it)| it.spec.replicas > 1);
        let wanted: HashSet<&InstanceId> = with_several.map(|(id, _)| id).collect();
        let before = self.pools.all();
        if wanted.len() == before.len() && wanted.iter().all(|id| before.contains_key(*id)) {
            return;
        }
        monitors.retain(|id, _| wanted.contains(id));
        let mut pool = |id: &InstanceId| match before.get(id) {
            Some(pool) => pool.clone(),
            None => self.start(id, monitors),
        };
        let pools = wanted.into_iter().map(|id| (id.clone(), pool(id)));
        self.pools.replace(pools.collect());
    }

    fn start(&self, id: &InstanceId, monitors: &mut Monitors) -> Pool {
        let url = format!("{}/prometheus/{}", self.base_url, segment(id));
        let (key, metrics) = (Arc::clone(&self.cookie_key), self.metrics.clone());
        let pool = Pool::new(settings(id), url, None, key, metrics);
        let locator = ProvisionedLocator::of_instance(self.table.clone(), id.clone());
        let locators: Vec<Box<dyn Locator>> = vec![Box::new(locator)];
        let stop = self.shutdown.child_token();
        let monitor = PoolMonitor::new(pool.clone(), self.client.clone());
        self.loops.spawn_local(monitor.run(locators, stop.clone()));
        monitors.insert(id.clone(), stop.drop_guard());
        pool
    }
}

/// The settings of the pool of an instance. Its name cannot be that of a pool in the configuration.
fn settings(id: &InstanceId) -> PoolSettings {
    PoolSettings {
        name: format!("prometheus/{}", segment(id)),
        strategy: Strategy::SingleMostData,
        selection_interval: Duration::from_secs(10),
        affinity: Affinity::default(),
        fill_gaps: true,
        trusted_proxies: Vec::new(),
        timeout: Duration::from_secs(120),
        // A query may use all of its timeout.
        limits: TryLimits::default(),
        max_concurrent: 200,
        writes: Writes::Deny,
        tls: ClientSettings::default(),
        credentials: None,
        locators: Vec::new(),
    }
}
