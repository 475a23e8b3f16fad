//! How much memory the bodies of all requests take together.
//!
//! A request holds the bytes of its instances' bodies from the moment they are
//! read until its answer is written. What all of them hold never exceeds the
//! budget; who finds no room waits, first come, first served.
//!
//! Nobody knows beforehand how much a request will need, so two that each hold
//! a part and wait for the rest could wait for ever. Therefore only one request
//! at a time waits with bytes in its hands, the oldest of those that would have
//! to. Any other lets go of all it holds, queues again at its old place, and
//! asks its instances anew when its turn comes. So whoever the one that waits
//! is waiting for is either reading, and will end or let go, or has ended and
//! is only being read by its scraper. The oldest never has to let go, so
//! everyone has his turn.
//!
//! To let go costs a second scrape. It is rare, because a request enters with a
//! claim: the size that its instances' bodies had the last time.

mod metrics;
mod state;
#[cfg(test)]
mod tests;

pub use metrics::BudgetMetrics;

use state::{End, State, Ticket};
use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::Notify, time::Instant};

/// The bytes that all workers share.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Mutex<State>>);

/// Why there was no memory for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Others held it for as long as the request could wait.
    #[error(
        "There was no memory for this scrape in time: the {limit} bytes that scrape.max_memory allows for the bodies of all requests together were held by others."
    )]
    TooLate {
        /// All there is, bytes.
        limit: u64,
    },
    /// It wants more than all there is.
    #[error(
        "The bodies of the instances are more than the {limit} bytes that scrape.max_memory allows for all requests together."
    )]
    TooLarge {
        /// All there is, bytes.
        limit: u64,
    },
    /// No instance answered, and for some no connection was free in time.
    #[error(
        "There was no connection for this scrape in time: other requests used the {limit} that backends.max_connections allows, of which one app gets at most half."
    )]
    NoConnection {
        /// All there are.
        limit: usize,
    },
}

impl Budget {
    /// A budget of `total` bytes, which tells `metrics` what happens.
    pub fn new(total: u64, metrics: BudgetMetrics) -> Self {
        Self(Arc::new(Mutex::new(State::new(total, metrics))))
    }

    /// A place in the queue, for a request that will take `expected` bytes as
    /// far as anyone knows.
    pub(super) fn enter(&self, expected: u64) -> Share {
        let (ticket, notify) = self.state().enter(expected);
        Share { budget: self.clone(), ticket, notify }
    }

    /// Bytes held now.
    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.state().held()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's part of the budget, given back when dropped.
///
/// It goes where the bodies go: whoever drops the last body drops it.
pub struct Share {
    budget: Budget,
    ticket: Ticket,
    notify: Arc<Notify>,
}

impl Share {
    /// Runs `attempt` when it is this request's turn, and anew whenever an older
    /// request needed the bytes.
    ///
    /// An attempt that must let go is dropped, and with it all it holds.
    pub(super) async fn run<F: Future>(
        &self,
        latest: Instant,
        attempt: impl Fn() -> F,
    ) -> Result<F::Output, Refused> {
        loop {
            if tokio::time::timeout_at(latest, self.admitted()).await.is_err() {
                return Err(self.state().refuse_late());
            }
            let ended = tokio::select! {
                biased;
                end = self.ended() => Err(end),
                done = attempt() => Ok(done),
            };
            match ended {
                Ok(done) => {
                    let settled = self.state().settle(self.ticket);
                    return settled.map(|()| done);
                }
                Err(End::TooLarge) => return Err(self.state().refuse_large()),
                Err(End::Displaced) => self.state().queue_again(self.ticket),
            }
        }
    }

    /// Room for one more body, for now of nothing.
    pub(super) fn hold(&self) -> Held {
        Held {
            budget: self.budget.clone(),
            ticket: self.ticket,
            notify: Arc::clone(&self.notify),
            bytes: 0,
        }
    }

    async fn admitted(&self) {
        until(&self.notify, || self.state().is_admitted(self.ticket).then_some(())).await;
    }

    async fn ended(&self) -> End {
        until(&self.notify, || self.state().end_of(self.ticket)).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.budget.state()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.state().leave(self.ticket);
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Share").field(&self.ticket).finish()
    }
}

/// The bytes of one body, given back when dropped, on whichever thread.
#[derive(Debug)]
pub(super) struct Held {
    budget: Budget,
    ticket: Ticket,
    notify: Arc<Notify>,
    bytes: u64,
}

impl Held {
    /// Waits until `more` bytes may be taken.
    ///
    /// Never resolves when the request has to let go: [`Share::run`] then drops
    /// the whole attempt.
    pub(super) async fn grow(&mut self, more: u64) {
        if !self.budget.state().grow_or_wait(self.ticket, more) {
            let mut waiting =
                Waiting { budget: &self.budget, ticket: self.ticket, has_room: false };
            let granted = || self.budget.state().grow(self.ticket, more).then_some(());
            until(&self.notify, granted).await;
            waiting.has_room = true;
        }
        self.bytes += more;
    }

    /// Gives back what is over `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        if less > 0 {
            self.bytes -= less;
            self.budget.state().give_back(self.ticket, less);
        }
    }

    /// Leaves the bytes to the request, until its [`Share`] is dropped. Returns
    /// how many there are.
    pub(super) fn keep(mut self) -> u64 {
        let bytes = std::mem::take(&mut self.bytes);
        self.budget.state().keep(self.ticket, bytes);
        bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// A body that waits for room; however it ends, others learn of it.
struct Waiting<'a> {
    budget: &'a Budget,
    ticket: Ticket,
    has_room: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.budget.state().stop_waiting(self.ticket, self.has_room);
    }
}

/// Looks now, and again whenever `notify` says so.
async fn until<T>(notify: &Notify, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        let mut notified = pin!(notify.notified());
        // From here on no call is missed, and only then it is looked.
        notified.as_mut().enable();
        if let Some(found) = look() {
            return found;
        }
        notified.await;
    }
}
