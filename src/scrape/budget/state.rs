//! Who holds how much, and whose turn it is. Knows no clock and waits for
//! nobody; what it decides, it decides under one lock.
//!
//! Always: `used`, which is what is held and what is claimed and not yet held,
//! is at most `total`; and at most one request waits with bytes in its hands.

use super::{BudgetMetrics, Refused};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::Notify;

/// Requests in the order in which they came.
pub(super) type Ticket = u64;

/// Why an attempt has to be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// An older request needs the bytes.
    Displaced,
    /// It would need more than there is.
    TooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for its turn.
    Queued,
    /// Reads bodies.
    Collecting,
    /// Has all it wanted, until its answer is written.
    Settled,
}

#[derive(Debug)]
struct Request {
    phase: Phase,
    /// Bytes set aside for it while it collects, held or not.
    claim: u64,
    /// The claim with which it would queue again.
    next_claim: u64,
    held: u64,
    /// Of what is held, the part that goes with the request and not with a body.
    kept: u64,
    /// Bodies that wait for room.
    waiting: usize,
    /// A body gave up waiting.
    is_starved: bool,
    has_waited: bool,
    is_gone: bool,
    end: Option<End>,
    notify: Arc<Notify>,
}

impl Request {
    fn counted(&self) -> u64 {
        match self.phase {
            Phase::Collecting => self.claim.max(self.held),
            Phase::Queued | Phase::Settled => self.held,
        }
    }

    /// Whether it waits with bytes in its hands.
    fn blocks(&self) -> bool {
        self.phase == Phase::Collecting && self.waiting > 0 && self.end.is_none()
    }
}

#[derive(Debug)]
pub(super) struct State {
    total: u64,
    used: u64,
    held: u64,
    next: Ticket,
    requests: BTreeMap<Ticket, Request>,
    metrics: BudgetMetrics,
}

impl State {
    pub(super) fn new(total: u64, metrics: BudgetMetrics) -> Self {
        Self { total, used: 0, held: 0, next: 0, requests: BTreeMap::new(), metrics }
    }

    pub(super) fn enter(&mut self, expected: u64) -> (Ticket, Arc<Notify>) {
        let (ticket, notify) = (self.next, Arc::<Notify>::default());
        self.next += 1;
        // What was more than there is may have become less since.
        let claim = expected.min(self.total).max(1);
        let request = Request {
            phase: Phase::Queued,
            claim,
            next_claim: claim,
            held: 0,
            kept: 0,
            waiting: 0,
            is_starved: false,
            has_waited: false,
            is_gone: false,
            end: None,
            notify: Arc::clone(&notify),
        };
        self.requests.insert(ticket, request);
        self.wake_next();
        (ticket, notify)
    }

    /// Whether the request may begin.
    pub(super) fn is_admitted(&mut self, ticket: Ticket) -> bool {
        let is_queued = self.requests.get(&ticket).is_none_or(|one| one.phase == Phase::Queued);
        if is_queued {
            self.waits(ticket);
        }
        !is_queued
    }

    /// Takes `more` bytes if they are free; if not, the request waits from now
    /// on until [`stop_waiting`](Self::stop_waiting).
    pub(super) fn grow_or_wait(&mut self, ticket: Ticket, more: u64) -> bool {
        if self.grow(ticket, more) {
            return true;
        }
        self.waits(ticket);
        let before = self.blocking();
        let Some(request) = self.requests.get_mut(&ticket) else { return false };
        request.waiting += 1;
        if request.end.is_some() {
            return false;
        }
        // What did not fit is the least that it will need.
        let needed = request.held.saturating_add(more).saturating_mul(2);
        request.next_claim = request.next_claim.max(needed.min(self.total));
        // Only the older of two goes on waiting.
        if let Some(before) = before
            && before != ticket
        {
            self.end(before.max(ticket), End::Displaced);
        }
        false
    }

    /// Takes `more` bytes if they are free and no older request waits for them.
    pub(super) fn grow(&mut self, ticket: Ticket, more: u64) -> bool {
        let Some(request) = self.requests.get(&ticket) else { return false };
        if request.phase != Phase::Collecting || request.end.is_some() {
            return false;
        }
        let held = request.held.saturating_add(more);
        if held > self.total {
            self.end(ticket, End::TooLarge);
            return false;
        }
        let extra = held.saturating_sub(request.counted());
        if extra > 0 {
            let is_turn = self.blocking().is_none_or(|blocking| blocking >= ticket);
            if !is_turn || self.used + extra > self.total {
                return false;
            }
        }
        self.change(ticket, |request| request.held = held);
        true
    }

