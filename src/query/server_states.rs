//! What is known of the servers that queries are sent to: circuit breakers, latencies, and how many
//! hedged requests are still allowed.

use super::{breaker::Breaker, latency::Latencies};
use crate::telemetry::metrics::{CounterByLabel, register};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Bounds of the delay before a second server is queried as well.
const MIN_HEDGE_DELAY: Duration = Duration::from_millis(50);
const MAX_HEDGE_DELAY: Duration = Duration::from_secs(5);
/// The delay while too few latencies are known.
const DEFAULT_HEDGE_DELAY: Duration = Duration::from_secs(1);

/// Queries per hedged request in the long run.
const QUERIES_PER_HEDGE: u32 = 10;
/// Hedged requests that may be sent in a row.
const MAX_HEDGES_IN_A_ROW: u32 = 10;

/// The state of a server that was not queried for this long is dropped.
const RETENTION: Duration = Duration::from_secs(10 * 60);

/// States of all servers, shared by all workers.
#[derive(Clone, Debug, Default)]
pub struct ServerStates(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    servers: Mutex<Servers>,
    metrics: QueryMetrics,
}

#[derive(Debug)]
struct Servers {
    /// By URL.
    by_url: HashMap<String, ServerState>,
    /// [`QUERIES_PER_HEDGE`] of these allow one hedged request.
    hedge_credit: u32,
}

#[derive(Debug)]
struct ServerState {
    breaker: Breaker,
    latencies: Latencies,
    last_used: Instant,
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
}

impl RetryReason {
    const ALL: [Self; 3] = [Self::Connect, Self::Broken, Self::Status];

    fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Status => "status",
        }
    }
}

impl Default for Servers {
    fn default() -> Self {
        let hedge_credit = QUERIES_PER_HEDGE * MAX_HEDGES_IN_A_ROW;
        Self { by_url: HashMap::new(), hedge_credit }
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
        Self(Arc::new(Shared { servers: Mutex::default(), metrics }))
    }

    /// Whether a query may be sent to the server at `url`.
    pub(super) fn allows(&self, url: &str) -> bool {
        self.servers().server(url).breaker.allows(Instant::now())
    }

    /// Whether the server at `url` is excluded from queries because it failed repeatedly.
    pub(super) fn is_open(&self, url: &str) -> bool {
        let breaker = self.servers().server(url).breaker;
        matches!(breaker, Breaker::Open { .. } | Breaker::HalfOpen { .. })
    }

    /// How long a response of the server at `url` may take before a second server is queried.
    pub(super) fn hedge_delay(&self, url: &str) -> Duration {
        let p95 = self.servers().server(url).latencies.p95();
        p95.unwrap_or(DEFAULT_HEDGE_DELAY).clamp(MIN_HEDGE_DELAY, MAX_HEDGE_DELAY)
    }

    /// Counts a query, which allows a part of a hedged request.
    pub(super) fn count_query(&self) {
        let mut servers = self.servers();
        let max = QUERIES_PER_HEDGE * MAX_HEDGES_IN_A_ROW;
        servers.hedge_credit = (servers.hedge_credit + 1).min(max);
    }

    /// Whether another hedged request is allowed; if so, it is counted.
    pub(super) fn take_hedge(&self) -> bool {
        let mut servers = self.servers();
        match servers.hedge_credit.checked_sub(QUERIES_PER_HEDGE) {
            Some(rest) => {
                servers.hedge_credit = rest;
                true
            }
            None => false,
        }
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
        let was_open = server.breaker.record_success();
        drop(servers);
        if was_open {
            tracing::info!(server = url, "prometheus server gets queries again");
        }
    }

    pub(super) fn record_failure(&self, url: &str) {
        let has_opened = self.servers().server(url).breaker.record_failure(Instant::now());
        if has_opened {
            self.0.metrics.breakers_opened.inc();
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
        if !self.by_url.contains_key(url) {
            // Only servers of existing instances are queried, so new ones are rare.
            self.by_url.retain(|_, it| now.duration_since(it.last_used) < RETENTION);
        }
        let server = self.by_url.entry(url.to_owned()).or_insert_with(|| ServerState {
            breaker: Breaker::default(),
            latencies: Latencies::default(),
            last_used: now,
        });
        server.last_used = now;
        server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn hedged_requests_are_at_most_a_tenth_of_all_queries() {
        let states = ServerStates::default();
        let hedges = |states: &ServerStates| (0..1000).take_while(|_| states.take_hedge()).count();
        assert_eq!(hedges(&states), 10);
        (0..99).for_each(|_| states.count_query());
        assert_eq!(hedges(&states), 9);
        (0..1_000_000).for_each(|_| states.count_query());
        assert_eq!(hedges(&states), 10, "unused ones are not collected for ever");
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
        let known: Vec<_> = states.servers().by_url.keys().cloned().collect();
        assert!(known.len() == 2 && !known.contains(&"a".to_owned()), "{known:?}");
    }
}
