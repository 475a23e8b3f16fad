//! Metrics of the route table and the bindings. They are collected at each scrape.

use crate::{
    broker::BindingTable,
    discovery::{RouteTable, SourceStatus},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use std::fmt;

#[derive(Debug)]
pub(super) struct RouteMetrics(RouteTable);

impl RouteMetrics {
    pub(super) fn register(registry: &mut Registry, table: RouteTable) {
        registry.register_collector(Box::new(Self(table)));
    }
}

impl Collector for RouteMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let snapshot = self.0.snapshot();
        let sources: Vec<_> = snapshot.sources().collect();
        // Names and HELP texts are those of promfetcher.
        if let Some(age) = snapshot.age() {
            let gauge = ConstGauge::new(age.as_secs_f64());
            let help = "Age of the newest good route table, in seconds";
            gauge.encode(encoder.encode_descriptor(
                "promfetch_latest_time_scrape_route",
                help,
                None,
                gauge.metric_type(),
            )?)?;
        }
        let failed = ConstCounter::new(sources.iter().map(|source| source.failed).sum::<u64>());
        failed.encode(encoder.encode_descriptor(
            "promfetch_scrape_route_failed",
            "Failed polls of sources of routes, and connections to them that were lost",
            None,
            failed.metric_type(),
        )?)?;

        let (apps, instances) = snapshot.size();
        for (name, help, value) in [
            ("scrapebroker_apps", "Apps in the route table", apps),
            ("scrapebroker_instances", "Instances in the route table", instances),
        ] {
            let gauge = ConstGauge::new(value as u64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
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
        let gauge = ConstGauge::new(age.as_secs_f64());
        gauge.encode(encoder.encode_descriptor(
            "scrapebroker_bindings_age_seconds",
            "Time since the active bindings were last read from the database",
            None,
            gauge.metric_type(),
        )?)
    }
}

fn encode_sources(
    encoder: &mut DescriptorEncoder<'_>,
    sources: &[&SourceStatus],
) -> Result<(), fmt::Error> {
    if sources.is_empty() {
        return Ok(());
    }
    let kind = ConstGauge::new(0.0).metric_type();
    let mut ages = encoder.encode_descriptor(
        "scrapebroker_route_source_age_seconds",
        "Since the source's last good answer",
        None,
        kind,
    )?;
    for source in sources {
        if let Some(at) = source.last_answer {
            let labels = [("source", &*source.name)];
            ConstGauge::new(at.elapsed().as_secs_f64()).encode(ages.encode_family(&labels)?)?;
        }
    }
    let mut endpoints = encoder.encode_descriptor(
        "scrapebroker_route_source_endpoints",
        "Endpoints in the source's last good answer, once for each route",
        None,
        kind,
    )?;
    for source in sources {
        let labels = [("source", &*source.name)];
        ConstGauge::new(source.endpoints as u64).encode(endpoints.encode_family(&labels)?)?;
    }
    let mut skipped = encoder.encode_descriptor(
        "scrapebroker_route_source_skipped",
        "Endpoints in the source's last good answer, or messages since the start, that were of no use",
        None,
        kind,
    )?;
    for source in sources {
        let labels = [("source", &*source.name)];
        ConstGauge::new(source.skipped as u64).encode(skipped.encode_family(&labels)?)?;
    }
    let mut failed = encoder.encode_descriptor(
        "scrapebroker_route_source_failed",
        "Failed polls of the source, or connections to it that were lost",
        None,
        ConstCounter::new(0u64).metric_type(),
    )?;
    for source in sources {
        let labels = [("source", &*source.name)];
        ConstCounter::new(source.failed).encode(failed.encode_family(&labels)?)?;
    }
    Ok(())
}
