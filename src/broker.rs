//! What provision and bind mean, whichever platform asks.
//!
//! What takes no longer than a transaction is done at once. A Prometheus takes
//! longer: its operation is written down here and carried out elsewhere, and
//! the answer is "in progress".
//!
//! # What must always hold
//!
//! * Every case (made now, was there, differs, gone) is decided by stored state,
//!   inside the one transaction that changes it.
//! * Requests about one instance are served one after the other, in the order
//!   in which they came: a platform that gave up on a PUT sends a DELETE, and
//!   that must find what the PUT did. Across replicas the database's lock
//!   keeps decisions apart.
//! * Whoever got an answer sees its effect: bindings are published to scrapes
//!   ([`BindingTable`]) before the answer is given.
//! * A token is never stored, and parameters are stored sealed.

mod adoption;
mod backup;
mod binding_table;
mod bindings;
mod error;
mod import;
mod instance_locks;
mod instances;
mod list;
mod operation;
mod prometheus;
mod prometheus_snapshot;
mod refused_updates;
mod token_key;
mod update;

#[cfg(test)]
mod tests;

use crate::{
    domain::{Catalog, InstanceId, Plan, PlanId, Service, ServiceId},
    secrets::Keys,
    store::{Store, StoreError, Tx, state},
};
pub use adoption::OrgSpace;
use arc_swap::{ArcSwap, ArcSwapOption};
pub use backup::{Backup, BackupError, backup};
pub use binding_table::{ActiveBinding, ActiveBindings, BindingTable, BindingsVersion, Scope};
pub use bindings::{Bind, Bound, Credentials, FetchedBinding, Rotate};
pub use error::BrokerError;
pub use import::{Import, SkippedRow};
use instance_locks::InstanceLocks;
pub use instances::{Deprovisioned, FetchedInstance, Provision, Provisioned};
pub use operation::LastOperation;
pub use prometheus::{AcceptedOperation, Provisioning};
pub use prometheus_snapshot::{PrometheusSnapshot, Targets};
pub use refused_updates::RefusedUpdate;
use secrecy::SecretString;
use std::{
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};
pub use token_key::TokenKeyError;
use tokio_util::sync::CancellationToken;
pub use update::{OmittedParameters, Update, Updated};

pub use crate::secrets::{TOKEN_PREFIX, token_hash};

