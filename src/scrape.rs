//! Scrapes all instances of an app in parallel and merges their metrics into one response.
//!
//! A failed instance does not fail the scrape: the response contains a series with the reason, and
//! the metrics of the other instances. The merge is complete, and its length known, before the
//! first byte is sent, so a scraper never receives a partial response with status 200.
//!
//! ```text
//! ScrapeRequest ─► instances, exporters ─► ScrapePlan ─► fan_out ─► ScrapedTarget ─► answer
//!                                                        │
//!                             fetch (send ─► client) ─► body
//! ```
//!
//! Modules import only modules below them: request and plan; client, send, fetch, body and fan_out;
//! outcome; history, metrics, report, answer and inspect. `explanation` says what each failure
//! means.
//!
//! This module does not know bindings or URLs. [`ScrapeOptions`](crate::domain::ScrapeOptions) has
//! the overrides of a binding, and [`ScrapeRequest`] has the parameters of the scraper's request.

mod answer;
mod body;
mod buffer;
mod client;
mod explanation;
mod exporters;
mod failure;
mod fan_out;
mod fetch;
mod headers;
mod history;
mod http2;
mod inflate;
mod inspect;
mod instances;
mod memory_budget;
mod metrics;
mod outcome;
mod plan;
mod report;
mod request;
mod scraped_by;
mod send;

pub use answer::{FailedInstance, ScrapeResponse};
pub use client::ScrapeClient;
pub use explanation::{Explanation, Platform, explanations};
pub use exporters::Exporters;
pub use exposition::{CompressedMerge, Merge};
pub use failure::{FailureReason, ScrapeError, ScrapeFailure};
pub use headers::forwarded_headers;
pub use history::{AppCount, AppSummary, LastScrape, ScrapeHistory, ScrapePoint, ScrapeTotals};
pub use inspect::{Inspected, InspectedInstance};
pub use instances::targets;
pub use memory_budget::{MemoryBudget, MemoryBudgetMetrics, Reservation};
pub use metrics::{ScrapeMetrics, merge_changes};
pub use plan::{ScrapePlan, ScrapeTarget};
pub use request::{NegotiatedFormats, OwnSeries, ScrapeLimits, ScrapeRequest, ScrapeTimeouts, VIA};
pub use scraped_by::{ScrapedBy, ScraperRole};

use fan_out::fan_out;
use fetch::Fetcher;
use outcome::{ScrapedTarget, lacked_connections};
use plan::UnfilledExporter;
use std::sync::Arc;
use tokio::time::Instant;

/// Scrapes apps. All scrapes share the limits, the metrics, the history and the memory.
#[derive(Debug)]
pub struct Scrapes {
    pub limits: ScrapeLimits,
    pub metrics: Arc<ScrapeMetrics>,
    pub history: Arc<ScrapeHistory>,
    /// Memory budget for the bodies of all scrapes.
    pub budget: MemoryBudget,
}

/// The outcomes of all targets of a plan.
struct CompletedScrape {
    targets: Vec<ScrapedTarget>,
    unfilled: Vec<UnfilledExporter>,
    /// Memory of the bodies; must be dropped after them.
    memory: Reservation,
}

impl Scrapes {
    /// Scrapes all targets of `plan` and merges the results once memory is reserved.
    ///
    /// # Errors
    ///
    /// Memory was not available in time, the bodies need more memory than the budget has, or no
    /// connection was free for an instance and no other target returned metrics.
    pub async fn scrape(
        &self,
        client: &ScrapeClient,
        plan: ScrapePlan,
        request: &ScrapeRequest,
    ) -> Result<ScrapeResponse, ScrapeError> {
        let CompletedScrape { targets, unfilled, memory } =
            self.scrape_targets(client, plan, request).await?;
        let response = answer::merge(targets, &unfilled, request, memory);
        self.metrics.observe_merge(&response.merge.stats());
        Ok(response)
    }

    /// Scrapes the instances of `plan` and reports their families and labels. The formats of
    /// `request` must be text or OpenMetrics.
    ///
    /// # Errors
    ///
    /// As for [`Self::scrape`], or other inspections run until the deadline.
    pub async fn inspect(
        &self,
        client: &ScrapeClient,
        plan: ScrapePlan,
        request: &ScrapeRequest,
    ) -> Result<Inspected, ScrapeError> {
        let CompletedScrape { targets, memory, .. } =
            self.scrape_targets(client, plan, request).await?;
        let inspected = inspect::inspect(targets, memory, request).await?;
        self.metrics.observe_merge(&inspected.stats);
        Ok(inspected)
    }

    /// Scrapes all targets of `plan` and records the outcomes.
    async fn scrape_targets(
        &self,
        client: &ScrapeClient,
        plan: ScrapePlan,
        request: &ScrapeRequest,
    ) -> Result<CompletedScrape, ScrapeError> {
        let started = Instant::now();
        let memory = self.budget.reserve(self.history.expected(&plan));
        // A reservation that comes later leaves the instances too little time.
        let latest = request.deadline - request.deadline.saturating_duration_since(started) / 4;
        let fetcher = Fetcher { client, request, limits: &self.limits, reservation: &memory };
        let outcomes = memory.run(latest, || fan_out(fetcher, &plan)).await?;
        if lacked_connections(&outcomes) {
            client.count_refused();
            return Err(ScrapeError::NoConnection { limit: client.max_connections() });
        }
        let ScrapePlan { targets, unfilled } = plan;
        let targets = targets.into_iter().zip(outcomes);
        let targets: Vec<_> =
            targets.map(|(target, outcome)| ScrapedTarget { target, outcome }).collect();
        self.metrics.observe(&targets, started.elapsed().as_secs_f64());
        self.history.record(&targets, request);
        Ok(CompletedScrape { targets, unfilled, memory })
    }
}
