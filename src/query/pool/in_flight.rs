//! Identical queries that are in progress at the same time are sent once.
//!
//! Dashboards that several people look at send the same queries at the same time. The first request
//! sends the query; the others wait for its response. They get a copy of a short body. A long body is
//! not copied: the others then send the query themselves, so that no client has to keep up with
//! another one, and memory is bounded.
//!
//! If the client of the first request disconnects, one of the others sends the query again.

use crate::query::{QueryFailure, QueryRequest, QueryResponse, ResponseBody, Server};
use awc::http::{
    StatusCode,
    header::{self, HeaderMap, HeaderValue},
};
use bytes::Bytes;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Maximum length of a body that is copied, bytes.
const MAX_COPIED: usize = 256 << 10;

/// The queries of a pool that are in progress.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashMap<QueryKey, watch::Receiver<Option<Outcome>>>>);

/// What makes two queries identical.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct QueryKey {
    target: String,
    form: Option<Bytes>,
    accept: Vec<HeaderValue>,
    /// The replica that gets it first: clients with affinity share only with clients of their replica.
    server: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
enum Outcome {
    Response(Arc<WholeResponse>),
    /// The body is too long to be copied.
    TooLong,
    Failed(QueryFailure),
}

/// A response with its whole body.
#[derive(Debug)]
struct WholeResponse {
    status: StatusCode,
    server: Server,
    headers: HeaderMap,
    body: Bytes,
}

/// The role of a request.
pub(super) enum Role<'a> {
    /// It sends the query, and shares the response.
    First(First<'a>),
    /// An identical query is in progress.
    Other(Waiting),
}

/// The first request of a query. When it is dropped without a response, another one takes over.
pub(super) struct First<'a> {
    queries: &'a InFlight,
    /// Its key, while other requests can find it.
    key: Option<QueryKey>,
    outcome: watch::Sender<Option<Outcome>>,
}

pub(super) struct Waiting(watch::Receiver<Option<Outcome>>);

/// What a waiting request gets.
pub(super) enum Shared {
    Response(Box<QueryResponse>),
    /// It must send the query itself.
    TooLong,
    /// The first request has ended without a response: enter again.
    Abandoned,
}

impl QueryKey {
    /// `None` for requests that are not shared: pages, files, those that validate a cache, writes, and
    /// long bodies.
    pub(super) fn new(request: &QueryRequest<'_>, server: Option<&Server>) -> Option<Self> {
        let QueryRequest { target, headers, body, .. } = request;
        let validates = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
        if !target.starts_with("/api/") || validates.iter().any(|it| headers.contains_key(it)) {
            return None;
        }
        let form = match body {
            None => None,
            Some(_) => Some(request.form()?.clone()),
        };
        let accept = [header::ACCEPT, header::ACCEPT_ENCODING];
        Some(Self {
            target: target.clone(),
            form,
            accept: accept.iter().flat_map(|it| headers.get_all(it)).cloned().collect(),
            server: server.map(|it| Arc::clone(&it.url)),
        })
    }
}

impl InFlight {
    pub(super) fn enter(&self, key: QueryKey) -> Role<'_> {
        match self.queries().entry(key) {
            Entry::Occupied(first) => Role::Other(Waiting(first.get().clone())),
            Entry::Vacant(vacant) => {
                let (outcome, receiver) = watch::channel(None);
                let key = vacant.key().clone();
                vacant.insert(receiver);
                Role::First(First { queries: self, key: Some(key), outcome })
            }
        }
    }

    fn queries(&self) -> MutexGuard<'_, HashMap<QueryKey, watch::Receiver<Option<Outcome>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl First<'_> {
    /// Shares the result with the requests that wait for it.
    pub(super) async fn share(
        mut self,
        result: Result<QueryResponse, QueryFailure>,
    ) -> Result<QueryResponse, QueryFailure> {
        // Later requests do not wait for this one any more.
        self.leave();
        if self.outcome.receiver_count() == 0 {
            return result;
        }
        let (outcome, result) = match result {
            Ok(mut response) => match response.body.read_ahead(MAX_COPIED).await {
                Some(body) => {
                    let QueryResponse { status, server, headers, .. } = response;
                    let whole = Arc::new(WholeResponse { status, server, headers, body });
                    let own = whole.response();
                    (Outcome::Response(whole), Ok(own))
                }
                None => (Outcome::TooLong, Ok(response)),
            },
            Err(failure) => (Outcome::Failed(failure.clone()), Err(failure)),
        };
        self.outcome.send_replace(Some(outcome));
        result
    }
}

impl First<'_> {
    fn leave(&mut self) {
        if let Some(key) = self.key.take() {
            self.queries.queries().remove(&key);
        }
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Waiting {
    pub(super) async fn response(mut self) -> Result<Shared, QueryFailure> {
        let outcome = match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        match outcome {
            Some(Outcome::Response(whole)) => Ok(Shared::Response(Box::new(whole.response()))),
            Some(Outcome::TooLong) => Ok(Shared::TooLong),
            Some(Outcome::Failed(failure)) => Err(failure),
            None => Ok(Shared::Abandoned),
        }
    }
}

impl WholeResponse {
    fn response(&self) -> QueryResponse {
        QueryResponse {
            status: self.status,
            server: self.server.clone(),
            headers: self.headers.clone(),
            length: u64::try_from(self.body.len()).ok(),
            body: ResponseBody::whole(self.body.clone()),
        }
    }
}
