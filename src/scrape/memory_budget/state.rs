//! State of the memory budget: the allocations of each request and the order of requests. It uses
//! no clock and does not block; the caller holds the lock.
//!
//! Invariants: `used`, the sum of allocated and of reserved bytes, is at most `total`; and at most
//! one request blocks while holding memory.

use super::metrics::MemoryBudgetMetrics;
use crate::scrape::failure::ScrapeError;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::Notify;

/// Number of a request; requests are numbered in order of arrival.
pub(super) type RequestId = u64;

/// Why an attempt is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AbortReason {
    /// Others hold the memory, and this request must not wait for it while it holds some.
    Displaced,
    /// The request needs more than the whole budget.
    TooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In the queue.
    Queued,
    /// Its attempt is running.
    Collecting,
    /// All bodies are read; the response is not yet written.
    Settled,
}

#[derive(Debug)]
struct RequestState {
    phase: Phase,
    /// Bytes reserved while it collects, allocated or not.
    reserved: u64,
    /// Bytes to reserve when it returns to the queue.
    next_reserved: u64,
    allocated: u64,
    /// Allocated bytes that belong to the request and no longer to a body.
    kept: u64,
    /// Bodies that wait for memory.
    waiting: usize,
    /// A body stopped waiting without memory.
    is_starved: bool,
    has_waited: bool,
    is_finished: bool,
    abort: Option<AbortReason>,
    notify: Arc<Notify>,
}

impl RequestState {
    fn counted(&self) -> u64 {
        match self.phase {
            Phase::Collecting => self.reserved.max(self.allocated),
            Phase::Queued | Phase::Settled => self.allocated,
        }
    }

    /// The next attempt will need at least the allocated bytes and `more`, which were not free.
    fn expect(&mut self, more: u64, total: u64) {
        let needed = self.allocated.saturating_add(more).saturating_mul(2);
        self.next_reserved = self.next_reserved.max(needed.min(total));
    }

    /// Whether it blocks while holding memory.
    fn blocks(&self) -> bool {
        self.phase == Phase::Collecting && self.waiting > 0 && self.abort.is_none()
    }
}

#[derive(Debug)]
pub(super) struct BudgetState {
    total: u64,
    used: u64,
    allocated: u64,
    next_id: RequestId,
    requests: BTreeMap<RequestId, RequestState>,
    metrics: MemoryBudgetMetrics,
}

impl BudgetState {
    pub(super) fn new(total: u64, metrics: MemoryBudgetMetrics) -> Self {
        Self { total, used: 0, allocated: 0, next_id: 0, requests: BTreeMap::new(), metrics }
    }

    pub(super) fn enqueue(&mut self, expected: u64) -> (RequestId, Arc<Notify>) {
        let (id, notify) = (self.next_id, Arc::<Notify>::default());
        self.next_id += 1;
        // A body that was larger than the budget may be smaller now.
        let reserved = expected.min(self.total).max(1);
        let request = RequestState {
            phase: Phase::Queued,
            reserved,
            next_reserved: reserved,
            allocated: 0,
            kept: 0,
            waiting: 0,
            is_starved: false,
            has_waited: false,
            is_finished: false,
            abort: None,
            notify: Arc::clone(&notify),
        };
        self.requests.insert(id, request);
        self.wake_next();
        (id, notify)
    }

    /// Whether the attempt may start.
    pub(super) fn may_start(&mut self, id: RequestId) -> bool {
        let is_queued = self.requests.get(&id).is_none_or(|one| one.phase == Phase::Queued);
        if is_queued {
            self.count_wait(id);
        }
        !is_queued
    }

    /// Allocates `more` bytes if they are free; otherwise the request is waiting until
    /// [`stop_waiting`](Self::stop_waiting).
    pub(super) fn acquire_or_wait(&mut self, id: RequestId, more: u64) -> bool {
        if self.try_acquire(id, more) {
            return true;
        }
        self.count_wait(id);
        let before = self.blocking();
        let Some(request) = self.requests.get_mut(&id) else { return false };
        request.waiting += 1;
        if request.abort.is_some() {
            return false;
        }
        request.expect(more, self.total);
        // Only one request may block: the older one.
        if let Some(before) = before
            && before != id
        {
            self.abort(before.max(id), AbortReason::Displaced);
        }
        false
    }

    /// Allocates `more` bytes if they are free; otherwise the attempt is aborted.
    pub(super) fn acquire_or_abort(&mut self, id: RequestId, more: u64) -> bool {
        let is_allocated = self.try_acquire(id, more);
        if !is_allocated
            && let Some(request) = self.requests.get_mut(&id)
            && request.abort.is_none()
        {
            request.expect(more, self.total);
            self.abort(id, AbortReason::Displaced);
        }
        is_allocated
    }

    /// Allocates `more` bytes if they are free and no older request is waiting.
    pub(super) fn try_acquire(&mut self, id: RequestId, more: u64) -> bool {
        let Some(request) = self.requests.get(&id) else { return false };
        if request.phase != Phase::Collecting || request.abort.is_some() {
            return false;
        }
        let allocated = request.allocated.saturating_add(more);
        if allocated > self.total {
            self.abort(id, AbortReason::TooLarge);
            return false;
        }
        let extra = allocated.saturating_sub(request.counted());
        if extra > 0 {
            let is_oldest = self.blocking().is_none_or(|blocking| blocking >= id);
            if !is_oldest || self.used + extra > self.total {
                return false;
            }
        }
        self.change(id, |request| request.allocated = allocated);
        true
    }

