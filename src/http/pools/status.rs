//! The status of a pool, as a page and as JSON.

use crate::{
    http::ui::{Layout, format},
    query::{
        BreakerState, Health, LocatorStatus, Pool, PoolMetrics, PoolReplica, PoolSnapshot,
        TimeRange, unix_time,
    },
};
use askama::Template;
use serde::Serialize;
use std::time::{Duration, Instant, SystemTime};

#[derive(Template)]
#[template(path = "pool.html")]
pub(super) struct Page<'a> {
    pub(super) layout: Layout<'a>,
    /// Path of the query page.
    pub(super) graph: &'a str,
    pub(super) status: PoolStatus,
}

#[derive(Debug, Serialize)]
pub(super) struct PoolStatus {
    pool: String,
    version: &'static str,
    uptime_seconds: u64,
    /// Whether at least one replica is ready to respond, even if its data is stale or has gaps.
    usable: bool,
    strategy: String,
    /// Whether no replica fulfils the strategy, so the best one is selected anyway.
    is_fallback: bool,
    selection_interval_seconds: f64,
    selections: u64,
    affinity: Vec<&'static str>,
    replicas: Vec<ReplicaStatus>,
    locators: Vec<LocatorJson>,
    #[serde(skip)]
    why_empty: String,
}

#[derive(Debug, Serialize)]
struct ReplicaStatus {
    name: String,
    url: String,
    selected: bool,
    reason: String,
    health: &'static str,
    breaker: &'static str,
    version: Option<String>,
    uptime_seconds: Option<u64>,
    history_seconds: Option<u64>,
    newest_sample_age_seconds: Option<u64>,
    samples_appended: Option<f64>,
    latency_p50_seconds: Option<f64>,
    latency_p95_seconds: Option<f64>,
    queries: u64,
    failures: u64,
    /// Times without the scrapes that other replicas made.
    gaps: Vec<Gap>,
    gaps_known_since: Option<String>,
    gaps_known_until: Option<String>,
    affinity_clients: usize,
}

#[derive(Debug, Serialize)]
struct Gap {
    start: String,
    /// `None`: it is not over, as far as is known.
    end: Option<String>,
    #[serde(skip)]
    length: Duration,
}

#[derive(Debug, Serialize)]
struct LocatorJson {
    name: String,
    replicas: usize,
    age_seconds: Option<u64>,
    error: Option<String>,
}

impl PoolStatus {
    pub(super) fn new(pool: &Pool, metrics: &PoolMetrics, started: Instant) -> Self {
        let (settings, snapshot) = (pool.settings(), pool.snapshot());
        let PoolSnapshot { replicas, selected, is_fallback, locators, .. } = &*snapshot;
        let replicas = replicas.iter().enumerate();
        let affinity =
            [("cookies", settings.affinity.cookies), ("source-ip", settings.affinity.source_ip)];
        Self {
            pool: settings.name.clone(),
            version: crate::VERSION,
            uptime_seconds: started.elapsed().as_secs(),
            usable: snapshot.is_usable(),
            strategy: settings.strategy.to_string(),
            is_fallback: *is_fallback,
            selection_interval_seconds: settings.selection_interval.as_secs_f64(),
            selections: metrics.selections(&settings.name),
            affinity: affinity.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect(),
            replicas: replicas
                .map(|(index, it)| ReplicaStatus::new(it, index < *selected, pool))
                .collect(),
            locators: locators.iter().map(LocatorJson::new).collect(),
            why_empty: snapshot.why_empty(),
        }
    }
}

