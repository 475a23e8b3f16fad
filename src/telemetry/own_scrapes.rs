//! Metrics of scrapes of Scrapebroker's own metrics.

use super::metrics::register;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{sync::atomic::AtomicU64, time::Instant};

/// A scrape is counted before it is rendered, and its duration is part of the next one.
#[derive(Clone, Debug)]
pub struct OwnScrapeMetrics {
    scrapes: Counter,
    duration: Histogram,
    last_duration: Gauge<f64, AtomicU64>,
}

impl OwnScrapeMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            scrapes: register(
                registry,
                "scrapebroker_exporter_scrapes",
                "Scrapes of Scrapebroker's own metrics",
                Counter::default(),
            ),
            duration: register(
                registry,
                "scrapebroker_exporter_scrape_duration_seconds",
                "Time to collect and render the own metrics",
                Histogram::new([0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0]),
            ),
            last_duration: register(
                registry,
                "scrapebroker_exporter_last_scrape_duration_seconds",
                "Time to collect and render the own metrics in the scrape before",
                Gauge::default(),
            ),
        }
    }

    /// Counts and times the scrape that `render` answers.
    pub fn observe<T>(&self, render: impl FnOnce() -> T) -> T {
        self.scrapes.inc();
        let started = Instant::now();
        let rendered = render();
        let seconds = started.elapsed().as_secs_f64();
        self.duration.observe(seconds);
        self.last_duration.set(seconds);
        rendered
    }
}
