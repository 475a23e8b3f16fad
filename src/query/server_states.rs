//! What is known of the servers that queries are sent to: circuit breakers, latencies, and how many
//! hedged requests are still allowed. Servers do not share any of it, so that a hung server of one
//! instance does not affect other instances.

use super::{breaker::Breaker, latency::Latencies};
use crate::telemetry::metrics::{CounterByLabel, register};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// Bounds of the delay before a second server is queried as well.
const MIN_HEDGE_DELAY: Duration = Duration::from_millis(50);
const MAX_HEDGE_DELAY: Duration = Duration::from_secs(5);
/// The delay while too few latencies are known.
const DEFAULT_HEDGE_DELAY: Duration = Duration::from_secs(1);

/// Queries per hedged request in the long run.
const QUERIES_PER_HEDGE: u32 = 10;
/// Credit for ten hedged requests in a row.
const MAX_HEDGE_CREDIT: u32 = 10 * QUERIES_PER_HEDGE;

/// The state of a server that was not queried for this long is dropped.
const RETENTION: Duration = Duration::from_secs(10 * 60);

/// States of all servers, shared by all workers.
#[derive(Clone, Debug, Default)]
pub struct ServerStates(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    servers: Mutex<Servers>,
    metrics: QueryMetrics,
    /// Number of times that a server failed repeatedly.
    opened: watch::Sender<u64>,
    /// Failed queries of all servers.
    failures: AtomicU64,
}

/// States by URL.
#[derive(Debug, Default)]
struct Servers(HashMap<String, ServerState>);

#[derive(Debug)]
struct ServerState {
    breaker: Breaker,
    latencies: Latencies,
    /// [`QUERIES_PER_HEDGE`] of these allow one hedged request.
    hedge_credit: u32,
    last_used: Instant,
    queries: u64,
    failures: u64,
    /// Sum of the latencies.
    latency: Duration,
}

/// What is known of a server, for metrics and pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerStatus {
    /// Whether it gets no queries because it failed repeatedly.
    pub is_open: bool,
    pub queries: u64,
    pub failures: u64,
    /// Sum of the latencies of its responses.
    pub latency: Duration,
    pub median: Option<Duration>,
    pub p95: Option<Duration>,
}

#[derive(Debug, Default)]
struct QueryMetrics {
    retries: CounterByLabel,
    hedges: CounterByLabel,
    breakers_opened: Counter,
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
}

impl RetryReason {
    const ALL: [Self; 4] = [Self::Connect, Self::Broken, Self::Status, Self::Timeout];

    fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Status => "status",
            Self::Timeout => "timeout",
        }
    }
}

