//! Process-wide limit on connections to backends.
//!
//! A request holds a [`Permit`] for each connection that it uses. Permits are shared by owner,
//! which is an app or a Prometheus instance: an owner gets another permit while it holds fewer than
//! are free. So one owner never holds more than half of the permits, and an owner without permits
//! always gets one, even if many requests hang.
//!
//! Idle connections use a file descriptor but no permit. [`ConnectionLimiter::open`] counts both,
//! and requests the pools to close idle connections when the limit is reached.

mod metrics;
mod state;
#[cfg(test)]
mod tests;

pub use metrics::ConnectionLimiterMetrics;

use state::LimiterState;
use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, oneshot};

/// Interval at which the request to close idle connections is repeated.
const REQUEST_INTERVAL: Duration = Duration::from_millis(50);

/// Limits the connections of all workers; clones share the limit.
#[derive(Clone, Debug)]
pub struct ConnectionLimiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<LimiterState>,
    closed: Notify,
    close_idle_requested: Notify,
}

/// Permission to use one connection, released when dropped.
#[derive(Debug)]
pub struct Permit {
    limiter: ConnectionLimiter,
    owner: Arc<str>,
}

/// An open connection, in use or idle; counted until dropped.
#[derive(Debug)]
pub struct OpenConnection(ConnectionLimiter);

impl ConnectionLimiter {
    pub fn new(max: usize, metrics: ConnectionLimiterMetrics) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(LimiterState::new(max, metrics)),
            closed: Notify::new(),
            close_idle_requested: Notify::new(),
        }))
    }

    pub fn max(&self) -> usize {
        self.state().max()
    }

    pub async fn acquire(&self, owner: &str) -> Permit {
        let (owner, grant) = self.state().enter(owner);
        if let Some(grant) = grant {
            return WaitGuard { limiter: self, owner, grant, granted: false }.granted().await;
        }
        Permit { limiter: self.clone(), owner }
    }

    /// Counts a request that got no permit before its deadline.
    pub fn count_refused(&self) {
        self.state().count_refused();
    }

    /// Waits until another connection may be opened. The caller must hold a [`Permit`]: then there
    /// is room, or an idle connection that can be closed.
    pub async fn open(&self) -> OpenConnection {
        loop {
            let mut closed = pin!(self.0.closed.notified());
            closed.as_mut().enable();
            if self.state().open() {
                return OpenConnection(self.clone());
            }
            self.0.close_idle_requested.notify_waiters();
            // A pool that was busy has missed the notification.
            let _ = tokio::time::timeout(REQUEST_INTERVAL, closed).await;
        }
    }

    /// Resolves when pools should close their idle connections.
    pub async fn close_idle_requested(&self) {
        self.0.close_idle_requested.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.state().leave(&self.owner);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.state().close();
        self.0.0.closed.notify_waiters();
    }
}

/// A queued request. When dropped, it leaves the queue and returns a permit that was just granted.
struct WaitGuard<'a> {
    limiter: &'a ConnectionLimiter,
    owner: Arc<str>,
    grant: oneshot::Receiver<()>,
    granted: bool,
}

impl WaitGuard<'_> {
    async fn granted(mut self) -> Permit {
        // A sender is not dropped without being used.
        let _ = (&mut self.grant).await;
        self.granted = true;
        Permit { limiter: self.limiter.clone(), owner: Arc::clone(&self.owner) }
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        if self.granted {
            return;
        }
        // Permits are granted under the same lock.
        let mut state = self.limiter.state();
        self.grant.close();
        match self.grant.try_recv() {
            Ok(()) => state.leave(&self.owner),
            Err(_) => state.cancel_wait(&self.owner),
        }
    }
}
