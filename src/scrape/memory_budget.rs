//! Memory budget for the bodies of all requests.
//!
//! A request holds the bytes of its instances' bodies from the moment they are read until its
//! response is written. The total never exceeds the budget. Requests queue in order of arrival when
//! the budget is exhausted.
//!
//! The index of a body is counted after the body is parsed, because its size depends on the content.
//! So at most the indexes of the bodies that are being parsed are not counted, one per thread.
//!
//! The memory that a request needs is not known in advance, so two requests that each hold a part
//! and wait for the rest could deadlock. Therefore at most one request may block while holding
//! memory: the oldest of those that would block. Every other request aborts its attempt, releases
//! its memory, returns to its old place in the queue, and scrapes its instances again later. So the
//! blocking request only waits for requests that are still reading, and will finish or abort, and
//! for responses that a scraper is reading. The oldest of them is never aborted for another one.
//!
//! A request never waits while it holds an index that is not counted. If there is no memory for the
//! index, the attempt is aborted too, and starts again with a larger reservation, at the latest when
//! no other request holds memory. So every request makes progress.
//!
//! An aborted attempt costs a second scrape. This is rare, because a request reserves the size that
//! its instances' bodies had in the last scrape.

mod metrics;
mod state;
#[cfg(test)]
mod tests;

pub use metrics::MemoryBudgetMetrics;

use super::failure::ScrapeError;
use state::{AbortReason, BudgetState, RequestId};
use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::Notify, time::Instant};

/// Memory shared by all workers; clones share the same budget.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Mutex<BudgetState>>);

impl MemoryBudget {
    /// Creates a budget of `total` bytes.
    pub fn new(total: u64, metrics: MemoryBudgetMetrics) -> Self {
        Self(Arc::new(Mutex::new(BudgetState::new(total, metrics))))
    }

    /// Queues a request that will need about `expected` bytes.
    pub(super) fn reserve(&self, expected: u64) -> Reservation {
        let (id, notify) = self.state().enqueue(expected);
        Reservation { budget: self.clone(), id, notify }
    }

    #[cfg(test)]
    pub(super) fn allocated(&self) -> u64 {
        self.state().allocated()
    }

    fn state(&self) -> MutexGuard<'_, BudgetState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory of one request, released when dropped.
///
/// It must be kept as long as the bodies of the request.
pub struct Reservation {
    budget: MemoryBudget,
    id: RequestId,
    notify: Arc<Notify>,
}

impl Reservation {
    /// Runs `attempt` when the request is first in the queue and its memory is available. Runs it
    /// again after an older request needed the memory.
    ///
    /// An aborted attempt is dropped, which releases its memory.
    pub(super) async fn run<F: Future>(
        &self,
        latest: Instant,
        attempt: impl Fn() -> F,
    ) -> Result<F::Output, ScrapeError> {
        loop {
            if tokio::time::timeout_at(latest, self.started()).await.is_err() {
                return Err(self.state().reject_late());
            }
            let ended = tokio::select! {
                biased;
                end = self.aborted() => Err(end),
                done = attempt() => Ok(done),
            };
            match ended {
                Ok(done) => {
                    let settled = self.state().settle(self.id);
                    return settled.map(|()| done);
                }
                Err(AbortReason::TooLarge) => return Err(self.state().reject_large()),
                Err(AbortReason::Displaced) => self.state().requeue(self.id),
            }
        }
    }

    /// A new allocation of 0 bytes, for one body.
    pub(super) fn allocation(&self) -> Allocation {
        Allocation {
            budget: self.budget.clone(),
            id: self.id,
            notify: Arc::clone(&self.notify),
            bytes: 0,
        }
    }

    async fn started(&self) {
        wait_for(&self.notify, || self.state().may_start(self.id).then_some(())).await;
    }

    async fn aborted(&self) -> AbortReason {
        wait_for(&self.notify, || self.state().abort_reason(self.id)).await
    }

    fn state(&self) -> MutexGuard<'_, BudgetState> {
        self.budget.state()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.state().finish(self.id);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reservation").field(&self.id).finish()
    }
}

/// Memory of one body, released when dropped, on any thread.
#[derive(Debug)]
pub(super) struct Allocation {
    budget: MemoryBudget,
    id: RequestId,
    notify: Arc<Notify>,
    bytes: u64,
}

impl Allocation {
    /// Waits until `more` bytes are available, and allocates them.
    ///
    /// Does not resolve when the attempt must be aborted: [`Reservation::run`] then drops the whole
    /// attempt.
    pub(super) async fn acquire(&mut self, more: u64) {
        if !self.budget.state().acquire_or_wait(self.id, more) {
            let mut waiting = WaitGuard { budget: &self.budget, id: self.id, is_granted: false };
            let granted = || self.budget.state().try_acquire(self.id, more).then_some(());
            wait_for(&self.notify, granted).await;
            waiting.is_granted = true;
        }
        self.bytes += more;
    }

    /// Number of allocated bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sets the number of allocated bytes to those that are in use already.
    ///
    /// Does not resolve if they are not available: the attempt is aborted at once.
    pub(super) async fn set_used(&mut self, bytes: u64) {
        let Some(more) = bytes.checked_sub(self.bytes) else { return self.shrink_to(bytes) };
        if !self.budget.state().acquire_or_abort(self.id, more) {
            std::future::pending::<()>().await;
        }
        self.bytes = bytes;
    }

    /// Releases all bytes beyond `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        if less > 0 {
            self.bytes -= less;
            self.budget.state().release(self.id, less);
        }
    }

    /// Transfers the bytes to the [`Reservation`], which releases them when dropped. Returns their
    /// number.
    pub(super) fn keep(mut self) -> u64 {
        let bytes = std::mem::take(&mut self.bytes);
        self.budget.state().keep(self.id, bytes);
        bytes
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// Ends the wait of a body when dropped, and wakes other requests.
struct WaitGuard<'a> {
    budget: &'a MemoryBudget,
    id: RequestId,
    is_granted: bool,
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.budget.state().stop_waiting(self.id, self.is_granted);
    }
}

/// Calls `check` until it returns a value: now, and after each notification.
async fn wait_for<T>(notify: &Notify, mut check: impl FnMut() -> Option<T>) -> T {
    loop {
        let mut notified = pin!(notify.notified());
        // Registers before the check, so that no notification is missed in between.
        notified.as_mut().enable();
        if let Some(found) = check() {
            return found;
        }
        notified.await;
    }
}