    /// A body no longer waits: it has its room, or it gave up.
    pub(super) fn stop_waiting(&mut self, ticket: Ticket, has_room: bool) {
        if let Some(request) = self.requests.get_mut(&ticket) {
            request.waiting = request.waiting.saturating_sub(1);
            request.is_starved |= !has_room;
        }
        self.wake_next();
    }

    pub(super) fn give_back(&mut self, ticket: Ticket, bytes: u64) {
        self.change(ticket, |request| request.held = request.held.saturating_sub(bytes));
        self.forget_if_gone(ticket);
        self.wake_next();
    }

    pub(super) fn keep(&mut self, ticket: Ticket, bytes: u64) {
        self.change(ticket, |request| request.kept += bytes);
    }

    pub(super) fn end_of(&self, ticket: Ticket) -> Option<End> {
        self.requests.get(&ticket)?.end
    }

    /// The request has all its bodies: it will take no more, and what it claimed
    /// and did not need is free.
    ///
    /// # Errors
    ///
    /// A body had no room until the request's time was over.
    pub(super) fn settle(&mut self, ticket: Ticket) -> Result<(), Refused> {
        self.change(ticket, |request| request.phase = Phase::Settled);
        self.wake_next();
        if self.requests.get(&ticket).is_some_and(|request| request.is_starved) {
            return Err(self.refuse_late());
        }
        Ok(())
    }

    /// The request has let go of all it held, and takes its old place in the queue.
    pub(super) fn queue_again(&mut self, ticket: Ticket) {
        self.metrics.repeats();
        self.change(ticket, |request| {
            request.phase = Phase::Queued;
            request.claim = request.next_claim;
            request.held = request.held.saturating_sub(request.kept);
            request.kept = 0;
            request.is_starved = false;
            request.end = None;
        });
        self.wake_next();
    }

    /// The request is over; bodies that are still on another thread count until
    /// they are dropped there.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.change(ticket, |request| {
            request.phase = Phase::Settled;
            request.held = request.held.saturating_sub(request.kept);
            request.kept = 0;
            request.is_gone = true;
        });
        self.forget_if_gone(ticket);
        self.wake_next();
    }

    pub(super) fn refuse_late(&self) -> Refused {
        self.metrics.refuse("too_late");
        Refused::TooLate { limit: self.total }
    }

    pub(super) fn refuse_large(&self) -> Refused {
        self.metrics.refuse("too_large");
        Refused::TooLarge { limit: self.total }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Whether nobody holds, claims or waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.used == 0
    }

    fn change(&mut self, ticket: Ticket, change: impl FnOnce(&mut Request)) {
        let Some(request) = self.requests.get_mut(&ticket) else { return };
        let (counted, held) = (request.counted(), request.held);
        change(request);
        self.used = self.used - counted + request.counted();
        self.held = self.held - held + request.held;
        self.metrics.hold(self.held);
    }

    fn end(&mut self, ticket: Ticket, end: End) {
        if let Some(request) = self.requests.get_mut(&ticket) {
            request.end = Some(end);
            request.notify.notify_waiters();
        }
    }

    fn forget_if_gone(&mut self, ticket: Ticket) {
        if self.requests.get(&ticket).is_some_and(|request| request.is_gone && request.held == 0) {
            self.requests.remove(&ticket);
        }
    }

    /// Counts a request that waits, once.
    fn waits(&mut self, ticket: Ticket) {
        if let Some(request) = self.requests.get_mut(&ticket)
            && !std::mem::replace(&mut request.has_waited, true)
        {
            self.metrics.waits();
        }
    }

    /// The one request that waits with bytes in its hands.
    fn blocking(&self) -> Option<Ticket> {
        self.requests.iter().find(|(_, request)| request.blocks()).map(|(ticket, _)| *ticket)
    }

    fn first_queued(&self) -> Option<Ticket> {
        let mut requests = self.requests.iter();
        requests.find(|(_, request)| request.phase == Phase::Queued).map(|(ticket, _)| *ticket)
    }

    /// Lets the one that waits look again; without one, lets those begin whose
    /// turn it is and whose claim fits. That they begin is decided here, so that
    /// nobody waits for another's worker to have time.
    fn wake_next(&mut self) {
        if let Some(request) = self.blocking().and_then(|ticket| self.requests.get(&ticket)) {
            request.notify.notify_waiters();
            return;
        }
        while let Some(ticket) = self.first_queued()
            && let Some(request) = self.requests.get(&ticket)
            // Bytes of an attempt before this may still be on another thread.
            && request.held == 0
            && self.used + request.claim <= self.total
        {
            request.notify.notify_waiters();
            self.change(ticket, |request| request.phase = Phase::Collecting);
        }
    }
}
