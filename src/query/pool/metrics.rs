//! Metrics of pools. Labels are bounded: pools by the configuration and by the number of provisioned
//! instances, replicas by the pool's limit.

use super::{Health, Pool};
use crate::{
    query::{BreakerState, InstancePools, gaps::Outcome, server_state::LATENCY_BUCKETS},
    telemetry::metrics::{Label, encode_families, register},
};
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::Histogram,
    },
    registry::Registry,
};
use std::{fmt, time::Duration};

/// Values of the label `code`: classes of the status, or no response.
const CODES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "none"];
/// Values of the label `type`.
const AFFINITIES: [&str; 2] = ["cookies", "source-ip"];
/// Values of the label `result`.
const RESULTS: [&str; 3] = ["other_replica", "several_replicas", "incomplete"];

/// The name of a pool.
type PoolLabel = Label<String>;

/// The name of a pool, and another label.
type PoolLabels = [(&'static str, String); 2];

/// Counters of all pools; clones share them.
#[derive(Clone, Debug)]
pub struct PoolMetrics {
    requests: Family<PoolLabels, Counter>,
    duration: Family<PoolLabel, Histogram, fn() -> Histogram>,
    rejected: Family<PoolLabel, Counter>,
    coalesced: Family<PoolLabel, Counter>,
    selections: Family<PoolLabel, Counter>,
    affinity_hits: Family<PoolLabels, Counter>,
    filled: Family<PoolLabels, Counter>,
}

impl PoolMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(LATENCY_BUCKETS);
        Self {
            requests: register(
                registry,
                "scrapebroker_query_pool_requests",
                "Queries of a pool, by class of the status",
                Family::default(),
            ),
            duration: register(
                registry,
                "scrapebroker_query_pool_duration_seconds",
                "Time until the response of a query starts",
                Family::new_with_constructor(histogram),
            ),
            rejected: register(
                registry,
                "scrapebroker_query_pool_rejected",
                "Queries that were rejected because too many were running",
                Family::default(),
            ),
            coalesced: register(
                registry,
                "scrapebroker_query_pool_coalesced",
                "Queries that got the response of an identical query, which was in progress",
                Family::default(),
            ),
            selections: register(
                registry,
                "scrapebroker_query_pool_selections",
                "Times that other replicas were selected",
                Family::default(),
            ),
            affinity_hits: register(
                registry,
                "scrapebroker_query_pool_affinity_hits",
                "Queries that were sent to the replica that their client used before, by type of affinity",
                Family::default(),
            ),
            filled: register(
                registry,
                "scrapebroker_query_pool_gaps",
                "Queries that read data that the preferred replica lacks, by what they got: all data from another one or from several, or incomplete data and a warning",
                Family::default(),
            ),
        }
    }

    pub(super) fn responded(&self, pool: &str, status: Option<u16>, latency: Duration) {
        let code = match status {
            Some(..300) => "2xx",
            Some(..400) => "3xx",
            Some(..500) => "4xx",
            Some(_) => "5xx",
            None => "none",
        };
        self.requests.get_or_create(&labels(pool, "code", code)).inc();
        self.duration.get_or_create(&label(pool)).observe(latency.as_secs_f64());
    }

    pub(super) fn rejected(&self, pool: &str) {
        self.rejected.get_or_create(&label(pool)).inc();
    }

    pub(super) fn coalesced(&self, pool: &str) {
        self.coalesced.get_or_create(&label(pool)).inc();
    }

    pub(super) fn selected(&self, pool: &str) {
        self.selections.get_or_create(&label(pool)).inc();
    }

    pub(super) fn affinity_hit(&self, pool: &str, kind: &'static str) {
        self.affinity_hits.get_or_create(&labels(pool, "type", kind)).inc();
    }

    pub(super) fn filled(&self, pool: &str, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Complete => "other_replica",
            Outcome::Combined => "several_replicas",
            Outcome::Incomplete => "incomplete",
        };
        self.filled.get_or_create(&labels(pool, "result", outcome)).inc();
    }

    /// Adds the series of a new pool, because increases of a counter count only from its first value.
    pub(super) fn add(&self, pool: &str) {
        let label = label(pool);
        drop(self.duration.get_or_create(&label));
        for family in [&self.rejected, &self.coalesced, &self.selections] {
            drop(family.get_or_create(&label));
        }
        for code in CODES {
            drop(self.requests.get_or_create(&labels(pool, "code", code)));
        }
        for kind in AFFINITIES {
            drop(self.affinity_hits.get_or_create(&labels(pool, "type", kind)));
        }
        for result in RESULTS {
            drop(self.filled.get_or_create(&labels(pool, "result", result)));
        }
    }

    /// Removes the series of a pool that does not exist any more.
    pub(super) fn remove(&self, pool: &str) {
        let label = label(pool);
        self.duration.remove(&label);
        for family in [&self.rejected, &self.coalesced, &self.selections] {
            family.remove(&label);
        }
        for code in CODES {
            self.requests.remove(&labels(pool, "code", code));
        }
        for kind in AFFINITIES {
            self.affinity_hits.remove(&labels(pool, "type", kind));
        }
        for result in RESULTS {
            self.filled.remove(&labels(pool, "result", result));
        }
    }

    /// Number of selections of a pool.
    pub fn selections(&self, pool: &str) -> u64 {
        self.selections.get(&label(pool)).map_or(0, |it| it.get())
    }

    /// Number of affinity hits of a pool.
    pub fn affinity_hits(&self, pool: &str, kind: &'static str) -> u64 {
        self.affinity_hits.get(&labels(pool, "type", kind)).map_or(0, |it| it.get())
    }
}

