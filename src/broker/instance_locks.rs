//! FIFO lock per service instance.

use super::STORE_TIMEOUT;
use crate::{domain::InstanceId, store::StoreError};
use std::hash::{BuildHasher, RandomState};
use tokio::sync::{Mutex, MutexGuard};

/// Number of locks. Several instances share a lock, but two busy instances rarely share the same
/// one.
const LOCKS: usize = 64;

/// Requests for an instance wait here in order of arrival.
///
/// The lock of the database serializes requests as well, but in no defined order, and each waiting
/// request occupies a connection.
#[derive(Debug)]
pub(super) struct InstanceLocks {
    locks: [Mutex<()>; LOCKS],
    hash: RandomState,
}

impl Default for InstanceLocks {
    fn default() -> Self {
        Self { locks: [const { Mutex::const_new(()) }; LOCKS], hash: RandomState::new() }
    }
}

impl InstanceLocks {
    /// Waits until all earlier requests for `instance` are finished.
    ///
    /// This takes milliseconds unless the database is slow.
    pub(super) async fn lock(
        &self,
        instance: &InstanceId,
    ) -> Result<MutexGuard<'_, ()>, StoreError> {
        let index = self.hash.hash_one(instance) as usize % LOCKS;
        let guard = tokio::time::timeout(STORE_TIMEOUT, self.locks[index].lock()).await;
        guard.map_err(|_| StoreError::Unavailable {
            reason: "earlier requests for this instance are still waiting for it".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_acquired_within_the_timeout_or_reported_as_unavailable() {
        let locks = InstanceLocks::default();
        let instance: InstanceId = "i".parse().unwrap();
        let first = locks.lock(&instance).await.unwrap();
        let waited = locks.lock(&instance).await;
        assert!(matches!(waited, Err(StoreError::Unavailable { .. })), "{waited:?}");
        drop(first);
        drop(locks.lock(&instance).await.unwrap());
    }
}
