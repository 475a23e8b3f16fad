//! First come, first served, for each service instance.

use super::STORE_TIMEOUT;
use crate::{domain::InstanceId, store::StoreError};
use std::hash::{BuildHasher, RandomState};
use tokio::sync::{Mutex, MutexGuard};

/// Instances share queues; with this many, two busy ones seldom do.
const QUEUES: usize = 64;

/// Queues in which requests wait for their instance, in order of arrival.
///
/// The database's own lock keeps two decisions apart, too, but it knows no order
/// and costs a connection for each one who waits.
#[derive(Debug)]
pub(super) struct InstanceLocks {
    queues: [Mutex<()>; QUEUES],
    hash: RandomState,
}

impl Default for InstanceLocks {
    fn default() -> Self {
        Self { queues: [const { Mutex::const_new(()) }; QUEUES], hash: RandomState::new() }
    }
}

impl InstanceLocks {
    /// Waits until everyone who came before for `instance` is done.
    ///
    /// That takes milliseconds unless they wait for the database, too.
    pub(super) async fn lock(
        &self,
        instance: &InstanceId,
    ) -> Result<MutexGuard<'_, ()>, StoreError> {
        let index = self.hash.hash_one(instance) as usize % QUEUES;
        let turn = tokio::time::timeout(STORE_TIMEOUT, self.queues[index].lock()).await;
        turn.map_err(|_| StoreError::Unavailable {
            reason: "the requests before this one still wait for it".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_taken_in_order_and_not_waited_for_for_ever() {
        let locks = InstanceLocks::default();
        let instance: InstanceId = "i".parse().unwrap();
        let first = locks.lock(&instance).await.unwrap();
        let waited = locks.lock(&instance).await;
        assert!(matches!(waited, Err(StoreError::Unavailable { .. })), "{waited:?}");
        drop(first);
        drop(locks.lock(&instance).await.unwrap());
    }
}
