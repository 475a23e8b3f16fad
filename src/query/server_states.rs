//! The states of all servers that queries are sent to.
//!
//! Servers of different upstreams share nothing, even if they have the same URL: their credentials
//! and certificates may differ. So a hung server of one instance does not affect other instances.

use super::{
    Upstream,
    server_state::{FailureEvents, ServerState},
};
use crate::telemetry::metrics::{CounterByLabel, register};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// The state of a server that nothing has used for this long is dropped.
const RETENTION: Duration = Duration::from_secs(10 * 60);

/// States of all servers, shared by all workers.
#[derive(Clone, Debug, Default)]
pub struct ServerStates(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    upstreams: Mutex<Upstreams>,
    retries: CounterByLabel,
    hedges: CounterByLabel,
    events: Arc<FailureEvents>,
}

/// By URL of the upstream, and then by URL of the server.
type Upstreams = HashMap<String, HashMap<Arc<str>, KnownServer>>;

#[derive(Debug)]
struct KnownServer {
    state: Arc<ServerState>,
    last_used: Instant,
}

/// Why the next server was queried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryReason {
    /// No connection was opened.
    Connect,
    /// The connection ended before the response.
    Broken,
    /// The response was 502, 503 or 504.
    Status,
    /// There was no response within the timeout of a try.
    Timeout,
    /// The response was 401: the credentials of the upstream are wrong for this replica.
    Refused,
}

impl RetryReason {
    const ALL: [Self; 5] =
        [Self::Connect, Self::Broken, Self::Status, Self::Timeout, Self::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Status => "status",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
        }
    }
}

impl ServerStates {
    pub fn register(registry: &mut Registry) -> Self {
        let shared = Shared {
            upstreams: Mutex::default(),
            retries: CounterByLabel::register(
                registry,
                "scrapebroker_query_retries",
                "Queries that were sent to another replica because one failed, by reason",
                "reason",
                RetryReason::ALL.map(RetryReason::as_str),
            ),
            hedges: CounterByLabel::register(
                registry,
                "scrapebroker_query_hedges",
                "Queries that were also sent to a second replica because the first was slow, by outcome",
                "outcome",
                ["won", "lost"],
            ),
            events: Arc::new(FailureEvents {
                breakers_opened: register(
                    registry,
                    "scrapebroker_query_breakers_opened",
                    "Times that a replica was excluded from queries after failures in a row",
                    Counter::default(),
                ),
                ..FailureEvents::default()
            }),
        };
        Self(Arc::new(shared))
    }

    /// The states of the servers of an upstream, in the same order.
    pub(super) fn of(&self, upstream: &Upstream) -> Vec<Arc<ServerState>> {
        let mut upstreams = self.upstreams();
        let mut state = |url| self.find(&mut upstreams, &upstream.external_url, url);
        upstream.servers.iter().map(|it| state(&it.url)).collect()
    }

    /// The state of one server. It is kept as long as it is used.
    pub(super) fn server(&self, upstream: &str, url: &Arc<str>) -> Arc<ServerState> {
        self.find(&mut self.upstreams(), upstream, url)
    }

    fn find(&self, upstreams: &mut Upstreams, upstream: &str, url: &Arc<str>) -> Arc<ServerState> {
        let now = Instant::now();
        if let Some(known) = upstreams.get_mut(upstream).and_then(|it| it.get_mut(url)) {
            known.last_used = now;
            return Arc::clone(&known.state);
        }
        // Only servers of existing instances and pools are queried, so new ones are rare.
        forget_unused(upstreams, now);
        let state = Arc::new(ServerState::new(url, &self.0.events));
        let known = KnownServer { state: Arc::clone(&state), last_used: now };
        upstreams.entry(upstream.to_owned()).or_default().insert(Arc::clone(url), known);
        state
    }

    /// Changes whenever a server failed repeatedly.
    pub(super) fn opened(&self) -> watch::Receiver<u64> {
        self.0.events.opened.subscribe()
    }

    /// Times that a server seemed not to run.
    pub(super) fn interruptions(&self) -> u64 {
        self.0.events.interruptions.load(Ordering::Relaxed)
    }

    pub(super) fn record_hedge(&self, has_won: bool) {
        self.0.hedges.count(if has_won { "won" } else { "lost" });
    }

    pub(super) fn record_retry(&self, reason: RetryReason) {
        self.0.retries.count(reason.as_str());
    }

    fn upstreams(&self) -> MutexGuard<'_, Upstreams> {
        self.0.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_unused(upstreams: &mut Upstreams, now: Instant) {
    let is_used = |it: &KnownServer| {
        Arc::strong_count(&it.state) > 1 || now.duration_since(it.last_used) < RETENTION
    };
    upstreams.retain(|_, servers| {
        servers.retain(|_, it| is_used(it));
        !servers.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn upstreams_share_no_state() {
        let states = ServerStates::default();
        let first = states.server("pool-a", &"http://x".into());
        (0..3).for_each(|_| first.record_failure());
        assert!(!states.server("pool-a", &"http://x".into()).allows(), "the same state");
        assert!(states.server("pool-b", &"http://x".into()).allows());
        assert!(states.server("pool-a", &"http://y".into()).allows());
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_are_not_used_are_forgotten() {
        let states = ServerStates::default();
        let server = |url: &str| states.server("pool", &url.into());
        let kept = server("kept");
        for state in [&kept, &server("a"), &server("b")] {
            (0..3).for_each(|_| state.record_failure());
        }
        tokio::time::advance(RETENTION / 2).await;
        assert!(server("b").is_open());
        tokio::time::advance(RETENTION / 2).await;
        assert!(!server("c").is_open());
        assert_eq!(states.upstreams()["pool"].len(), 3, "a is forgotten");
        assert!(server("kept").is_open(), "it is in use");
        assert!(server("b").is_open() && !server("a").is_open(), "a is new");
    }
}
