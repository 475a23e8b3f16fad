//! The open connections of the listeners. Their number is limited, and idle connections are closed.
//!
//! ```text
//! accepted ─ limit reached? ─► closes the connection that is idle the longest, else the new one
//! every second ─► closes connections without a running request for their idle limit
//! ```
//!
//! actix has a timeout only for the head of the first request of a connection. For later requests a
//! client could send one byte per second. A connection without a running request counts as idle, so
//! it is closed anyway.

mod metrics;

pub(super) use metrics::ConnectionMetrics;

use crate::telemetry::running::Use;
use futures_util::task::AtomicWaker;
use metrics::Ended;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Interval of searches for idle connections.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A connection that was used or opened within this time is not closed in favor of a new one.
const MIN_IDLE: Duration = Duration::from_secs(1);
/// Maximum number of connections that are examined to find an idle one.
const MAX_EXAMINED: usize = 64;

/// The connections of the listeners. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    open: AtomicUsize,
    /// Unordered. A search also removes closed connections.
    listed: Mutex<VecDeque<Weak<Handle>>>,
    metrics: ConnectionMetrics,
}

/// An open connection. It is counted until it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    handle: Arc<Handle>,
    connections: Connections,
}

#[derive(Debug)]
struct Handle {
    in_use: Use,
    /// Maximum time without a running request.
    idle_limit: Duration,
    ended: AtomicBool,
    /// Reset when the connection is closed, because its task may drop it later.
    counted: AtomicBool,
    task: AtomicWaker,
}

impl Connections {
    pub(super) fn new(max: usize, metrics: ConnectionMetrics) -> Self {
        let open = AtomicUsize::new(0);
        Self(Arc::new(Shared { max, open, listed: Mutex::default(), metrics }))
    }

    /// Maximum number of connections.
    pub(super) fn max(&self) -> usize {
        self.0.max
    }

    /// Counts an accepted connection, which may be idle for `idle_limit`. Returns `None` if the limit
    /// of connections is reached and none of them is idle.
    pub(super) fn admit(&self, idle_limit: Duration) -> Option<Connection> {
        let handle = Arc::new(Handle::new(idle_limit));
        let mut listed = self.listed();
        if self.0.open.load(Ordering::Relaxed) >= self.0.max && !self.end_longest_idle(&mut listed)
        {
            self.0.metrics.refuse();
            return None;
        }
        listed.push_back(Arc::downgrade(&handle));
        drop(listed);
        handle.counted.store(true, Ordering::Relaxed);
        self.0.metrics.open_now(self.0.open.fetch_add(1, Ordering::Relaxed) + 1);
        Some(Connection { handle, connections: self.clone() })
    }

    /// Closes connections that are idle for longer than their limit, until `shutdown`.
    pub(super) async fn end_idle(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.listed().retain(|listed| {
                let Some(handle) = listed.upgrade() else { return false };
                let is_idle = handle.idle_for().is_some_and(|idle| idle >= handle.idle_limit);
                if is_idle {
                    self.end(&handle, Ended::Idle);
                }
                !is_idle
            });
        }
    }

    /// Counts a response that was aborted because its client read nothing.
    pub(super) fn count_stalled(&self) {
        self.0.metrics.stalled();
    }

    /// Closes the connection that is idle the longest among those examined. Each search continues
    /// after the previous one.
    fn end_longest_idle(&self, listed: &mut VecDeque<Weak<Handle>>) -> bool {
        let mut longest_idle: Option<(Duration, Arc<Handle>)> = None;
        for _ in 0..listed.len().min(MAX_EXAMINED) {
            let Some(handle) = listed.pop_front().and_then(|it| it.upgrade()) else { continue };
            listed.push_back(Arc::downgrade(&handle));
            let Some(idle) = handle.idle_for().filter(|idle| *idle >= MIN_IDLE) else {
                continue;
            };
            if longest_idle.as_ref().is_none_or(|(longest, _)| idle > *longest) {
                longest_idle = Some((idle, handle));
            }
        }
        let Some((_, handle)) = longest_idle else { return false };
        self.end(&handle, Ended::Evicted);
        true
    }

    fn end(&self, handle: &Handle, reason: Ended) {
        self.0.metrics.end(reason);
        handle.ended.store(true, Ordering::Release);
        handle.task.wake();
        self.release(handle);
    }

    fn release(&self, handle: &Handle) {
        if handle.counted.swap(false, Ordering::Relaxed) {
            self.0.metrics.open_now(self.0.open.fetch_sub(1, Ordering::Relaxed) - 1);
        }
    }

    fn listed(&self) -> MutexGuard<'_, VecDeque<Weak<Handle>>> {
        self.0.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    fn new(idle_limit: Duration) -> Self {
        Self {
            in_use: Use::default(),
            idle_limit,
            ended: AtomicBool::default(),
            counted: AtomicBool::default(),
            task: AtomicWaker::default(),
        }
    }

    /// Time without a running request. `None` if a request runs or the connection is closed.
    fn idle_for(&self) -> Option<Duration> {
        let ended = self.ended.load(Ordering::Relaxed);
        if ended { None } else { self.in_use.unused_for() }
    }
}

