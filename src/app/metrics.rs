//! Metrics of the route table and the bindings. They are collected at each scrape.

use crate::{
    broker::BindingTable,
    discovery::{RouteTable, Snapshot, SourceStatus},
    telemetry::metrics::{encode_family, encode_metric},
};
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use std::{fmt, time::Duration};

/// Age of the bindings from which on Scrapebroker counts as not up.
const OUTDATED_BINDINGS: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct RouteMetrics {
    pub(super) table: RouteTable,
    /// Adds promfetcher's two metrics.
    pub(super) promfetcher_names: bool,
}

impl RouteMetrics {
    pub(super) fn register(self, registry: &mut Registry) {
        registry.register_collector(Box::new(self));
    }
}

/// Whether Scrapebroker works with current data.
#[derive(Debug)]
pub(super) struct UpMetric {
    pub(super) table: RouteTable,
    pub(super) bound: BindingTable,
    /// `routes.stale_after`
    pub(super) stale_after: Duration,
}

impl UpMetric {
    pub(super) fn register(self, registry: &mut Registry) {
        registry.register_collector(Box::new(self));
    }

    fn is_up(&self) -> bool {
        let snapshot = self.table.snapshot();
        let has_sources = snapshot.sources().next().is_some();
        let is_current = snapshot.age().is_some_and(|age| age <= self.stale_after);
        let has_bindings = self.bound.age().is_some_and(|age| age <= OUTDATED_BINDINGS);
        (is_current || !has_sources) && has_bindings
    }
}

impl Collector for UpMetric {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "1 if the route table and the bindings are current, otherwise 0";
        let up = ConstGauge::new(u64::from(self.is_up()));
        encode_metric(&mut encoder, "scrapebroker_up", help, &up)
    }
}

impl Collector for RouteMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let snapshot = self.table.snapshot();
        let sources: Vec<_> = snapshot.sources().collect();
        if self.promfetcher_names {
            encode_promfetcher(&mut encoder, &snapshot)?;
        }
        let (apps, instances) = snapshot.size();
        for (name, help, value) in [
            ("scrapebroker_apps", "Apps in the route table", apps),
            ("scrapebroker_instances", "Instances in the route table", instances),
        ] {
            encode_metric(&mut encoder, name, help, &ConstGauge::new(value as u64))?;
        }
        encode_sources(&mut encoder, &sources)
    }
}

#[derive(Debug)]
pub(super) struct BindingMetrics(BindingTable);

impl BindingMetrics {
    pub(super) fn register(registry: &mut Registry, bound: BindingTable) {
        registry.register_collector(Box::new(Self(bound)));
    }
}

impl Collector for BindingMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(age) = self.0.age() else { return Ok(()) };
        let help = "Time since the active bindings were last read from the database";
        let age = ConstGauge::new(age.as_secs_f64());
        encode_metric(&mut encoder, "scrapebroker_bindings_age_seconds", help, &age)
    }
}

/// Names and HELP texts are those of promfetcher.
fn encode_promfetcher(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
    if let Some(age) = snapshot.age() {
        let help = "Age of the newest valid route table, in seconds";
        let age = ConstGauge::new(age.as_secs_f64());
        encode_metric(encoder, "promfetch_latest_time_scrape_route", help, &age)?;
    }
    let failed = ConstCounter::new(snapshot.failed_polls());
    let help = "Failed polls of sources of routes, and connections to them that were lost";
    encode_metric(encoder, "promfetch_scrape_route_failed", help, &failed)
}

fn encode_sources(encoder: &mut DescriptorEncoder<'_>, sources: &[&SourceStatus]) -> fmt::Result {
    let ages = sources.iter().filter_map(|source| {
        let age = source.last_answer?.elapsed().as_secs_f64();
        Some((&*source.name, ConstGauge::new(age)))
    });
    encode_family(
        encoder,
        "scrapebroker_route_source_age_seconds",
        "Since the source's last valid response",
        "source",
        ages,
    )?;
    encode_family(
        encoder,
        "scrapebroker_route_source_endpoints",
        "Endpoints in the source's last valid response, once for each route",
        "source",
        sources.iter().map(|source| (&*source.name, ConstGauge::new(source.endpoints as u64))),
    )?;
    encode_family(
        encoder,
        "scrapebroker_route_source_skipped",
        "Endpoints in the source's last valid response, or messages since the start, that were ignored",
        "source",
        sources.iter().map(|source| (&*source.name, ConstGauge::new(source.skipped as u64))),
    )?;
    encode_family(
        encoder,
        "scrapebroker_route_source_failed",
        "Failed polls of the source, or connections to it that were lost",
        "source",
        sources.iter().map(|source| (&*source.name, ConstCounter::new(source.failed))),
    )
}
