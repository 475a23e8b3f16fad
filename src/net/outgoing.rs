//! The process-wide bound on connections that requests open.
//!
//! A request takes a [`Permit`] for each connection that it uses. Permits are
//! shared out by owner, which is an app or a Prometheus instance: an owner gets
//! another one while it uses fewer than are left for all. So one owner never
//! uses more than half of them, and some are always left for an owner that uses
//! none, however many requests hang.
//!
//! Idle connections that are kept for later requests hold a descriptor, and no
//! permit. [`Outgoing::open`] counts both, and asks the keepers of idle ones to
//! close them when the limit is reached.

mod metrics;
mod state;
#[cfg(test)]
mod tests;

pub use metrics::OutgoingMetrics;

use state::State;
use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, oneshot};

/// Pause after which idle connections are asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The connections of all workers; clones share them.
#[derive(Clone, Debug)]
pub struct Outgoing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    closed: Notify,
    idle_wanted: Notify,
}

/// The right to use one connection, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    outgoing: Outgoing,
    owner: Arc<str>,
}

/// One open connection, in use or idle.
#[derive(Debug)]
pub struct OpenConnection(Outgoing);

impl Outgoing {
    /// At most `max` connections, counted by `metrics`.
    pub fn new(max: usize, metrics: OutgoingMetrics) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State::new(max, metrics)),
            closed: Notify::new(),
            idle_wanted: Notify::new(),
        }))
    }

    /// Most connections at once.
    pub fn max(&self) -> usize {
        self.state().max()
    }

    /// Waits until `owner` may use another connection.
    pub async fn acquire(&self, owner: &str) -> Permit {
        let (owner, turn) = self.state().enter(owner);
        if let Some(turn) = turn {
            return Waiting { outgoing: self, owner, turn, granted: false }.granted().await;
        }
        Permit { outgoing: self.clone(), owner }
    }

    /// Counts a request that got no permit in time.
    pub fn refuse(&self) {
        self.state().refuse();
    }

    /// Waits until another connection may be opened. Needs a [`Permit`]: then there is room, or
    /// an idle connection that can be closed.
    pub async fn open(&self) -> OpenConnection {
        loop {
            let mut closed = pin!(self.0.closed.notified());
            closed.as_mut().enable();
            if self.state().open() {
                return OpenConnection(self.clone());
            }
            self.0.idle_wanted.notify_waiters();
            // A keeper that was busy has missed the call.
            let _ = tokio::time::timeout(ASK_AGAIN, closed).await;
        }
    }

    /// Resolves when idle connections are to be closed.
    pub async fn idle_wanted(&self) {
        self.0.idle_wanted.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.outgoing.state().leave(&self.owner);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.state().close();
        self.0.0.closed.notify_waiters();
    }
}

/// A place in the queue. Dropped while it waits, it leaves the queue, and gives back a turn
/// that has just come.
struct Waiting<'a> {
    outgoing: &'a Outgoing,
    owner: Arc<str>,
    turn: oneshot::Receiver<()>,
    granted: bool,
}

impl Waiting<'_> {
    async fn granted(mut self) -> Permit {
        // A sender is not dropped before it was used.
        let _ = (&mut self.turn).await;
        self.granted = true;
        Permit { outgoing: self.outgoing.clone(), owner: Arc::clone(&self.owner) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.granted {
            return;
        }
        // Turns are given under the same lock.
        let mut state = self.outgoing.state();
        self.turn.close();
        match self.turn.try_recv() {
            Ok(()) => state.leave(&self.owner),
            Err(_) => state.give_up(&self.owner),
        }
    }
}
