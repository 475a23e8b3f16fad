//! Who conducts, where several processes share a database.

use crate::store::{Store, StoreError, leases};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// What the lease is called.
const NAME: &str = "prometheus";

/// A conductor that is not heard of for this long has gone.
const TERM: Duration = Duration::from_secs(15);

/// Well before it runs out, it is taken again.
const RENEWAL: Duration = Duration::from_secs(5);

/// A lease of our own. SQLite has one process, which needs none.
#[derive(Debug)]
pub(super) struct Lease {
    store: Store,
    holder: String,
    taken: Option<Instant>,
}

impl Lease {
    pub(super) fn new(store: Store) -> Self {
        Self { store, holder: uuid::Uuid::new_v4().to_string(), taken: None }
    }

    fn is_needed(&self) -> bool {
        self.store.file().is_none()
    }

    /// Whether we conduct; asks the database when it is time to.
    pub(super) async fn hold(&mut self) -> Result<bool, StoreError> {
        if !self.is_needed() || self.taken.is_some_and(|taken| taken.elapsed() < RENEWAL) {
            return Ok(true);
        }
        let asked = Instant::now();
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let mut tx = self.store.begin_write().await?;
        let now = since_1970.unwrap_or_default();
        let is_held = leases::take(&mut tx, NAME, &self.holder, now, TERM).await?;
        tx.commit().await?;
        self.taken = is_held.then_some(asked);
        Ok(is_held)
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
        leases::give_back(&mut tx, NAME, &self.holder).await?;
        tx.commit().await
    }
}
