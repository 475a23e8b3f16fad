//! Locates, probes and selects the replicas of a pool in the background.

use super::{
    Pool,
    health::{Diagnosis, Health, HealthHistory, ProbeResult, diagnose},
    located::{Located, MAX_REPLICAS},
    probe::Probe,
    snapshot::{PoolReplica, PoolSnapshot},
    strategy::{Candidate, Selection, Strategy},
    unix_time,
};
use crate::query::{
    Locator, PrometheusClient, Server, Upstream, gaps::GapFinder, replica_api::ReplicaApi,
};
use futures_util::{FutureExt, future::join_all};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// Added to the reason of a replica whose measurement did not arrive in time.
const LATE: &str =
    "; its metrics do not arrive in time, so its history is that of an earlier probe";
/// Minimum pause between two selections that are caused by failures.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the snapshot of a pool current.
pub struct PoolMonitor {
    pool: Pool,
    client: PrometheusClient,
    health: HashMap<Arc<str>, HealthHistory>,
    /// Number of replicas that were ignored at the last selection.
    dropped: usize,
}

impl PoolMonitor {
    pub fn new(pool: Pool, client: PrometheusClient) -> Self {
        Self { pool, client, health: HashMap::new(), dropped: 0 }
    }

    /// Runs until `shutdown`.
    pub async fn run(mut self, locators: Vec<Box<dyn Locator>>, shutdown: CancellationToken) {
        let every = self.pool.settings().selection_interval;
        let located = Located::new(&self.pool.settings().name, &locators);
        let locating = locators.into_iter().enumerate();
        let locating = locating.map(|(index, it)| located.run(index, it, every).boxed_local());
        let finder = GapFinder::new(self.pool.clone(), self.client.clone());
        let selecting = self.select_again(&located);
        let work = futures_util::future::join3(join_all(locating), selecting, finder.run());
        shutdown.run_until_cancelled(work).await;
    }

    async fn select_again(&mut self, located: &Located) {
        let every = self.pool.settings().selection_interval;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut opened = self.client.states.opened();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = located.changed.notified() => {}
                // The sender lives as long as the client.
                Ok(()) = opened.changed() => {}
            }
            self.select(located).await;
            sleep(MIN_PAUSE.min(every)).await;
        }
    }

    async fn select(&mut self, located: &Located) {
        let (servers, dropped) = located.servers();
        if dropped > 0 && dropped != self.dropped {
            let (pool, max) = (&self.pool.settings().name, MAX_REPLICAS);
            tracing::warn!(pool, max, dropped, "the pool has too many replicas; some are ignored");
        }
        self.dropped = dropped;
        let upstream = self.pool.upstream(Vec::new(), String::new());
        let mut results = self.probe(&upstream, &servers).await;
        self.keep_measurements(&servers, &mut results);
        let diagnoses = diagnose(&results);
        let probed = servers.into_iter().zip(results).zip(diagnoses);
        let probed: Vec<_> = probed.map(|((server, result), it)| (server, result, it)).collect();
        let health = probed.iter().map(|(server, _, it)| (Arc::clone(&server.url), it.health));
        self.record_health(health.collect());
        let snapshot = self.snapshot(probed, located);
        self.pool.publish(snapshot);
    }

    async fn probe(&self, upstream: &Upstream, servers: &[Server]) -> Vec<ProbeResult> {
        let minimum_history = match self.pool.settings().strategy {
            Strategy::MinimumHistory(history) => Some(history),
            Strategy::SingleMostData | Strategy::Random => None,
        };
        let probes = servers.iter().map(|server| async move {
            let api = ReplicaApi { client: &self.client, upstream, server };
            Probe { api, minimum_history }.run().await
        });
        join_all(probes).await
    }

    /// Completes late measurements with the values of the last selection.
    fn keep_measurements(&self, servers: &[Server], results: &mut [ProbeResult]) {
        let before = self.pool.snapshot();
        for (server, result) in servers.iter().zip(results) {
            let known = before.replicas.iter().find(|it| it.server.url == server.url);
            let measurement = std::mem::take(&mut result.measurement);
            result.measurement = measurement.or_earlier(known.map(|it| &it.measurement));
        }
    }

    fn record_health(&mut self, found: HashMap<Arc<str>, Health>) {
        self.health.retain(|url, _| found.contains_key(url));
        for (url, found) in found {
            let Some(history) = self.health.get_mut(&url) else {
                self.health.insert(url, HealthHistory::new(found));
                continue;
            };
            if let Some(before) = history.record(found) {
                let (pool, replica) = (&self.pool.settings().name, &*url);
                tracing::info!(pool, replica, %before, now = %found, "health of a replica changed");
            }
        }
    }

    fn snapshot(
        &self,
        probed: Vec<(Server, ProbeResult, Diagnosis)>,
        located: &Located,
    ) -> PoolSnapshot {
        let before = self.pool.snapshot();
        let before: BTreeSet<&str> = before.selected().iter().map(|it| &*it.server.url).collect();
        let now = unix_time().as_secs_f64();
        let candidate = |(server, result, found): &(Server, ProbeResult, Diagnosis)| Candidate {
            health: self.health.get(&server.url).map_or(found.health, HealthHistory::current),
            history: result.measurement.history(now),
            samples_appended: result.measurement.samples_appended,
            was_selected: before.contains(&*server.url),
        };
        let candidates: Vec<_> = probed.iter().map(candidate).collect();
        let strategy = self.pool.settings().strategy;
        let Selection { order, selected, is_fallback } = strategy.select(&candidates);
        let mut probed: Vec<_> = probed.into_iter().map(Some).collect();
        let replica = |(position, index): (usize, usize)| {
            let (server, result, found) = probed.get_mut(index)?.take()?;
            let candidate = candidates.get(index)?;
            let is_selected = position < selected;
            let reason = reason(strategy, candidate, &found, is_selected, is_fallback);
            let state = self.client.states.server(self.pool.external_url(), &server.url);
            let (health, measurement) = (candidate.health, result.measurement);
            let late = if measurement.is_late { LATE } else { "" };
            let reason = format!("{reason}{late}");
            Some(PoolReplica { server, state, health, reason, measurement })
        };
        PoolSnapshot {
            replicas: order.into_iter().enumerate().filter_map(replica).collect(),
            selected,
            is_fallback,
            locators: located.statuses(),
            at: Some(Instant::now()),
        }
    }
}

/// Why a replica is selected or not.
fn reason(
    strategy: Strategy,
    candidate: &Candidate,
    found: &Diagnosis,
    is_selected: bool,
    is_fallback: bool,
) -> String {
    if found.health == Health::Healthy && candidate.health != Health::Healthy {
        return "the last probe succeeded, and one more is needed".to_owned();
    }
    if !found.reason.is_empty() {
        let last = if found.health == candidate.health { "" } else { "last probe: " };
        let anyway = if is_selected { "; selected because no replica is better" } else { "" };
        return format!("{last}{}{anyway}", found.reason);
    }
    let text = match (strategy, is_selected) {
        (Strategy::SingleMostData, true) => "it has the most data",
        (Strategy::SingleMostData, false) => "another replica has more data, or as much",
        (Strategy::MinimumHistory(_), true) if is_fallback => {
            "no replica has the minimum history, and this one has the longest"
        }
        (Strategy::MinimumHistory(_), true) => "it has the minimum history",
        (Strategy::MinimumHistory(_), false) => "its history is shorter than the minimum",
        (Strategy::Random, true) => "it is healthy",
        (Strategy::Random, false) => "it is not healthy",
    };
    text.to_owned()
}
