//! The response to a scraper: the merged bodies, and the failures.

use super::{
    failure::{FailureReason, ScrapeFailure},
    memory_budget::Reservation,
    outcome::ScrapedTarget,
    plan::{TargetKind, UnfilledExporter},
    report,
    request::ScrapeRequest,
};
use crate::discovery::Endpoint;
use exposition::{AddedLabels, Format, IndexedBody, Merge, OutputFormat, Reader};

/// Result of a scrape: the merged metrics and the failures.
pub struct ScrapeResponse {
    pub merge: Merge,
    /// Memory of the bodies in `merge`; must be dropped after `merge`.
    pub memory: Reservation,
    pub failures: Vec<FailedInstance>,
    pub instances: usize,
    /// Failures of external exporters, as `name: reason`.
    pub exporter_failures: Vec<String>,
    /// Number of external exporters that returned metrics.
    pub exporters_succeeded: usize,
}

/// A failed instance, for error texts.
#[derive(Clone, Debug)]
pub struct FailedInstance {
    /// As in `web/0 at 10.0.0.1:61001`.
    pub name: String,
    pub failure: ScrapeFailure,
}

impl ScrapeResponse {
    /// Number of instances that returned metrics.
    pub fn succeeded(&self) -> usize {
        self.instances - self.failures.len()
    }

    /// Whether at least one instance failed and all failures have this reason.
    pub fn all_failed_with(&self, reason: FailureReason) -> bool {
        !self.failures.is_empty() && self.failures.iter().all(|one| one.failure.reason == reason)
    }
}

/// Merges the bodies, and renders Scrapebroker's own series.
pub(super) fn merge(
    scraped: Vec<ScrapedTarget>,
    unfilled: &[UnfilledExporter],
    request: &ScrapeRequest,
    memory: Reservation,
) -> ScrapeResponse {
    let format = request.negotiated.target();
    let own = own_series(report::render(&scraped, unfilled, request.series), format);
    let (mut instances, mut exporters_succeeded, mut failures) = (0, 0, Vec::new());
    let mut exporter_failures: Vec<_> = unfilled
        .iter()
        .map(|UnfilledExporter { exporter, why }| format!("{}: {why}", exporter.exporter))
        .collect();
    let mut bodies = Vec::with_capacity(scraped.len() + 1);
    for ScrapedTarget { target, outcome } in scraped {
        match (&target.kind, outcome.result) {
            (TargetKind::Instance(_), Ok(body)) => {
                instances += 1;
                bodies.push(body);
            }
            (TargetKind::Instance(endpoint), Err(failure)) => {
                instances += 1;
                failures.push(FailedInstance { name: instance_name(endpoint), failure });
            }
            (TargetKind::Exporter(_), Ok(body)) => {
                exporters_succeeded += 1;
                bodies.push(body);
            }
            (TargetKind::Exporter(one), Err(failure)) => {
                exporter_failures.push(format!("{}: {failure}", one.exporter));
            }
        }
    }
    bodies.extend(own);
    let merge = Merge::new(format, bodies);
    ScrapeResponse { merge, memory, failures, instances, exporter_failures, exporters_succeeded }
}

/// Scrapebroker's own series as a body that takes precedence over series of the app with the same
/// name.
fn own_series(text: String, format: OutputFormat) -> Option<IndexedBody> {
    // They are well-formed by construction and small, so no limit applies.
    let no_limits = exposition::Limits {
        max_line: usize::MAX,
        max_samples: 0,
        max_families: usize::MAX,
        max_labels: usize::MAX,
    };
    let reader = Reader::new(format, no_limits);
    match reader.parse(text.into_bytes(), Format::Text004, AddedLabels::new([])) {
        Ok(own) => Some(own.preferred()),
        Err(error) => {
            tracing::error!(%error, "own series are not well-formed");
            None
        }
    }
}

/// For example `web/0 at 10.0.0.1:61001`.
pub(super) fn instance_name(endpoint: &Endpoint) -> String {
    match &endpoint.index {
        Some(index) => format!("{}/{index} at {}", endpoint.process_type, endpoint.address),
        None => format!("{} at {}", endpoint.process_type, endpoint.address),
    }
}
