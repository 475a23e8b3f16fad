//! The query pools that the configuration names, and those of provisioned instances.

use super::{
    StartError, certificates, instance_pools::InstancePoolManager,
    provisioned_locator::ProvisionedLocator,
};
use crate::{
    broker::BindingTable,
    config::Config,
    domain::BaseUrl,
    query::{
        CookieKey, EndpointsFile, InstancePools, KubernetesLocator, KubernetesSettings, Locator,
        LocatorSettings, MarathonLocator, MarathonSettings, Pool, PoolMetrics, PoolMonitor,
        PoolSettings, PoolsCollector, PrometheusClient, StaticUrls,
    },
    tls::{CertificateFiles, ClientTls},
};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// All pools, and their metrics.
#[derive(Clone, Debug)]
pub(super) struct QueryPools {
    pub(super) pools: Vec<Pool>,
    pub(super) instance_pools: InstancePools,
    pub(super) metrics: PoolMetrics,
    cookie_key: Arc<CookieKey>,
}

impl QueryPools {
    /// Creates the pools. Also returns their certificates, and the sections that name them.
    pub(super) fn open(
        config: &Config,
        registry: &mut Registry,
    ) -> Result<(Self, Vec<(String, CertificateFiles)>), StartError> {
        let metrics = PoolMetrics::register(registry);
        let key = CookieKey::random().map_err(|_| {
            StartError::Unavailable(anyhow::anyhow!("the system has no random numbers"))
        })?;
        let (cookie_key, mut pools, mut files) = (Arc::new(key), Vec::new(), Vec::new());
        for (index, settings) in config.query.pools.iter().enumerate() {
            let (tls, of_pool) =
                ClientTls::open(settings.tls.clone()).map_err(certificates::failure)?;
            let url = format!("{}/pools/{}", config.base_url, settings.name);
            let key = Arc::clone(&cookie_key);
            pools.push(Pool::new(settings.clone(), url, Some(tls), key, metrics.clone()));
            files.push((format!("query.pools[{index}]"), of_pool));
        }
        let instance_pools = InstancePools::default();
        registry.register_collector(Box::new(PoolsCollector {
            pools: pools.clone(),
            instance_pools: instance_pools.clone(),
        }));
        Ok((Self { pools, instance_pools, metrics, cookie_key }, files))
    }

    /// Starts the monitors. They run on this thread, which serves no requests.
    pub(super) fn start(
        &self,
        client: &PrometheusClient,
        table: &BindingTable,
        base_url: &BaseUrl,
        loops: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<(), StartError> {
        for pool in &self.pools {
            let monitor = PoolMonitor::new(pool.clone(), client.clone());
            let locators = locators(pool.settings(), table)?;
            loops.spawn_local(monitor.run(locators, shutdown.clone()));
        }
        let manager = InstancePoolManager {
            table: table.clone(),
            pools: self.instance_pools.clone(),
            base_url: base_url.clone(),
            cookie_key: Arc::clone(&self.cookie_key),
            metrics: self.metrics.clone(),
            client: client.clone(),
            loops: loops.clone(),
            shutdown: shutdown.clone(),
        };
        loops.spawn_local(manager.run());
        Ok(())
    }
}

fn locators(
    settings: &PoolSettings,
    table: &BindingTable,
) -> Result<Vec<Box<dyn Locator>>, StartError> {
    let locator = |settings: &LocatorSettings| -> Result<Box<dyn Locator>, StartError> {
        Ok(match settings {
            LocatorSettings::Static(urls) => Box::new(StaticUrls(urls.clone())),
            LocatorSettings::EndpointsFile(path) => Box::new(EndpointsFile(path.clone())),
            LocatorSettings::Marathon(settings) => {
                let marathon = MarathonLocator::new(MarathonSettings::clone(settings));
                Box::new(marathon.map_err(certificates::failure)?)
            }
            LocatorSettings::Kubernetes(settings) => {
                Box::new(KubernetesLocator::new(KubernetesSettings::clone(settings)))
            }
            LocatorSettings::Provisioned(instances) => {
                Box::new(ProvisionedLocator::new(table.clone(), instances.clone()))
            }
        })
    };
    settings.locators.iter().map(locator).collect()
}
