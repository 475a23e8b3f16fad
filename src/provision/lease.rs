//! Leader lease of the provisioner, where several processes share a database.
//!
//! The lease names the home of its holder: where the instances are that it has made. Processes
//! with one home can take over from each other. Child processes of one machine cannot be reached
//! from another, so a second home is refused at the start ([`Lease::claim`]).

use crate::store::{
    Store, StoreError,
    leases::{self, Holder, LeaseOutcome},
};
use std::time::Duration;
use tokio::time::Instant;

/// What the lease is called.
const NAME: &str = "prometheus";

/// A conductor that is not heard of for this long has gone.
const TERM: Duration = Duration::from_secs(15);

/// Well before it runs out, it is taken again.
const RENEWAL: Duration = Duration::from_secs(5);

/// A claim looks so often whether the lease is free.
const CLAIM_INTERVAL: Duration = Duration::from_millis(500);

/// A lease of our own. SQLite has one process, which needs none.
#[derive(Clone, Debug)]
pub struct Lease {
    store: Store,
    holder: Holder,
    taken: Option<Instant>,
    /// The home of another holder, when it is another one than ours.
    other_home: Option<String>,
}

/// Why instances cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process runs instances elsewhere.
    #[error(
        "prometheus.provisioner: another Scrapebroker provisions with this database ({other}), and \
         Prometheus servers that run there cannot be reached from here ({own}). Stop the other one, \
         or set prometheus.provisioner to tsuru or none on all that share the database"
    )]
    Elsewhere {
        /// Home of the other one.
        other: String,
        /// Our home.
        own: String,
    },
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lease {
    /// Not taken yet. Instances that this process makes are at `home`.
    pub fn new(store: Store, home: impl Into<String>) -> Self {
        let holder = Holder { id: uuid::Uuid::new_v4().to_string(), home: Some(home.into()) };
        Self { store, holder, taken: None, other_home: None }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    fn is_needed(&self) -> bool {
        self.store.file().is_none()
    }

    /// Succeeds when no living process has another home.
    ///
    /// A process that was killed keeps the lease until its term ends, so this waits for that end.
    ///
    /// # Errors
    /// [`ClaimError::Elsewhere`] when the holder has another home and renews the lease.
    pub async fn claim(&mut self) -> Result<(), ClaimError> {
        if !self.is_needed() {
            return Ok(());
        }
        let (started, mut first) = (Instant::now(), None);
        loop {
            let (holder, expires_at) = match self.take().await? {
                LeaseOutcome::Acquired => return Ok(()),
                LeaseOutcome::HeldByOther { holder, expires_at } => (holder, expires_at),
            };
            // An older version does not say where it is.
            let Some(other) = self.other_home.clone() else { return Ok(()) };
            let seen = (holder.id, expires_at);
            match &first {
                None => {
                    tracing::info!(other, "waiting for the end of another provisioner's lease");
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

    /// Whether we conduct; asks the database when it is time to.
    pub(super) async fn hold(&mut self) -> Result<bool, StoreError> {
        if !self.is_needed() || self.taken.is_some_and(|taken| taken.elapsed() < RENEWAL) {
            return Ok(true);
        }
        Ok(self.take().await? == LeaseOutcome::Acquired)
    }

    async fn take(&mut self) -> Result<LeaseOutcome, StoreError> {
        let asked = Instant::now();
        let mut tx = self.store.begin_write().await?;
        let taken = leases::acquire(&mut tx, NAME, &self.holder, TERM).await?;
        tx.commit().await?;
        self.taken = (taken == LeaseOutcome::Acquired).then_some(asked);
        self.other_home = match &taken {
            LeaseOutcome::HeldByOther { holder, .. } if holder.home != self.holder.home => {
                holder.home.clone()
            }
            _ => None,
        };
        Ok(taken)
    }

    /// Where the holder runs its instances, if that is not where we would.
    pub(super) fn other_home(&self) -> Option<&str> {
        self.other_home.as_deref()
    }

    /// Whether what we took may be somebody else's by now.
    pub(super) fn has_run_out(&self) -> bool {
        self.is_needed() && self.taken.is_some_and(|taken| taken.elapsed() >= TERM)
    }

    /// Lets the next one begin at once.
    pub(super) async fn give_back(&self) -> Result<(), StoreError> {
        if !self.is_needed() || self.taken.is_none() {
            return Ok(());
        }
        let mut tx = self.store.begin_write().await?;
        leases::release(&mut tx, NAME, &self.holder).await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests;