impl ServerStates {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = QueryMetrics {
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
            breakers_opened: register(
                registry,
                "scrapebroker_query_breakers_opened",
                "Times that a replica was excluded from queries after failures in a row",
                Counter::default(),
            ),
        };
        Self(Arc::new(Shared { metrics, ..Shared::default() }))
    }

    /// The status of the server at `url`; all zero if it was not queried recently.
    pub fn status(&self, url: &str) -> ServerStatus {
        let servers = self.servers();
        let Some(server) = servers.0.get(url) else { return ServerStatus::default() };
        ServerStatus {
            is_open: server.breaker.is_open(),
            queries: server.queries,
            failures: server.failures,
            latency: server.latency,
            median: server.latencies.quantile(50),
            p95: server.latencies.quantile(95),
        }
    }

    /// Keeps the state of the server at `url`, although it may get no queries.
    pub(super) fn keep(&self, url: &str) {
        self.servers().server(url);
    }

    /// Changes whenever a server failed repeatedly.
    pub(super) fn opened(&self) -> watch::Receiver<u64> {
        self.0.opened.subscribe()
    }

    /// Failed queries of all servers.
    pub(super) fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }

    /// Whether a query may be sent to the server at `url`.
    pub(super) fn allows(&self, url: &str) -> bool {
        self.servers().server(url).breaker.allows(Instant::now())
    }

    /// Whether the server at `url` is excluded from queries because it failed repeatedly.
    pub(super) fn is_open(&self, url: &str) -> bool {
        self.servers().server(url).breaker.is_open()
    }

    /// How long a response of the server at `url` may take before a second server is queried.
    pub(super) fn hedge_delay(&self, url: &str) -> Duration {
        let p95 = self.servers().server(url).latencies.quantile(95);
        p95.unwrap_or(DEFAULT_HEDGE_DELAY).clamp(MIN_HEDGE_DELAY, MAX_HEDGE_DELAY)
    }

    /// Counts a query to the server at `url`, which allows a part of a hedged request.
    pub(super) fn count_query(&self, url: &str) {
        let mut servers = self.servers();
        let server = servers.server(url);
        server.queries += 1;
        server.hedge_credit = (server.hedge_credit + 1).min(MAX_HEDGE_CREDIT);
    }

    /// Whether a query that is slow at `url` may be sent to another server too; if so, it is counted.
    pub(super) fn take_hedge(&self, url: &str) -> bool {
        let mut servers = self.servers();
        let server = servers.server(url);
        let rest = server.hedge_credit.checked_sub(QUERIES_PER_HEDGE);
        server.hedge_credit = rest.unwrap_or(server.hedge_credit);
        rest.is_some()
    }

    pub(super) fn record_hedge(&self, has_won: bool) {
        self.0.metrics.hedges.count(if has_won { "won" } else { "lost" });
    }

    pub(super) fn record_retry(&self, reason: RetryReason) {
        self.0.metrics.retries.count(reason.as_str());
    }

    pub(super) fn record_success(&self, url: &str, latency: Duration) {
        let mut servers = self.servers();
        let server = servers.server(url);
        server.latencies.record(latency);
        server.latency += latency;
        let was_open = server.breaker.record_success();
        drop(servers);
        if was_open {
            tracing::info!(server = url, "prometheus server gets queries again");
        }
    }

    pub(super) fn record_failure(&self, url: &str) {
        let mut servers = self.servers();
        let server = servers.server(url);
        server.failures += 1;
        self.0.failures.fetch_add(1, Ordering::Relaxed);
        let has_opened = server.breaker.record_failure(Instant::now());
        drop(servers);
        if has_opened {
            self.0.metrics.breakers_opened.inc();
            self.0.opened.send_modify(|opened| *opened += 1);
            tracing::warn!(
                server = url,
                "prometheus server failed repeatedly; other replicas get its queries"
            );
        }
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.0.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Servers {
    fn server(&mut self, url: &str) -> &mut ServerState {
        let now = Instant::now();
        if !self.0.contains_key(url) {
            // Only servers of existing instances are queried, so new ones are rare.
            self.0.retain(|_, it| now.duration_since(it.last_used) < RETENTION);
        }
        let server = self.0.entry(url.to_owned()).or_insert_with(|| ServerState {
            breaker: Breaker::default(),
            latencies: Latencies::default(),
            hedge_credit: MAX_HEDGE_CREDIT,
            last_used: now,
            queries: 0,
            failures: 0,
            latency: Duration::ZERO,
        });
        server.last_used = now;
        server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn hedged_requests_are_at_most_a_tenth_of_the_queries_to_a_server() {
        let states = ServerStates::default();
        let hedges = |url: &str| (0..1000).take_while(|_| states.take_hedge(url)).count();
        assert_eq!(hedges("a"), 10);
        (0..99).for_each(|_| states.count_query("a"));
        assert_eq!(hedges("a"), 9);
        (0..100_000).for_each(|_| states.count_query("a"));
        assert_eq!(hedges("a"), 10, "unused credit is limited");
        assert_eq!(hedges("b"), 10, "each server has its own credit");
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_follows_the_latencies_within_bounds() {
        let states = ServerStates::default();
        assert_eq!(states.hedge_delay("a"), DEFAULT_HEDGE_DELAY);
        for (latency, delay) in [(1, 50), (300, 300), (60_000, 5000)] {
            (0..64).for_each(|_| states.record_success("a", Duration::from_millis(latency)));
            assert_eq!(states.hedge_delay("a"), Duration::from_millis(delay), "{latency}");
        }
        assert_eq!(states.hedge_delay("b"), DEFAULT_HEDGE_DELAY, "each server has its own");
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_are_not_queried_are_forgotten() {
        let states = ServerStates::default();
        (0..3).for_each(|_| states.record_failure("a"));
        assert!(!states.allows("a") && states.allows("b"));
        tokio::time::advance(RETENTION / 2).await;
        assert!(states.allows("b"));
        tokio::time::advance(RETENTION / 2).await;
        assert!(states.allows("c"));
        let known: Vec<_> = states.servers().0.keys().cloned().collect();
        assert!(known.len() == 2 && !known.contains(&"a".to_owned()), "{known:?}");
    }
}
