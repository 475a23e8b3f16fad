//! First come, first served, for each service instance.

use super::{BrokerError, PATIENCE};
use crate::domain::InstanceId;
use std::hash::{BuildHasher, RandomState};
use tokio::sync::{Mutex, MutexGuard};

/// Instances share queues; with this many, two busy ones seldom do.
const QUEUES: usize = 64;

/// Queues in which requests wait for their instance, in order of arrival.
///
/// The database's own lock keeps two decisions apart, too, but it knows no order
/// and costs a connection for each one who waits.
#[derive(Debug)]
pub(super) struct Turns {
    queues: [Mutex<()>; QUEUES],
    hash: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self { queues: [const { Mutex::const_new(()) }; QUEUES], hash: RandomState::new() }
    }
}

impl Turns {
    /// Waits until everyone who came before for `instance` is done.
    pub(super) async fn take(
        &self,
        instance: &InstanceId,
    ) -> Result<MutexGuard<'_, ()>, BrokerError> {
        let index = self.hash.hash_one(instance) as usize % QUEUES;
        let queue = self.queues.get(index).ok_or(BrokerError::Concurrency)?;
        let turn = tokio::time::timeout(PATIENCE, queue.lock()).await;
        turn.map_err(|_| BrokerError::Concurrency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_taken_in_order_and_not_waited_for_for_ever() {
        let turns = Turns::default();
        let instance: InstanceId = "i".parse().unwrap();
        let first = turns.take(&instance).await.unwrap();
        assert!(matches!(turns.take(&instance).await, Err(BrokerError::Concurrency)));
        drop(first);
        drop(turns.take(&instance).await.unwrap());
    }
}
