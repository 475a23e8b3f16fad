//! Scrapes all instances of an app in parallel and merges their metrics into one response.
//!
//! A failed instance does not fail the scrape: the response contains a series with the reason, and
//! the metrics of the other instances. The merge is complete, and its length known, before the
//! first byte is sent, so a scraper never receives a partial response with status 200.
//!
//! This module does not know bindings or URLs. [`ScrapeOptions`](crate::domain::ScrapeOptions) has
//! the overrides of a binding, and [`ScrapeRequest`] has the parameters of the scraper's request.

mod buffer;
mod client;
mod external;
mod failure;
mod fan_out;
mod fetch;
mod headers;
mod history;
mod http2;
mod inflate;
mod memory_budget;
mod metrics;
mod negotiated;
mod report;
mod request;
mod target;
mod timeouts;

pub use client::ScrapeClient;
pub use external::{ExporterMetrics, ExporterTargets, Exporters};
pub use failure::{FailureReason, ScrapeFailure};
pub use fan_out::InstanceScrape;
pub use headers::forwarded_headers;
pub use history::{LastScrape, ScrapeHistory};
pub use memory_budget::{MemoryBudget, MemoryBudgetMetrics, Reservation, ScrapeError};
pub use metrics::ScrapeMetrics;
pub use negotiated::NegotiatedFormats;
pub use report::OwnSeries;
pub use target::{ScrapeTarget, SecretScope, WEB, targets};
pub use timeouts::ScrapeTimeouts;

use crate::domain::MetricsPath;
use awc::http::header::{HeaderName, HeaderValue};
use exposition::{AddedLabels, Format, Reader};
pub use exposition::{CompressedMerge, Merge};
use external::{ExporterScrape, UnfilledExporter};
use tokio::time::Instant;

/// Header with the ids of all Scrapebroker processes that a scrape passed through; used to reject
/// loops.
pub const VIA: &str = "x-scrapebroker-via";

/// Parameters of one scraper's request that do not depend on the app.
#[derive(Clone, Debug)]
pub struct ScrapeRequest {
    /// Deadline for the responses of all instances.
    pub deadline: Instant,
    /// Format of the response, and the formats that instances are requested to send.
    pub negotiated: NegotiatedFormats,
    /// Path for this request; overrides the binding's path.
    pub metric_path: Option<MetricsPath>,
    /// Query parameters for the instances, as percent-encoded `name=value` pairs.
    pub query: Vec<String>,
    /// The scraper's headers that are forwarded to instances; see [`forwarded_headers`].
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// X-Forwarded-For of the requests to instances.
    pub forwarded_for: Option<HeaderValue>,
    /// Scheme of Scrapebroker's public address, for X-Forwarded-Proto.
    pub public_scheme: &'static str,
    /// Value of the [`VIA`] header, including the id of this process.
    pub via: String,
    /// Which of Scrapebroker's own series the response contains.
    pub series: OwnSeries,
}

/// ScrapeLimits of one scraper's request.
#[derive(Clone, Copy, Debug)]
pub struct ScrapeLimits {
    /// Instances that are scraped in parallel.
    pub concurrency: usize,
    /// Maximum size of an instance's body after decompression, bytes.
    pub max_instance_body: u64,
    /// Maximum size of the response before compression, bytes.
    pub max_response: u64,
    /// ScrapeLimits on the content of one body.
    pub exposition: exposition::Limits,
}

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

/// Targets of one scrape.
pub struct ScrapePlan {
    pub instances: Vec<ScrapeTarget>,
    pub externals: ExporterTargets,
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

/// Scrapes all targets of `plan` and merges the results once memory is reserved.
///
/// # Errors
///
/// Memory was not available in time, the bodies need more memory than the budget has, or no
/// connection was free for an instance and no other target returned metrics.
pub async fn scrape(
    client: &ScrapeClient,
    plan: ScrapePlan,
    request: &ScrapeRequest,
    limits: &ScrapeLimits,
    metrics: &ScrapeMetrics,
    history: &ScrapeHistory,
    budget: &MemoryBudget,
) -> Result<ScrapeResponse, ScrapeError> {
    let started = Instant::now();
    let memory = budget.reserve(history.expected(&plan));
    // A reservation that comes later leaves the instances too little time.
    let latest = request.deadline - request.deadline.saturating_duration_since(started) / 4;
    let attempt = || fan_out::fan_out(client, &plan, request, limits, &memory);
    let mut outcomes = memory.run(latest, attempt).await?;
    if fan_out::lacked_connections(&outcomes) {
        client.count_refused();
        return Err(ScrapeError::NoConnection { limit: client.max_connections() });
    }
    let ScrapePlan { instances, externals } = plan;
    let of_externals = outcomes.split_off(instances.len().min(outcomes.len()));
    let scraped = fan_out::scraped(instances, outcomes);
    metrics.observe(&scraped, started.elapsed().as_secs_f64());
    let (externals, unfilled) = externals.scraped(of_externals);
    history.record(&scraped, &externals, &request.negotiated);
    let response = merge(scraped, externals, &unfilled, request, memory);
    metrics.observe_merge(&response.merge.stats());
    Ok(response)
}

fn merge(
    scraped: Vec<InstanceScrape>,
    externals: Vec<ExporterScrape>,
    unfilled: &[UnfilledExporter],
    request: &ScrapeRequest,
    memory: Reservation,
) -> ScrapeResponse {
    let own = report::render(&scraped, &externals, unfilled, request.series);
    let instance_count = scraped.len();
    let mut failures = Vec::new();
    let mut bodies = Vec::with_capacity(instance_count + externals.len() + 1);
    for one in scraped {
        match one.result {
            Ok(body) => bodies.push(body),
            Err(failure) => failures.push(FailedInstance { name: name(&one.target), failure }),
        }
    }
    let mut exporter_failures: Vec<_> =
        unfilled.iter().map(|one| format!("{}: {}", one.exporter, one.why)).collect();
    let instances_succeeded = bodies.len();
    for one in externals {
        match one.result {
            Ok(body) => bodies.push(body),
            Err(failure) => exporter_failures.push(format!("{}: {failure}", one.target.exporter)),
        }
    }
    let exporters_succeeded = bodies.len() - instances_succeeded;
    // Scrapebroker's own series are well-formed by construction and small, so no limit applies.
    let no_limits = exposition::Limits {
        max_line: usize::MAX,
        max_samples: 0,
        max_families: usize::MAX,
        max_labels: usize::MAX,
    };
    let target = request.negotiated.target();
    let reader = Reader::new(target, no_limits);
    match reader.parse(own.into_bytes(), Format::Text004, AddedLabels::new([])) {
        // Scrapebroker's series take precedence over series of the app with the same name.
        Ok(own) => bodies.push(own.preferred()),
        Err(error) => tracing::error!(%error, "own series are not well-formed"),
    }
    ScrapeResponse {
        merge: Merge::new(target, bodies),
        memory,
        failures,
        instances: instance_count,
        exporter_failures,
        exporters_succeeded,
    }
}

fn name(target: &ScrapeTarget) -> String {
    let endpoint = &target.endpoint;
    match &endpoint.index {
        Some(index) => format!("{}/{index} at {}", endpoint.process_type, endpoint.address),
        None => format!("{} at {}", endpoint.process_type, endpoint.address),
    }
}
