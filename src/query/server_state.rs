//! What is known of one server that queries are sent to: its circuit breaker, its latencies, and how
//! many hedged requests are still allowed.

use super::{
    breaker::{Breaker, BreakerState},
    latency::Latencies,
};
use prometheus_client::metrics::{counter::Counter, histogram::Histogram};
use std::{
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

/// Upper bounds of histograms of latencies, seconds.
pub(super) const LATENCY_BUCKETS: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Queries per hedged request in the long run.
const QUERIES_PER_HEDGE: u32 = 10;
/// Credit for ten hedged requests in a row.
const MAX_HEDGE_CREDIT: u32 = 10 * QUERIES_PER_HEDGE;

/// The state of a server, shared by the queries that are sent to it.
#[derive(Debug)]
pub struct ServerState {
    url: Arc<str>,
    events: Arc<FailureEvents>,
    /// Locked for a few instructions at a time.
    record: Mutex<ServerRecord>,
    latencies: Histogram,
}

#[derive(Debug)]
struct ServerRecord {
    breaker: Breaker,
    latencies: Latencies,
    /// [`QUERIES_PER_HEDGE`] of these allow one hedged request.
    hedge_credit: u32,
    queries: u64,
    retries: u64,
    hedges: u64,
    failures: u64,
    interruptions: u64,
    /// Sum of the latencies.
    latency: Duration,
}

/// Why a server gets a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    First,
    /// Another server failed.
    Retry,
    /// Another server is slow.
    Hedge,
}

/// What is known of a server, for metrics and pages.
#[derive(Clone, Copy, Debug)]
pub struct ServerStatus {
    pub breaker: BreakerState,
    pub queries: u64,
    /// Queries that another server failed to respond to.
    pub retries: u64,
    /// Queries to which another server was slow to respond.
    pub hedges: u64,
    pub failures: u64,
    /// Sum of the latencies of its responses.
    pub latency: Duration,
    pub median: Option<Duration>,
    pub p95: Option<Duration>,
}

/// Failures of all servers.
#[derive(Debug, Default)]
pub(super) struct FailureEvents {
    pub(super) interruptions: AtomicU64,
    pub(super) breakers_opened: Counter,
    /// Changes whenever a breaker opens.
    pub(super) opened: watch::Sender<u64>,
}

impl ServerState {
    pub(super) fn new(url: &Arc<str>, events: &Arc<FailureEvents>) -> Self {
        let record = ServerRecord {
            breaker: Breaker::default(),
            latencies: Latencies::default(),
            hedge_credit: MAX_HEDGE_CREDIT,
            queries: 0,
            retries: 0,
            hedges: 0,
            failures: 0,
            interruptions: 0,
            latency: Duration::ZERO,
        };
        Self {
            url: Arc::clone(url),
            events: Arc::clone(events),
            record: Mutex::new(record),
            latencies: Histogram::new(LATENCY_BUCKETS),
        }
    }

    pub fn status(&self) -> ServerStatus {
        let record = self.record();
        ServerStatus {
            breaker: record.breaker.state(Instant::now()),
            queries: record.queries,
            retries: record.retries,
            hedges: record.hedges,
            failures: record.failures,
            latency: record.latency,
            median: record.latencies.quantile(50),
            p95: record.latencies.quantile(95),
        }
    }

    /// Its latencies since it is known.
    pub(super) fn latencies(&self) -> &Histogram {
        &self.latencies
    }

    /// Whether a query may be sent to the server.
    pub(super) fn allows(&self) -> bool {
        self.record().breaker.allows(Instant::now())
    }

    /// Whether the server is excluded from queries because it failed repeatedly.
    pub(super) fn is_open(&self) -> bool {
        self.record().breaker.is_open()
    }

    /// Times that the server seemed not to run: it may have missed scrapes.
    pub(super) fn interruptions(&self) -> u64 {
        self.record().interruptions
    }

    /// How long a response of the server may take before a second server is queried.
    pub(super) fn hedge_delay(&self) -> Duration {
        let p95 = self.record().latencies.recent_p95();
        p95.unwrap_or(DEFAULT_HEDGE_DELAY).clamp(MIN_HEDGE_DELAY, MAX_HEDGE_DELAY)
    }

