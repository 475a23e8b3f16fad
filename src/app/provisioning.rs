//! Connects the broker, which stores operations, with the reconciler, which runs them. The two
//! modules do not import each other.

use super::{StartError, store_failure};
use crate::{
    config::{self, Config, Prometheus},
    domain::{BaseUrl, Catalog, InstanceId, prometheus::ProvisionPolicy},
    http::prometheus::MeasureStoredSizes,
    net::Resolver,
    provisioner::{
        ClaimError, CommonPolicy, DisabledProvisioner, Lease, OwnAddress, Provisioner, Reconciler,
        ReconcilerSettings,
        process::{ProcessMetrics, ProcessPolicy, ProcessProvisioner, StoredSizes, Timeouts},
        tsuru::{TsuruPolicy, TsuruProvisioner},
    },
    secrets::Keys,
    store::{Store, StoreError, prometheus},
    tls::ClientConfig,
    tsuru::TsuruApi,
};
use futures_util::future::BoxFuture;
use std::{net::SocketAddr, rc::Rc, sync::Arc};
use tokio::sync::Notify;

/// The policy that validates instances.
pub(super) fn policy(config: &Config, resolver: Resolver) -> Arc<dyn ProvisionPolicy> {
    let Prometheus { provisioner, process, tsuru, policy, remote_writes, .. } =
        config.prometheus.clone();
    let own: Box<dyn ProvisionPolicy> = match (provisioner, tsuru) {
        (config::Provisioner::Process, _) => Box::new(ProcessPolicy::new(process)),
        (config::Provisioner::Tsuru, Some(tsuru)) => Box::new(TsuruPolicy::new(&tsuru)),
        (config::Provisioner::Tsuru, None) | (config::Provisioner::None, _) => {
            Box::new(DisabledProvisioner)
        }
    };
    let remote_writes = remote_writes.into_keys().collect();
    Arc::new(CommonPolicy::new(own, policy, remote_writes, resolver))
}

/// The configured provisioner. It must be used on the thread of the reconciler.
pub(super) fn provisioner(
    config: &Config,
    metrics: ProcessMetrics,
    api: Option<&TsuruApi>,
    servers_tls: Arc<ClientConfig>,
) -> Rc<dyn Provisioner> {
    let Prometheus { provisioner, process, tsuru, .. } = config.prometheus.clone();
    match (provisioner, tsuru.zip(api)) {
        (config::Provisioner::Process, _) => {
            Rc::new(ProcessProvisioner::new(process, Timeouts::default(), metrics))
        }
        (config::Provisioner::Tsuru, Some((settings, api))) => {
            Rc::new(TsuruProvisioner::new(settings, api, servers_tls))
        }
        (config::Provisioner::Tsuru, None) | (config::Provisioner::None, _) => {
            Rc::new(DisabledProvisioner)
        }
    }
}

/// Measures the stored samples of instances, if their folders are on this machine.
pub(super) fn stored_sizes(config: &Config) -> Option<Arc<dyn MeasureStoredSizes>> {
    match config.prometheus.provisioner {
        config::Provisioner::Process => {
            Some(Arc::new(StoredSizes::new(config.prometheus.process.clone())))
        }
        config::Provisioner::Tsuru | config::Provisioner::None => None,
    }
}

impl MeasureStoredSizes for StoredSizes {
    fn measure<'a>(&'a self, instances: &'a [InstanceId]) -> BoxFuture<'a, Vec<Option<u64>>> {
        Box::pin(self.of(instances))
    }
}

/// The leader lease of the provisioner.
///
/// Child processes are reachable only on the machine that runs them. So where instances are offered
/// or exist, this waits until the lease of another machine expires, and fails if it is renewed.
/// Also returns whether a later catalog may offer instances.
pub(super) async fn claim(
    config: &Config,
    store: &Store,
    catalog: &Catalog,
) -> Result<(Lease, bool), StartError> {
    let location = match config.prometheus.provisioner {
        config::Provisioner::Process => config.prometheus.process.location(),
        config::Provisioner::Tsuru => "tsuru".to_owned(),
        config::Provisioner::None => "none".to_owned(),
    };
    let mut lease = Lease::new(store.clone(), location);
    // A container platform starts the next unit before it stops the previous one, so a refusal
    // would fail every deploy. The reconciler logs an error instead.
    if config.prometheus.provisioner != config::Provisioner::Process || config.platform.is_some() {
        return Ok((lease, true));
    }
    if !catalog.offers_prometheus() && !has_instances(store).await.map_err(store_failure)? {
        // SQLite has one process.
        return Ok((lease, store.file().is_some()));
    }
    lease.claim().await.map_err(|error| match error {
        ClaimError::Store(error) => store_failure(error),
        error => StartError::Unavailable(error.into()),
    })?;
    Ok((lease, true))
}

async fn has_instances(store: &Store) -> Result<bool, StoreError> {
    let ids: Vec<_> = prometheus::ids(&mut store.begin_read().await?).await?;
    Ok(!ids.is_empty())
}

/// The reconciler of a process that this machine reaches at `address`.
pub(super) fn reconciler(
    config: &Config,
    address: SocketAddr,
    lease: Lease,
    keys: Arc<Keys>,
    operations_changed: Arc<Notify>,
    provisioner: Rc<dyn Provisioner>,
) -> Reconciler {
    let settings = ReconcilerSettings {
        remote_writes: config.prometheus.remote_writes.clone(),
        own: own_address(config, address),
        operation_timeout: config.prometheus.operation_timeout,
    };
    Reconciler::new(lease, keys, provisioner, settings, operations_changed)
}

/// Child processes connect to the listener directly, unless that requires the certificate of the
/// public name.
pub(super) fn own_address(config: &Config, address: SocketAddr) -> OwnAddress {
    let is_child = config.prometheus.provisioner == config::Provisioner::Process;
    let scrape_url = match is_child && !config.has_tls() {
        true => BaseUrl::of_address(address),
        false => config.base_url.clone(),
    };
    OwnAddress { base_url: config.base_url.clone(), scrape_url }
}