    /// A body stops waiting, because it has its memory or because it was dropped.
    pub(super) fn stop_waiting(&mut self, id: RequestId, is_granted: bool) {
        if let Some(request) = self.requests.get_mut(&id) {
            request.waiting = request.waiting.saturating_sub(1);
            request.is_starved |= !is_granted;
        }
        self.wake_next();
    }

    pub(super) fn release(&mut self, id: RequestId, bytes: u64) {
        self.change(id, |request| request.allocated = request.allocated.saturating_sub(bytes));
        self.remove_if_finished(id);
        self.wake_next();
    }

    pub(super) fn keep(&mut self, id: RequestId, bytes: u64) {
        self.change(id, |request| request.kept += bytes);
    }

    pub(super) fn abort_reason(&self, id: RequestId) -> Option<AbortReason> {
        self.requests.get(&id)?.abort
    }

    /// All bodies are read: the request will allocate no more, and unused reserved bytes are
    /// released.
    ///
    /// # Errors
    ///
    /// A body did not get its memory before the deadline.
    pub(super) fn settle(&mut self, id: RequestId) -> Result<(), ScrapeError> {
        self.change(id, |request| request.phase = Phase::Settled);
        self.wake_next();
        if self.requests.get(&id).is_some_and(|request| request.is_starved) {
            return Err(self.reject_late());
        }
        Ok(())
    }

    /// The attempt was aborted and has released its memory; the request returns to its old place in
    /// the queue.
    pub(super) fn requeue(&mut self, id: RequestId) {
        self.metrics.count_retry();
        self.change(id, |request| {
            request.phase = Phase::Queued;
            request.reserved = request.next_reserved;
            request.allocated = request.allocated.saturating_sub(request.kept);
            request.kept = 0;
            request.is_starved = false;
            request.abort = None;
        });
        self.wake_next();
    }

    /// The request ended. Bodies on other threads stay allocated until they are dropped.
    pub(super) fn finish(&mut self, id: RequestId) {
        self.change(id, |request| {
            request.phase = Phase::Settled;
            request.allocated = request.allocated.saturating_sub(request.kept);
            request.kept = 0;
            request.is_finished = true;
        });
        self.remove_if_finished(id);
        self.wake_next();
    }

    pub(super) fn reject_late(&self) -> ScrapeError {
        self.metrics.count_refused("too_late");
        ScrapeError::TooLate { limit: self.total }
    }

    pub(super) fn reject_large(&self) -> ScrapeError {
        self.metrics.count_refused("too_large");
        ScrapeError::TooLarge { limit: self.total }
    }

    #[cfg(test)]
    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Whether there are no requests and no allocations.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.used == 0
    }

    fn change(&mut self, id: RequestId, change: impl FnOnce(&mut RequestState)) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let (counted, allocated) = (request.counted(), request.allocated);
        change(request);
        self.used = self.used - counted + request.counted();
        self.allocated = self.allocated - allocated + request.allocated;
        self.metrics.set_allocated(self.allocated);
    }

    fn abort(&mut self, id: RequestId, reason: AbortReason) {
        if let Some(request) = self.requests.get_mut(&id) {
            request.abort = Some(reason);
            request.notify.notify_waiters();
        }
    }

    fn remove_if_finished(&mut self, id: RequestId) {
        if self
            .requests
            .get(&id)
            .is_some_and(|request| request.is_finished && request.allocated == 0)
        {
            self.requests.remove(&id);
        }
    }

    /// Counts each waiting request once.
    fn count_wait(&mut self, id: RequestId) {
        if let Some(request) = self.requests.get_mut(&id)
            && !std::mem::replace(&mut request.has_waited, true)
        {
            self.metrics.count_wait();
        }
    }

    /// The request that blocks while holding memory.
    fn blocking(&self) -> Option<RequestId> {
        self.requests.iter().find(|(_, request)| request.blocks()).map(|(id, _)| *id)
    }

    fn first_queued(&self) -> Option<RequestId> {
        let mut requests = self.requests.iter();
        requests.find(|(_, request)| request.phase == Phase::Queued).map(|(id, _)| *id)
    }

    /// Wakes the blocking request. If there is none, starts queued requests in order while their
    /// reserved bytes are free. The phase changes here, so that a request does not depend on the
    /// worker of another one to run.
    fn wake_next(&mut self) {
        if let Some(request) = self.blocking().and_then(|id| self.requests.get(&id)) {
            request.notify.notify_waiters();
            return;
        }
        while let Some(id) = self.first_queued()
            && let Some(request) = self.requests.get(&id)
            // Bytes of the aborted attempt may still be allocated on another thread.
            && request.allocated == 0
            && self.used + request.reserved <= self.total
        {
            request.notify.notify_waiters();
            self.change(id, |request| request.phase = Phase::Collecting);
        }
    }
}
