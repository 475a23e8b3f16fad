//! The requests under way, for the moment when some must be cut.

use super::root_span::{rounded_ms, shown};
use actix_web::{
    Error, HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::{self, Bytes},
};
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Requests that were not answered to their end yet; clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Running(Arc<Mutex<Requests>>);

#[derive(Debug, Default)]
struct Requests {
    next: u64,
    running: BTreeMap<u64, Request>,
}

#[derive(Debug)]
struct Request {
    what: String,
    since: Instant,
}

/// Most requests that are named one by one.
const NAMED: usize = 20;

impl Running {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.requests().running.len()
    }

    /// Logs each of them, the oldest first, as one that gets no whole answer.
    pub fn log_cut(&self) {
        let requests = self.requests();
        for Request { what, since } in requests.running.values().take(NAMED) {
            let running_ms = rounded_ms(since.elapsed());
            tracing::warn!(request = what, running_ms, "cut: {what}");
        }
        let cut = requests.running.len();
        if cut > 0 {
            tracing::warn!(cut, "requests without a whole answer: {cut}");
        }
    }

    fn enter(&self, what: String, connection: Option<&Use>) -> Entry {
        let mut requests = self.requests();
        let id = requests.next;
        requests.next += 1;
        requests.running.insert(id, Request { what, since: Instant::now() });
        Entry { running: self.clone(), id, _in_use: connection.map(Use::begin) }
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a connection is used, in the extensions of its requests; clones see the same.
#[derive(Clone, Debug)]
pub struct Use(Arc<Mutex<Usage>>);

#[derive(Debug)]
struct Usage {
    running: usize,
    begun: u64,
    /// When the last request ended, or the connection was opened.
    since: Instant,
}

impl Default for Use {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Usage { running: 0, begun: 0, since: Instant::now() })))
    }
}

impl Use {
    /// A request runs until the guard is dropped.
    pub fn begin(&self) -> InUse {
        let mut usage = self.usage();
        usage.running += 1;
        usage.begun += 1;
        drop(usage);
        InUse(self.clone())
    }

    /// How many requests have begun.
    pub fn begun(&self) -> u64 {
        self.usage().begun
    }

    /// Whether a request has begun and ended after `before` had begun, and none runs.
    pub fn has_ended_since(&self, before: u64) -> bool {
        let usage = self.usage();
        usage.begun > before && usage.running == 0
    }

    /// How long no request has run; none while one does.
    pub fn unused_for(&self) -> Option<Duration> {
        let usage = self.usage();
        (usage.running == 0).then(|| usage.since.elapsed())
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request of a connection.
#[derive(Debug)]
pub struct InUse(Use);

impl Drop for InUse {
    fn drop(&mut self) {
        let mut usage = self.0.usage();
        usage.running -= 1;
        usage.since = Instant::now();
    }
}

/// A request in the list; leaves it when dropped.
#[derive(Debug)]
struct Entry {
    running: Running,
    id: u64,
    _in_use: Option<InUse>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.requests().running.remove(&self.id);
    }
}

/// Lists each request from its head to the last byte of its answer, and marks the [`Use`] of its
/// connection. Needs [`Running`] as app data.
///
/// # Errors
/// Those of the request.
pub async fn list(
    running: web::Data<Running>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<Listed>, Error> {
    let path = shown(request.path(), request.query_string());
    let what = format!("{} {path}", request.method());
    let entry = running.enter(what, request.extensions().get::<Use>());
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| Listed { body, _entry: entry }))
}

/// An answer's body, whose request is listed until it is written or dropped.
#[derive(Debug)]
pub struct Listed {
    body: BoxBody,
    _entry: Entry,
}

impl MessageBody for Listed {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
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
        let left: Vec<_> =
            running.requests().running.values().map(|request| request.what.clone()).collect();
        assert_eq!(left, ["GET /b"]);
        drop(second);
        assert_eq!(running.count(), 0);
    }
}
