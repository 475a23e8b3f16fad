//! Requests in progress, and the use of the connections that they arrived on. Requests are logged if a
//! shutdown aborts them.

use super::{
    guarded_body::GuardedBody,
    root_span::{rounded_ms, shown},
};
use actix_web::{
    Error, HttpMessage,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Requests whose responses are not complete. Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<Mutex<Requests>>);

#[derive(Debug, Default)]
struct Requests {
    next: u64,
    running: BTreeMap<u64, Request>,
}

#[derive(Debug)]
struct Request {
    description: String,
    since: Instant,
}

/// Maximum number of requests that are logged individually.
const MAX_LOGGED: usize = 20;

impl Running {
    /// Number of running requests.
    pub fn count(&self) -> usize {
        self.requests().running.len()
    }

    /// Logs all running requests as aborted, oldest first.
    pub fn log_aborted(&self) {
        let requests = self.requests();
        for Request { description, since } in requests.running.values().take(MAX_LOGGED) {
            let running_ms = rounded_ms(since.elapsed());
            tracing::warn!(request = description, running_ms, "request aborted: {description}");
        }
        let cut = requests.running.len();
        if cut > 0 {
            tracing::warn!(cut, "requests aborted: {cut}");
        }
    }

    fn enter(&self, description: String, connection: Option<&Use>) -> Entry {
        let mut requests = self.requests();
        let id = requests.next;
        requests.next += 1;
        requests.running.insert(id, Request { description, since: Instant::now() });
        Entry { running: self.clone(), id, _in_use: connection.map(Use::begin) }
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Usage of a connection. It is stored in the extensions of the connection's requests. Clones share
/// it.
#[derive(Clone, Debug)]
pub struct Use {
    id: ConnectionId,
    usage: Arc<Mutex<Usage>>,
}

/// Identifies a connection as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(u64);

#[derive(Debug)]
struct Usage {
    running: usize,
    begun: u64,
    /// End of the last request, or the time when the connection was opened.
    since: Instant,
    is_closed: bool,
    is_blocked: bool,
    ends: Option<ConnectionEnds>,
}

/// The addresses of a connection, as its socket reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionEnds {
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

impl Default for Use {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let usage = Usage {
            running: 0,
            begun: 0,
            since: Instant::now(),
            is_closed: false,
            is_blocked: false,
            ends: None,
        };
        let id = ConnectionId(NEXT.fetch_add(1, Ordering::Relaxed));
        Self { id, usage: Arc::new(Mutex::new(usage)) }
    }
}

impl Use {
    /// The connection.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Marks the begin of a request, which ends when the guard is dropped.
    pub fn begin(&self) -> InUse {
        let mut usage = self.usage();
        usage.running += 1;
        usage.begun += 1;
        drop(usage);
        InUse(self.clone())
    }

    /// Number of requests that have begun.
    pub fn begun(&self) -> u64 {
        self.usage().begun
    }

    /// Whether a request that began after the first `before` requests has ended, and none is
    /// running.
    pub fn has_ended_since(&self, before: u64) -> bool {
        let usage = self.usage();
        usage.begun > before && usage.running == 0
    }

    /// Time since the last request ended. `None` while a request is running.
    pub fn unused_for(&self) -> Option<Duration> {
        let usage = self.usage();
        (usage.running == 0).then(|| usage.since.elapsed())
    }

    /// Marks the connection as closed, by either side.
    pub fn close(&self) {
        self.usage().is_closed = true;
    }

    /// Whether one side has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.usage().is_closed
    }

    /// Marks whether the kernel accepts no more data for the client at present.
    pub fn set_blocked(&self, is_blocked: bool) {
        self.usage().is_blocked = is_blocked;
    }

    /// Whether a part of a response waits for the client to read.
    pub fn is_blocked(&self) -> bool {
        self.usage().is_blocked
    }

    /// Stores the addresses of the connection.
    pub fn set_ends(&self, ends: ConnectionEnds) {
        self.usage().ends = Some(ends);
    }

    /// The addresses of the connection. `None` if they are unknown.
    pub fn ends(&self) -> Option<ConnectionEnds> {
        self.usage().ends
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running request of a connection.
#[derive(Debug)]
pub struct InUse(Use);

impl Drop for InUse {
    fn drop(&mut self) {
        let mut usage = self.0.usage();
        usage.running -= 1;
        usage.since = Instant::now();
    }
}

/// An entry in the list of running requests. It is removed when dropped.
#[derive(Debug)]
pub struct Entry {
    running: Running,
    id: u64,
    _in_use: Option<InUse>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.requests().running.remove(&self.id);
    }
}

/// Middleware that lists each request from its head to the last byte of its response. It also
/// updates the [`Use`] of its connection. Requires [`Running`] as app data.
///
/// # Errors
/// Returns errors of the wrapped service.
pub async fn track(
    running: web::Data<Running>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<GuardedBody<Entry>>, Error> {
    let path = shown(request.path(), request.query_string());
    let description = format!("{} {path}", request.method());
    let entry = running.enter(description, request.extensions().get::<Use>());
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| GuardedBody::new(body, entry)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_listed_until_its_entry_is_dropped() {
        let running = Running::default();
        let (first, second) =
            (running.enter("GET /a".into(), None), running.enter("GET /b".into(), None));
        assert_eq!(running.count(), 2);
        drop(first);
        let remaining: Vec<_> = running
            .requests()
            .running
            .values()
            .map(|request| request.description.clone())
            .collect();
        assert_eq!(remaining, ["GET /b"]);
        drop(second);
        assert_eq!(running.count(), 0);
    }
}
