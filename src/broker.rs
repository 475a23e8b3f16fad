//! Service instances and bindings, independent of the platform that requests them.
//!
//! Requests that need only a transaction are completed at once. A Prometheus instance takes longer:
//! the broker stores an operation, the provisioner runs it, and the response is "in progress".
//!
//! # Invariants
//!
//! * Every outcome (created, already exists, conflict, gone) is decided from stored state, inside
//!   the transaction that changes it.
//! * Requests for one instance are served in order of arrival: a platform that gave up on a PUT
//!   sends a DELETE, which must find what the PUT did. A lock of the database serializes requests
//!   to different replicas.
//! * A change is visible before its response: the bindings are published to scrapes
//!   ([`BindingTable`]) first.
//! * Tokens are not stored, and parameters are stored encrypted.

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
pub use binding_table::{
    ActiveBinding, ActiveBindings, BindingTable, BindingsVersion, EventQueue, Scope,
};
pub use bindings::{Bind, Bound, Credentials, FetchedBinding, Rotate};
pub use error::BrokerError;
pub use import::{ImportReport, SkippedRow};
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

/// Timeout of database access within one request. Cloud Controller waits 60 s.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// The broker. Clones share their state.
#[derive(Clone, Debug)]
pub struct Broker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    keys: Arc<Keys>,
    /// Provisioner; unset, Prometheus plans are not offered.
    provisioning: OnceLock<Provisioning>,
    catalog: ArcSwap<Catalog>,
    binding_table: BindingTable,
    instance_locks: InstanceLocks,
    /// Whether unknown instances are adopted ([`Broker::adopt_unknown_instances`]).
    adopts_unknown: AtomicBool,
    /// The error of the last refresh; `None` while the store is available.
    store_error: ArcSwapOption<String>,
}

/// Error of [`Broker::open`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `broker.token_key` is missing or invalid.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// The database is unavailable, or was used with another key.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Broker {
    /// Claims the store for this token key and loads the bindings.
    ///
    /// Without a `token_key` a generated key is kept in a file next to an SQLite database.
    ///
    /// # Errors
    /// [`OpenError::TokenKey`] for an invalid or missing key, [`OpenError::Store`] when the
    /// database is unavailable or its secrets were encrypted with another key.
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
            adopts_unknown: AtomicBool::new(false),
            store_error: ArcSwapOption::empty(),
        }));
        broker.refresh().await?;
        Ok(broker)
    }

    /// Starts to offer the Prometheus plans of `catalog`.
    pub fn enable_provisioning(&self, provisioning: Provisioning, catalog: Catalog) {
        // Only the first call has an effect.
        let _ = self.0.provisioning.set(provisioning);
        self.replace_catalog(catalog);
    }

    /// The keys, for the reconciler.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.keys)
    }

    /// The current catalog.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.0.catalog.load_full()
    }

    /// Replaces the catalog. Requests in progress keep the previous one.
    pub fn replace_catalog(&self, catalog: Catalog) {
        let catalog = match self.0.provisioning.get() {
            Some(_) => catalog,
            None => catalog.without_prometheus(),
        };
        self.0.catalog.store(Arc::new(catalog));
    }

    /// The active bindings, for scrapes.
    pub fn binding_table(&self) -> BindingTable {
        self.0.binding_table.clone()
    }

    /// Refreshes [`binding_table`](Self::binding_table) with the changes of other replicas until
    /// `shutdown`. While the database is unavailable, the last known bindings stay active.
    pub async fn keep_current(self, every: Duration, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let refreshed = shutdown.run_until_cancelled(within_timeout(self.refresh())).await;
            let Some(refreshed) = refreshed else { return };
            let store_error = refreshed.as_ref().err().map(|error| Arc::new(error.to_string()));
            let was_unavailable = self.0.store_error.swap(store_error).is_some();
            match refreshed {
                Err(error) if !was_unavailable => {
                    tracing::warn!(%error, "bindings not refreshed; keeping the last known ones");
                }
                Ok(()) if was_unavailable => tracing::info!("bindings are up to date again"),
                _ => {}
            }
        }
    }

    /// The error of the last refresh by [`keep_current`](Self::keep_current), if it failed.
    pub fn database_problem(&self) -> Option<String> {
        self.0.store_error.load().as_deref().cloned()
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        self.0.binding_table.refresh(&self.0.store, &self.0.keys).await
    }

    /// Runs `work` in a transaction that holds the lock of `instance`, commits it, and publishes
    /// the changes.
    async fn write_transaction<T>(
        &self,
        instance: &InstanceId,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        self.write_transaction_with(instance, UsesQuotas::No, work).await
    }

    /// Like [`write_transaction`](Self::write_transaction). With [`UsesQuotas::Yes`] the
    /// transaction also holds the lock of the quotas.
    async fn write_transaction_with<T>(
        &self,
        instance: &InstanceId,
        quotas: UsesQuotas,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        let _lock = self.0.instance_locks.lock(instance).await?;
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
        // The change is committed. If publishing it fails now, the next pass of `keep_current` does
        // it.
        if let Err(error) = within_timeout(self.refresh()).await {
            tracing::warn!(%error, "change stored but not published yet");
        }
        Ok(done)
    }

    /// Runs `work` in a read transaction.
    async fn read_transaction<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, BrokerError>,
    ) -> Result<T, BrokerError> {
        within_timeout(async { work(&mut self.0.store.begin_read().await?).await }).await
    }
}

/// Whether a change may count against quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UsesQuotas {
    Yes,
    No,
}

impl UsesQuotas {
    fn if_some<T>(requested: Option<&T>) -> Self {
        if requested.is_some() { Self::Yes } else { Self::No }
    }
}

/// Fails with [`StoreError::Unavailable`] after [`STORE_TIMEOUT`].
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

/// The database file may be replaced at run time, so every change verifies its key fingerprint.
async fn claim(tx: &mut Tx, keys: &Keys) -> Result<(), StoreError> {
    let store_id = uuid::Uuid::new_v4().to_string();
    state::claim(tx, keys.fingerprint(), &store_id).await
}

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
