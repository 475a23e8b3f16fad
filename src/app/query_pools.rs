//! The query pools, as the configuration names them.

use super::{StartError, certificates};
use crate::{
    config::Config,
    query::{
        CookieKey, EndpointsFile, KubernetesLocator, KubernetesSettings, Locator, LocatorSettings,
        MarathonLocator, MarathonSettings, Pool, PoolMetrics, PoolMonitor, PoolSettings,
        PoolsCollector, PrometheusClient, ServerStates, StaticUrls,
    },
    tls::{ClientTls, Reloader},
};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// All pools, and their metrics.
#[derive(Clone, Debug)]
pub(super) struct QueryPools {
    pub(super) pools: Vec<Pool>,
    pub(super) metrics: PoolMetrics,
}

impl QueryPools {
    /// Creates the pools. Also returns what reloads their certificates.
    pub(super) fn open(
        config: &Config,
        registry: &mut Registry,
        states: &ServerStates,
    ) -> Result<(Self, Vec<Reloader>), StartError> {
        let metrics = PoolMetrics::register(registry);
        let key = CookieKey::random().map_err(|_| {
            StartError::Unavailable(anyhow::anyhow!("the system has no random numbers"))
        })?;
        let (key, mut pools, mut reloaders) = (Arc::new(key), Vec::new(), Vec::new());
        for settings in &config.query.pools {
            let (tls, reloader) =
                ClientTls::open(settings.tls.clone()).map_err(certificates::failure)?;
            let (url, key) =
                (format!("{}/pools/{}", config.base_url, settings.name), Arc::clone(&key));
            pools.push(Pool::new(settings.clone(), url, Some(tls), key, metrics.clone()));
            reloaders.push(reloader);
        }
        let collector = PoolsCollector { pools: pools.clone(), states: states.clone() };
        registry.register_collector(Box::new(collector));
        Ok((Self { pools, metrics }, reloaders))
    }

    /// Starts the monitors. They run on this thread, which serves no requests.
    pub(super) fn start(
        &self,
        client: &PrometheusClient,
        loops: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<(), StartError> {
        for pool in &self.pools {
            let monitor = PoolMonitor::new(pool.clone(), client.clone());
            loops.spawn_local(monitor.run(locators(pool.settings())?, shutdown.clone()));
        }
        Ok(())
    }
}

fn locators(settings: &PoolSettings) -> Result<Vec<Box<dyn Locator>>, StartError> {
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
        })
    };
    settings.locators.iter().map(locator).collect()
}
