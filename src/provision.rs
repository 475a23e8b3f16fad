//! Carries out what the broker ordered: makes, changes and removes Prometheus
//! instances, and watches those that are there.
//!
//! ```text
//! broker ─► operations (rows) ─► Conductor ─► Provisioner: process | tsuru | none
//!                                   │              │
//!              how it ended ◄───────┘              └─► replicas (rows): how they do
//! ```
//!
//! # What must always hold
//!
//! * An operation is a row before anything is done, and is in progress until it
//!   is noted how it ended. So who was killed finds it again.
//! * A provisioner can be asked again for what it has done, or half done.
//! * One operation at a time on an instance. A newer one ends the one before it.
//! * What a failed provision has made is removed before it is noted as failed;
//!   what a failed update has changed goes back to what it was.
//! * One process conducts, where several share a database.

mod admission;
mod conductor;
pub mod config_file;
mod errand;
mod lease;
mod none;
mod office;
pub mod process;
mod redaction;
pub mod tsuru;
mod wanted;

pub use admission::{ALERTMANAGER_LOOKUPS, AdmissionSettings, CommonAdmission};
pub use conductor::Conductor;
pub use lease::{ClaimError, Lease};
pub use none::NotProvisioned;
pub use office::Settings;
pub use wanted::{OwnAddress, RemoteWrite, RemoteWrites, Wanted, WantedError};

use crate::domain::{InstanceId, prometheus::Replica};
use futures_util::future::LocalBoxFuture;
use std::{collections::HashMap, fmt::Debug};

/// Makes Prometheus servers somewhere. What it cannot make is best refused before it
/// is ordered ([`Admission`](crate::domain::prometheus::Admission)).
///
/// Every future may be dropped half-way, by an operation that takes its place or
/// with the whole process; the next call has to find what that left.
pub trait Provisioner: Debug {
    /// Makes what is there like `wanted`, whatever there is. Resolves with all
    /// replicas when each of them is ready.
    fn apply<'a>(&'a self, wanted: &'a Wanted)
    -> LocalBoxFuture<'a, Result<Vec<Replica>, Failure>>;

    /// Removes everything of an instance. Resolves when nothing is left, also if
    /// nothing was there.
    fn remove<'a>(&'a self, id: &'a InstanceId) -> LocalBoxFuture<'a, Result<(), Failure>>;

    /// How the replicas do now, of all instances that were applied since the
    /// start. Called every second, so it does not wait for anyone.
    fn observe(&self) -> HashMap<InstanceId, Vec<Replica>>;

    /// Ends what must not go on without us; what is stored stays.
    fn stop(&self) -> LocalBoxFuture<'_, ()>;
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// Reads as a sentence for the user; holds no secret.
    pub reason: String,
    /// Whether the same may work a little later.
    pub retry: bool,
}

impl Failure {
    /// It may work a little later.
    pub fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry: true }
    }

    /// It will not work by itself.
    pub fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry: false }
    }
}