impl Connection {
    pub(super) fn in_use(&self) -> Use {
        self.handle.in_use.clone()
    }

    /// Whether the connection was closed. Otherwise wakes the task of `cx` when it is closed.
    pub(super) fn is_ended(&self, cx: &Context<'_>) -> bool {
        self.handle.task.register(cx.waker());
        self.handle.ended.load(Ordering::Acquire)
    }

    /// All connections of the listener.
    pub(super) fn all(&self) -> &Connections {
        &self.connections
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.handle.in_use.close();
        self.connections.release(&self.handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    const LIMIT: Duration = Duration::from_secs(600);

    fn connections(max: usize) -> Connections {
        Connections::new(max, ConnectionMetrics::default())
    }

    fn is_ended(connection: &Connection) -> bool {
        connection.is_ended(&Context::from_waker(Waker::noop()))
    }

    /// The paused clock makes searches frequent; idle times are real.
    #[tokio::test(start_paused = true)]
    async fn connections_without_requests_are_closed_after_their_own_limit() {
        let connections = connections(10);
        let shutdown = CancellationToken::new();
        let limit = Duration::from_millis(50);
        let (idle, busy) = (connections.admit(limit).unwrap(), connections.admit(limit).unwrap());
        let patient = connections.admit(Duration::from_secs(600)).unwrap();
        let running = busy.in_use().begin();
        tokio::spawn(connections.clone().end_idle(shutdown.clone()));
        while !is_ended(&idle) {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        assert!(!is_ended(&busy));
        drop(running);
        while !is_ended(&busy) {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        assert!(!is_ended(&patient));
        assert_eq!(connections.listed().len(), 1, "those that ended are forgotten");
        shutdown.cancel();
    }

    #[test]
    fn a_dropped_connection_is_closed_for_its_requests() {
        let connection = connections(1).admit(LIMIT).unwrap();
        let in_use = connection.in_use();
        assert!(!in_use.is_closed());
        drop(connection);
        assert!(in_use.is_closed());
    }

    #[tokio::test]
    async fn at_the_limit_idle_connections_are_closed() {
        let connections = connections(2);
        let (first, second) =
            (connections.admit(LIMIT).unwrap(), connections.admit(LIMIT).unwrap());
        assert!(connections.admit(LIMIT).is_none(), "neither was idle for long enough");
        let running = first.in_use().begin();
        tokio::time::sleep(MIN_IDLE).await;
        let third = connections.admit(LIMIT).unwrap();
        assert!(is_ended(&second) && !is_ended(&first));
        assert!(connections.admit(LIMIT).is_none());
        drop(second);
        assert!(connections.admit(LIMIT).is_none(), "its place was taken already");
        drop((running, first));
        let _fourth = connections.admit(LIMIT).unwrap();
        assert!(!is_ended(&third));
    }
}
