//! Provisioning of Prometheus instances: runs the operations that the broker stored, and watches
//! the running instances.
//!
//! ```text
//! broker ─► operations (rows) ─► Reconciler ─► Provisioner: process | tsuru | none
//!                                   │              │
//!              outcome (rows) ◄─────┘              └─► state of replicas (rows)
//! ```
//!
//! # Invariants
//!
//! * An operation is stored before anything is done, and stays in progress until its outcome is
//!   stored. After a crash the operation is resumed.
//! * Calls of a [`Provisioner`] are idempotent, also after a call that ended halfway.
//! * An instance has at most one running operation. A newer operation cancels the one before it.
//! * After a failed provision everything of the instance is removed before the failure is stored.
//!   After a failed update the previous spec is restored.
//! * Of several processes that share a database only the holder of the [`Lease`] runs operations.

pub mod config_file;
mod desired;
mod disabled;
mod lease;
mod operation_runner;
mod policy;
pub mod process;
mod reconciler;
mod redaction;
pub mod tsuru;

pub use desired::{DesiredInstance, DesiredInstanceError, OwnAddress, RemoteWrite, RemoteWrites};
pub use disabled::DisabledProvisioner;
pub use lease::{ClaimError, Lease};
pub use operation_runner::ReconcilerSettings;
pub use policy::{ALERTMANAGER_LOOKUPS, CommonPolicy, PolicySettings};
pub use reconciler::Reconciler;

use crate::domain::{InstanceId, prometheus::Replica};
use futures_util::future::LocalBoxFuture;
use std::{collections::HashMap, fmt::Debug};

/// Runs Prometheus servers. A [`ProvisionPolicy`](crate::domain::prometheus::ProvisionPolicy) refuses
/// unsupported instances before their operation is stored.
///
/// A future may be dropped halfway, when a newer operation cancels it or the process ends. The next
/// call must handle the state that it leaves.
pub trait Provisioner: Debug {
    /// Creates or changes the instance so that it matches `desired`. Returns all replicas once each
    /// of them is ready.
    fn apply<'a>(
        &'a self,
        desired: &'a DesiredInstance,
    ) -> LocalBoxFuture<'a, Result<Vec<Replica>, Failure>>;

    /// Removes the instance with all that it has stored. Succeeds if there is no such instance.
    fn remove<'a>(&'a self, id: &'a InstanceId) -> LocalBoxFuture<'a, Result<(), Failure>>;

    /// State of the replicas of all instances that were applied since the start. Called every second,
    /// so it must not block.
    fn observe(&self) -> HashMap<InstanceId, Vec<Replica>>;

    /// Stops everything that must not run without Scrapebroker. Stored samples are kept.
    fn stop(&self) -> LocalBoxFuture<'_, ()>;
}

/// Failure of a call of a [`Provisioner`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// A sentence for the user, without secrets.
    pub reason: String,
    /// Whether a retry may succeed.
    pub retry: bool,
}

impl Failure {
    pub fn transient(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry: true }
    }

    pub fn permanent(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry: false }
    }
}
