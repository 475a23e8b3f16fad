//! Limits the queries of a pool that run at once. A few more wait for a short time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long a query may wait.
const MAX_WAIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    /// As many queries may wait as may run.
    max_waiting: usize,
    waiting: AtomicUsize,
}

/// Permission to run a query, released when dropped.
#[derive(Debug)]
pub(in crate::query) struct Slot(
    #[expect(dead_code, reason = "dropping it is its use")] OwnedSemaphorePermit,
);

impl Slots {
    pub(super) fn new(max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max_waiting: max, waiting: AtomicUsize::new(0) }
    }

    /// `None` if too many queries wait, or this one has waited for too long.
    pub(super) async fn acquire(&self) -> Option<Slot> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(Slot(permit));
        }
        let _waiting = Waiting::enter(&self.waiting, self.max_waiting)?;
        let permit = timeout(MAX_WAIT, Arc::clone(&self.free).acquire_owned()).await;
        permit.ok()?.ok().map(Slot)
    }
}

/// A query in the queue. It leaves the queue when it is dropped, also if its client disconnects.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let guard = (waiting.fetch_add(1, Ordering::Relaxed) < max).then_some(());
        let entered = Self(waiting);
        guard.map(|()| entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn queries_wait_in_a_bounded_queue() {
        let slots = Arc::new(Slots::new(2));
        let (first, second) = (slots.acquire().await.unwrap(), slots.acquire().await.unwrap());
        let wait = || {
            let slots = Arc::clone(&slots);
            tokio::spawn(async move { slots.acquire().await.is_some() })
        };
        let (third, fourth) = (wait(), wait());
        tokio::task::yield_now().await;
        assert!(slots.acquire().await.is_none(), "the queue is full");
        drop(first);
        assert!(third.await.unwrap());
        assert!(fourth.await.unwrap(), "the third has ended");
        drop(second);

        let slots = Slots::new(1);
        let _only = slots.acquire().await.unwrap();
        let began = tokio::time::Instant::now();
        assert!(slots.acquire().await.is_none());
        assert_eq!(began.elapsed(), MAX_WAIT);
        // A query that is dropped while it waits leaves the queue.
        assert!(timeout(Duration::from_secs(1), slots.acquire()).await.is_err());
        assert_eq!(slots.waiting.load(Ordering::Relaxed), 0);
    }
}