/// How long one request may take before it is told that the database is away.
/// Cloud Controller waits 60 s.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// The broker; clones share everything.
#[derive(Clone, Debug)]
pub struct Broker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    keys: Arc<Keys>,
    /// Who makes a Prometheus, once that is known; without it none is offered.
    provisioning: OnceLock<Provisioning>,
    catalog: ArcSwap<Catalog>,
    binding_table: BindingTable,
    instance_locks: InstanceLocks,
    /// Whether instances that were never seen are taken for ours.
    adopts: AtomicBool,
    /// Why the last look at the store failed; none while it is in reach.
    away: ArcSwapOption<String>,
}

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The key that seals secrets is missing or unusable.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// The database is away, or was used with another key.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Broker {
    /// Makes the store ours and loads the bindings.
    ///
    /// Without a `token_key` one is kept in a file beside an SQLite database.
    ///
    /// # Errors
    /// [`OpenError::TokenKey`] for a bad or missing key, [`OpenError::Store`] when
    /// the database is away or its secrets were sealed with another key.
    pub async fn open(
        store: Store,
        token_key: Option<&SecretString>,
        catalog: Catalog,
    ) -> Result<Self, OpenError> {
        let known = state::read(&mut store.begin_read().await?).await?.key_fingerprint;
        let keys = match (token_key, store.file()) {
            (Some(token_key), _) => Keys::derive(token_key).map_err(TokenKeyError::from)?,
            (None, Some(file)) => Keys::derive(&token_key::load(file, known.is_empty())?)
                .map_err(TokenKeyError::from)?,
            (None, None) => return Err(TokenKeyError::Missing.into()),
        };
        let mut tx = store.begin_write().await?;
        claim(&mut tx, &keys).await?;
        tx.commit().await?;
        let broker = Self(Arc::new(Shared {
            store,
            keys: Arc::new(keys),
            provisioning: OnceLock::new(),
            catalog: ArcSwap::from_pointee(catalog.without_prometheus()),
            binding_table: BindingTable::default(),
            instance_locks: InstanceLocks::default(),
            adopts: AtomicBool::new(false),
            away: ArcSwapOption::empty(),
        }));
        broker.refresh().await?;
        Ok(broker)
    }

    /// Offers the plans of `catalog` whose instances are a Prometheus, from now
    /// on for good.
    pub fn provision_with(&self, provisioning: Provisioning, catalog: Catalog) {
        // Whoever came first is in charge.
        let _ = self.0.provisioning.set(provisioning);
        self.replace_catalog(catalog);
    }

    /// The keys, for who carries out what is operations_changed.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.keys)
    }

    /// The catalog in force.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.0.catalog.load_full()
    }

    /// Puts another catalog in force; requests under way keep the one they began with.
    pub fn replace_catalog(&self, catalog: Catalog) {
        let catalog = match self.0.provisioning.get() {
            Some(_) => catalog,
            None => catalog.without_prometheus(),
        };
        self.0.catalog.store(Arc::new(catalog));
    }

    /// The bindings in force, for scrapes.
    pub fn binding_table(&self) -> BindingTable {
        self.0.binding_table.clone()
    }

    /// Keeps [`binding_table`](Self::binding_table) up to date with what other replicas
    /// do, until `shutdown`. While the database is away, the last bindings stay.
    pub async fn keep_current(self, every: Duration, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let refreshed = shutdown.run_until_cancelled(within_timeout(self.refresh())).await;
            let Some(refreshed) = refreshed else { return };
            let away = refreshed.as_ref().err().map(|error| Arc::new(error.to_string()));
            let was_away = self.0.away.swap(away).is_some();
            match refreshed {
                Err(error) if !was_away => {
                    tracing::warn!(%error, "keeping the last known bindings");
                }
                Ok(()) if was_away => tracing::info!("bindings are up to date again"),
                _ => {}
            }
        }
    }

    /// Why the store is out of reach, if [`keep_current`](Self::keep_current)
    /// found it so.
    pub fn database_problem(&self) -> Option<String> {
        self.0.away.load().as_deref().cloned()
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        self.0.binding_table.refresh(&self.0.store, &self.0.keys).await
    }

    /// Runs `work` in a transaction in which nobody else decides about `instance`,
    /// commits it, and publishes what it changed.
    async fn write_transaction<T>(
        &self,
        instance: &InstanceId,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        self.write_transaction_with(instance, UsesQuotas::No, work).await
    }

    /// As [`write_transaction`](Self::write_transaction); with [`UsesQuotas::Yes`] no other transaction uses up
    /// quotas meanwhile.
    async fn write_transaction_with<T>(
        &self,
        instance: &InstanceId,
        quotas: UsesQuotas,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        let _turn = self.0.instance_locks.lock(instance).await?;
        let done = within_timeout(async {
            let mut tx = self.0.store.begin_write().await?;
            tx.lock(instance.as_str()).await?;
            if quotas == UsesQuotas::Yes {
                tx.lock_quotas().await?;
            }
            claim(&mut tx, &self.0.keys).await?;
            let done = work(&mut tx).await?;
            tx.commit().await?;
            Ok::<_, BrokerError>(done)
        })
        .await?;
        // It is committed: if the publishing fails now, the next round of `keep_current` does it.
        if let Err(error) = within_timeout(self.refresh()).await {
            tracing::warn!(%error, "a change is stored, but not yet in force");
        }
        Ok(done)
    }

    /// Runs `work` in a transaction that changes nothing.
    async fn read_transaction<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        within_timeout(async { work(&mut self.0.store.begin_read().await?).await }).await
    }
}

/// Whether a change may use up quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UsesQuotas {
    Yes,
    No,
}

impl UsesQuotas {
    fn if_some<T>(wanted: Option<&T>) -> Self {
        if wanted.is_some() { Self::Yes } else { Self::No }
    }
}

/// A database that does not answer at all is away, too.
async fn within_timeout<T, E: From<StoreError>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout(STORE_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => Err(E::from(StoreError::Unavailable {
            reason: format!("no answer within {} s", STORE_TIMEOUT.as_secs()),
        })),
    }
}

/// A database file may be replaced while we run, so every change asks whose secrets it holds.
async fn claim(tx: &mut Tx, keys: &Keys) -> Result<(), StoreError> {
    let store_id = uuid::Uuid::new_v4().to_string();
    state::claim(tx, keys.fingerprint(), &store_id).await
}

/// The service and plan that a request names.
fn find_plan<'a>(
    catalog: &'a Catalog,
    service: &ServiceId,
    plan: &PlanId,
) -> Result<(&'a Service, &'a Plan), BrokerError> {
    let service = catalog.service(service).ok_or(BrokerError::UnknownService)?;
    let plan = service.plan(plan).ok_or(BrokerError::UnknownPlan)?;
    Ok((service, plan))
}

/// A requested `maintenance_info.version` must be the plan's own (OSB "Maintenance Info Object").
fn check_maintenance(plan: &Plan, requested: Option<&str>) -> Result<(), BrokerError> {
    match requested {
        Some(version) if plan.maintenance_version.as_deref() != Some(version) => {
            Err(BrokerError::MaintenanceInfoConflict)
        }
        _ => Ok(()),
    }
}