impl ReplicaStatus {
    fn new(replica: &PoolReplica, selected: bool, pool: &Pool) -> Self {
        let status = replica.state.status();
        let measured = &replica.measurement;
        let now = unix_time().as_secs_f64();
        let age = |time: Option<f64>| measured.age(time?, now).map(|age| age.as_secs());
        let known = pool.known_gaps();
        let known = known.replica(&replica.server.url);
        let since = known.and_then(|it| it.since);
        let gaps = known.map(|it| it.known_gaps()).into_iter().flatten();
        Self {
            gaps: gaps.map(Gap::new).collect(),
            gaps_known_since: since.map(utc),
            gaps_known_until: known.and_then(|it| it.until).map(utc),
            name: replica.server.name.to_string(),
            url: replica.server.url.to_string(),
            selected,
            reason: replica.reason.clone(),
            health: replica.health.as_str(),
            breaker: status.breaker.as_str(),
            version: measured.version.clone(),
            uptime_seconds: age(measured.started),
            history_seconds: age(measured.oldest_sample),
            newest_sample_age_seconds: age(measured.newest_sample),
            samples_appended: measured.samples_appended,
            latency_p50_seconds: status.median.map(|it| it.as_secs_f64()),
            latency_p95_seconds: status.p95.map(|it| it.as_secs_f64()),
            queries: status.queries,
            failures: status.failures,
            affinity_clients: pool.clients_of(&replica.server.url),
        }
    }
}

impl Gap {
    fn new(gap: TimeRange) -> Self {
        let now = i64::try_from(unix_time().as_millis()).unwrap_or(i64::MAX);
        let is_over = gap.end <= now;
        let length = gap.end.min(now).saturating_sub(gap.start);
        Self {
            start: utc(gap.start),
            end: is_over.then(|| utc(gap.end)),
            length: Duration::from_millis(u64::try_from(length).unwrap_or_default()),
        }
    }
}

/// Seconds as a duration with at most two units.
fn long(seconds: &u64) -> String {
    format::long(&Duration::from_secs(*seconds))
}

/// A time in milliseconds since 1970 as in `2026-01-31T12:00:00Z`.
fn utc(milliseconds: i64) -> String {
    let since_1970 = Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_1970).to_string()
}

impl LocatorJson {
    fn new(status: &LocatorStatus) -> Self {
        Self {
            name: status.name.clone(),
            replicas: status.replicas,
            age_seconds: status.succeeded.map(|at| at.elapsed().as_secs()),
            error: status.error.clone(),
        }
    }
}

/// Texts of the pages.
impl PoolStatus {
    pub(super) fn name(&self) -> &str {
        &self.pool
    }

    pub(super) fn strategy(&self) -> &str {
        &self.strategy
    }

    pub(super) fn is_usable(&self) -> bool {
        self.usable
    }

    pub(super) fn uses_fallback(&self) -> bool {
        self.is_fallback
    }

    pub(super) fn replica_count(&self) -> usize {
        self.replicas.len()
    }

    pub(super) fn healthy(&self) -> usize {
        self.replicas.iter().filter(|it| it.health == Health::Healthy.as_str()).count()
    }

    /// Open circuit breakers, and locators that fail.
    pub(super) fn problems(&self) -> Vec<String> {
        let closed = BreakerState::Closed.as_str();
        let breakers = self.replicas.iter().filter(|it| it.breaker != closed);
        let breakers =
            breakers.map(|it| format!("the circuit breaker of {} is {}", it.name, it.breaker));
        let locators = self.locators.iter().filter_map(|it| {
            Some(format!("the locator {} fails: {}", it.name, it.error.as_ref()?))
        });
        breakers.chain(locators).collect()
    }

    fn milliseconds(&self, seconds: &f64) -> String {
        format!("{:.1} ms", seconds * 1e3)
    }
}

impl ReplicaStatus {
    /// As in `2 gaps, together 3m 10s, the last from 2026-01-31T12:00:00Z to 2026-01-31T12:01:00Z`.
    fn gaps(&self) -> String {
        let Some(last) = self.gaps.last() else {
            return match &self.gaps_known_since {
                Some(since) => format!("none since {since}"),
                None => "unknown".to_owned(),
            };
        };
        let count = self.gaps.len();
        let plural = if count == 1 { "" } else { "s" };
        let all: Duration = self.gaps.iter().map(|it| it.length).sum();
        let all = humantime::format_duration(Duration::from_secs(all.as_secs()));
        let (start, end) = (&last.start, last.end.as_deref().unwrap_or("now"));
        format!("{count} gap{plural}, together {all}, the last from {start} to {end}")
    }
}