fn label(pool: &str) -> PoolLabel {
    [("pool", pool.to_owned())]
}

fn labels(pool: &str, name: &'static str, value: &str) -> PoolLabels {
    [("pool", pool.to_owned()), (name, value.to_owned())]
}

/// Metrics of the replicas and locators of all pools, read at each scrape.
#[derive(Debug)]
pub struct PoolsCollector {
    pub pools: Vec<Pool>,
    pub instance_pools: InstancePools,
}

impl Collector for PoolsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        let instance_pools = self.instance_pools.all();
        let pools: Vec<_> = self.pools.iter().chain(instance_pools.values()).collect();
        let snapshots = pools.iter().map(|it| (&*it.settings().name, it.snapshot()));
        let snapshots: Vec<_> = snapshots.collect();
        let replicas: Vec<_> = snapshots
            .iter()
            .flat_map(|(pool, snapshot)| snapshot.replicas.iter().map(move |it| (*pool, it)))
            .collect();
        let statuses = replicas.iter().map(|(_, it)| it.state.status());
        let statuses: Vec<_> = statuses.collect();
        let of_replica = |pool: &str, name: &str| labels(pool, "replica", name);
        let each = || replicas.iter().map(|(pool, it)| of_replica(pool, &it.server.name));
        let gauges = |values: Vec<u64>| each().zip(values.into_iter().map(ConstGauge::new));
        let counters = |values: Vec<u64>| each().zip(values.into_iter().map(ConstCounter::new));

        let healthy = replicas.iter().map(|(_, it)| u64::from(it.health == Health::Healthy));
        let help = "Whether the replica is healthy (1) or not (0)";
        let name = "scrapebroker_query_replica_healthy";
        encode_families(encoder, name, help, gauges(healthy.collect()))?;

        let healthy = snapshots.iter().map(|(pool, snapshot)| {
            let healthy = snapshot.replicas.iter().filter(|it| it.health == Health::Healthy);
            (label(pool), ConstGauge::new(healthy.count() as u64))
        });
        let help = "Healthy replicas of the pool";
        encode_families(encoder, "scrapebroker_query_pool_healthy_replicas", help, healthy)?;

        let is_selected = snapshots.iter().flat_map(|(_, snapshot)| {
            (0..snapshot.replicas.len()).map(|index| u64::from(index < snapshot.selected))
        });
        let help = "Whether the strategy selects the replica (1) or not (0)";
        let name = "scrapebroker_query_replica_selected";
        encode_families(encoder, name, help, gauges(is_selected.collect()))?;

        let is = |state: BreakerState| {
            statuses.iter().map(move |it| u64::from(it.breaker == state)).collect()
        };
        let open = gauges(is(BreakerState::Open));
        let help =
            "Whether the replica gets no queries because it failed repeatedly (1) or not (0)";
        encode_families(encoder, "scrapebroker_query_replica_breaker_open", help, open)?;

        let half_open = gauges(is(BreakerState::HalfOpen));
        let help = "Whether the replica gets one query as a trial because it failed repeatedly (1) or not (0)";
        encode_families(encoder, "scrapebroker_query_replica_breaker_half_open", help, half_open)?;

        let queries = statuses.iter().map(|it| it.queries).collect();
        let help = "Queries that were sent to the replica";
        encode_families(encoder, "scrapebroker_query_replica_queries", help, counters(queries))?;

        let retries = statuses.iter().map(|it| it.retries).collect();
        let help = "Queries that were sent to the replica because another one failed";
        encode_families(encoder, "scrapebroker_query_replica_retries", help, counters(retries))?;

        let hedges = statuses.iter().map(|it| it.hedges).collect();
        let help = "Queries that were sent to the replica as well because another one was slow";
        encode_families(encoder, "scrapebroker_query_replica_hedges", help, counters(hedges))?;

        let latencies = each().zip(replicas.iter().map(|(_, it)| it.state.latencies().clone()));
        let help = "Time until the response of the replica starts";
        let name = "scrapebroker_query_replica_duration_seconds";
        encode_families(encoder, name, help, latencies)?;

        let failures = statuses.iter().map(|it| it.failures).collect();
        let help = "Queries that the replica failed to respond to";
        encode_families(encoder, "scrapebroker_query_replica_failures", help, counters(failures))?;

        let known: Vec<_> = pools.iter().map(|it| it.known_gaps()).collect();
        let of_pool = known.iter().zip(&snapshots).flat_map(|(known, (_, snapshot))| {
            snapshot.replicas.iter().map(|it| known.replica(&it.server.url))
        });
        let count = of_pool.map(|it| it.map_or(0, |it| it.known_gaps().count() as u64));
        let help = "Times without the scrapes that other replicas made, which are filled from them";
        encode_families(encoder, "scrapebroker_query_replica_gaps", help, gauges(count.collect()))?;

        let locators = snapshots.iter().flat_map(|(pool, snapshot)| {
            snapshot.locators.iter().map(move |locator| (*pool, locator))
        });
        let ages = locators.map(|(pool, locator)| {
            let age = locator.succeeded.unwrap_or(locator.started).elapsed().as_secs_f64();
            (labels(pool, "locator", &locator.name), ConstGauge::new(age))
        });
        let help = "Time since the last good result of the locator, or since its first call";
        encode_families(encoder, "scrapebroker_query_locator_age_seconds", help, ages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn the_series_of_a_removed_pool_are_gone() {
        let mut registry = Registry::default();
        let metrics = PoolMetrics::register(&mut registry);
        for pool in ["gone", "kept"] {
            metrics.add(pool);
            for status in [Some(200), Some(302), Some(404), Some(503), None] {
                metrics.responded(pool, status, Duration::ZERO);
            }
            metrics.rejected(pool);
            metrics.coalesced(pool);
            metrics.selected(pool);
            AFFINITIES.iter().for_each(|kind| metrics.affinity_hit(pool, kind));
            for outcome in [Outcome::Complete, Outcome::Combined, Outcome::Incomplete] {
                metrics.filled(pool, outcome);
            }
        }
        let text = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let of_kept = |text: &str| text.matches("\"kept\"").count();
        let before = text();
        assert_eq!(before.matches("\"gone\"").count(), of_kept(&before));
        // All of them are there from the start.
        metrics.add("new");
        assert_eq!(text().matches("\"new\"").count(), of_kept(&before));
        metrics.remove("gone");
        assert!(!text().contains("\"gone\""), "{}", text());
        assert_eq!(of_kept(&text()), of_kept(&before));
    }
}
