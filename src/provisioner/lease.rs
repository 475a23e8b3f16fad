//! Leader lease of the provisioner, where several processes share a database.
//!
//! The lease names the location of its holder: the machine and folder where its instances run.
//! Processes at one location can take over from each other. Child processes of one machine cannot be
//! reached from another, so a process at a second location is refused at its start ([`Lease::claim`]).

use crate::store::{
    Store, StoreError,
    leases::{self, Holder, LeaseOutcome},
};
use std::time::Duration;
use tokio::time::Instant;

const NAME: &str = "prometheus";

/// The lease expires when its holder does not renew it within this time.
const TERM: Duration = Duration::from_secs(15);

/// Interval at which the holder renews the lease.
const RENEWAL: Duration = Duration::from_secs(5);

/// Interval at which [`Lease::claim`] tries to acquire the lease.
const CLAIM_INTERVAL: Duration = Duration::from_millis(500);

/// The leader lease, held by this process or not. An SQLite database has one process, which needs no
/// lease.
#[derive(Clone, Debug)]
pub struct Lease {
    store: Store,
    holder: Holder,
    acquired_at: Option<Instant>,
    /// The location of the current holder, if it differs from the location of this process.
    other_location: Option<String>,
}

/// Why this process cannot provision instances.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process runs instances at another location.
    #[error(
        "prometheus.provisioner: another Scrapebroker provisions with this database ({other}), and \
         Prometheus servers that run there cannot be reached from here ({own}). Stop the other one, \
         or set prometheus.provisioner to tsuru or none on all that share the database"
    )]
    Elsewhere {
        /// Location of the other process.
        other: String,
        /// Location of this process.
        own: String,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lease {
    /// A lease that is not acquired yet. `location` says where the instances of this process run.
    pub fn new(store: Store, location: impl Into<String>) -> Self {
        let holder = Holder { id: uuid::Uuid::new_v4().to_string(), home: Some(location.into()) };
        Self { store, holder, acquired_at: None, other_location: None }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    fn is_needed(&self) -> bool {
        self.store.file().is_none()
    }

    /// Succeeds when no running process provisions at another location.
    ///
    /// A killed process keeps the lease until it expires, so this waits for the end of its term.
    ///
    /// # Errors
    /// [`ClaimError::Elsewhere`] when a holder at another location renews the lease.
    pub async fn claim(&mut self) -> Result<(), ClaimError> {
        if !self.is_needed() {
            return Ok(());
        }
        let (started, mut first) = (Instant::now(), None);
        loop {
            let (holder, expires_at) = match self.acquire().await? {
                LeaseOutcome::Acquired => return Ok(()),
                LeaseOutcome::HeldByOther { holder, expires_at } => (holder, expires_at),
            };
            // Older versions do not store a location.
            let Some(other) = self.other_location.clone() else { return Ok(()) };
            let seen = (holder.id, expires_at);
            match &first {
                None => {
                    tracing::info!(other, "waiting until the lease of another provisioner expires");
                    first = Some(seen);
                }
                Some(first) if *first == seen && started.elapsed() < 2 * TERM => {}
                Some(_) => {
                    let own = self.holder.home.clone().unwrap_or_default();
                    return Err(ClaimError::Elsewhere { other, own });
                }
            }
            tokio::time::sleep(CLAIM_INTERVAL).await;
        }
    }

    /// Renews the lease when that is due. Returns whether this process holds it.
    pub(super) async fn renew(&mut self) -> Result<bool, StoreError> {
        if !self.is_needed() || self.acquired_at.is_some_and(|it| it.elapsed() < RENEWAL) {
            return Ok(true);
        }
        Ok(self.acquire().await? == LeaseOutcome::Acquired)
    }

    async fn acquire(&mut self) -> Result<LeaseOutcome, StoreError> {
        let requested_at = Instant::now();
        let mut tx = self.store.begin_write().await?;
        let taken = leases::acquire(&mut tx, NAME, &self.holder, TERM).await?;
        tx.commit().await?;
        self.acquired_at = (taken == LeaseOutcome::Acquired).then_some(requested_at);
        self.other_location = match &taken {
            LeaseOutcome::HeldByOther { holder, .. } if holder.home != self.holder.home => {
                holder.home.clone()
            }
            _ => None,
        };
        Ok(taken)
    }

    /// The location of the current holder, if it differs from the location of this process.
    pub(super) fn other_location(&self) -> Option<&str> {
        self.other_location.as_deref()
    }

    /// Whether another process may have acquired the lease since it was renewed last.
    pub(super) fn has_expired(&self) -> bool {
        self.is_needed() && self.acquired_at.is_some_and(|it| it.elapsed() >= TERM)
    }

    /// Releases the lease, so that another process can acquire it at once.
    pub(super) async fn release(&self) -> Result<(), StoreError> {
        if !self.is_needed() || self.acquired_at.is_none() {
            return Ok(());
        }
        let mut tx = self.store.begin_write().await?;
        leases::release(&mut tx, NAME, &self.holder).await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests;