    /// Counts a query to the server, which allows a part of a hedged request.
    pub(super) fn count_query(&self, cause: Cause) {
        let mut record = self.record();
        record.queries += 1;
        match cause {
            Cause::First => {}
            Cause::Retry => record.retries += 1,
            Cause::Hedge => record.hedges += 1,
        }
        record.hedge_credit = (record.hedge_credit + 1).min(MAX_HEDGE_CREDIT);
    }

    /// Whether a query that is slow here may be sent to another server too; if so, it is counted.
    pub(super) fn take_hedge(&self) -> bool {
        let mut record = self.record();
        let rest = record.hedge_credit.checked_sub(QUERIES_PER_HEDGE);
        record.hedge_credit = rest.unwrap_or(record.hedge_credit);
        rest.is_some()
    }

    pub(super) fn record_success(&self, latency: Duration) {
        let mut record = self.record();
        record.latencies.record(latency);
        record.latency += latency;
        self.latencies.observe(latency.as_secs_f64());
        let was_open = record.breaker.record_success();
        drop(record);
        if was_open {
            tracing::info!(server = &*self.url, "prometheus server gets queries again");
        }
    }

    /// Records that the server did not respond, or not well.
    pub(super) fn record_failure(&self) {
        self.record_loss(true);
    }

    /// Records that another server responded much earlier. A short pause is no interruption.
    pub(super) fn record_slow(&self) {
        self.record_loss(false);
    }

    fn record_loss(&self, is_interruption: bool) {
        let mut record = self.record();
        record.failures += 1;
        let has_opened = record.breaker.record_failure(Instant::now());
        if is_interruption || has_opened {
            record.interruptions += 1;
            self.events.interruptions.fetch_add(1, Ordering::Relaxed);
        }
        drop(record);
        if has_opened {
            self.events.breakers_opened.inc();
            self.events.opened.send_modify(|opened| *opened += 1);
            tracing::warn!(
                server = &*self.url,
                "prometheus server failed repeatedly; other replicas get its queries"
            );
        }
    }

    fn record(&self) -> MutexGuard<'_, ServerRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerState {
        ServerState::new(&"a".into(), &Arc::default())
    }

    #[test]
    fn a_slow_server_is_interrupted_only_if_it_stays_slow() {
        let server = server();
        server.record_slow();
        server.record_success(Duration::from_millis(1));
        server.record_slow();
        server.record_slow();
        assert_eq!((server.interruptions(), server.status().failures), (0, 3));
        server.record_slow();
        assert_eq!((server.interruptions(), server.status().failures), (1, 4));
        server.record_failure();
        assert_eq!(server.interruptions(), 2);
    }

    #[test]
    fn hedged_requests_are_at_most_a_tenth_of_the_queries_to_a_server() {
        let server = server();
        let hedges = || (0..1000).take_while(|_| server.take_hedge()).count();
        assert_eq!(hedges(), 10);
        (0..99).for_each(|_| server.count_query(Cause::First));
        assert_eq!(hedges(), 9);
        (0..100_000).for_each(|_| server.count_query(Cause::First));
        assert_eq!(hedges(), 10, "unused credit is limited");
    }

    #[test]
    fn the_delay_follows_the_latencies_within_bounds() {
        let server = server();
        assert_eq!(server.hedge_delay(), DEFAULT_HEDGE_DELAY);
        for (latency, delay) in [(1, 50), (300, 300), (60_000, 5000)] {
            (0..64).for_each(|_| server.record_success(Duration::from_millis(latency)));
            assert_eq!(server.hedge_delay(), Duration::from_millis(delay), "{latency}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_names_the_state_of_the_breaker() {
        let server = server();
        let state = || server.status().breaker;
        assert_eq!(state(), BreakerState::Closed);
        (0..3).for_each(|_| server.record_failure());
        assert_eq!((state(), server.events.breakers_opened.get()), (BreakerState::Open, 1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(state(), BreakerState::HalfOpen, "the next query is a trial");
        assert!(server.allows() && !server.allows());
        assert_eq!(state(), BreakerState::HalfOpen, "the trial is in progress");
        server.record_success(Duration::ZERO);
        assert_eq!((state(), server.status().failures), (BreakerState::Closed, 3));
    }
}
