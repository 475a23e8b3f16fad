//! One scraper's request: all instances of an app asked at once, their answers
//! merged into one.
//!
//! Partial failure is data: an instance that does not answer becomes a series
//! that says why, and costs the others nothing. The whole answer is known to
//! be right, and its length known, before its first byte is sent; so a scraper
//! never gets half an answer under a 200.
//!
//! This room does not know bindings or URLs: overrides come in as
//! [`ScrapeOptions`](crate::domain::ScrapeOptions), and what was asked as
//! [`Ask`].

mod budget;
mod buffer;
mod client;
mod connection;
mod deadline;
mod external;
mod failure;
mod fan_out;
mod fetch;
mod headers;
mod http2;
mod inflate;
mod last;
mod metrics;
mod negotiated;
mod report;
mod request;
mod target;
mod wire;

pub use budget::{Budget, BudgetMetrics, Refused, Share};
pub use client::Client;
pub use deadline::Timeouts;
pub use external::{ExporterMetrics, Exporters, Externals, Resolver};
pub use failure::{Failure, Reason};
pub use fan_out::Scraped;
pub use headers::passed_on;
pub use last::{LastScrape, LastScrapes};
pub use metrics::Metrics;
pub use negotiated::Negotiated;
pub use report::Series;
pub use target::{Secrets, Target, WEB, targets};

use crate::domain::MetricsPath;
use awc::http::header::{HeaderName, HeaderValue};
use exposition::{AddedLabels, Format, Reader};
pub use exposition::{CompressedMerge, Merge};
use external::{ScrapedExternal, UnfilledExporter};
use tokio::time::Instant;

/// Names every Scrapebroker that a scrape passed through, so that one which
/// leads back to its beginning can be refused.
pub const VIA: &str = "x-scrapebroker-via";

/// What a scraper asked for, whichever app it was.
#[derive(Clone, Debug)]
pub struct Ask {
    /// When the answer of all instances must be there.
    pub deadline: Instant,
    /// The format of the answer, and what the instances are asked for.
    pub negotiated: Negotiated,
    /// Path for this request, over the binding's.
    pub metric_path: Option<MetricsPath>,
    /// Query parameters for the instances, as `name=value`, percent-encoded.
    pub query: Vec<String>,
    /// The scraper's headers that go on; see [`passed_on`].
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// X-Forwarded-For of the requests to instances.
    pub forwarded_for: Option<HeaderValue>,
    /// Scheme of our public address, for X-Forwarded-Proto.
    pub our_scheme: &'static str,
    /// Value of the [`VIA`] header, our own id included.
    pub via: String,
    /// Which of our own series the answer carries.
    pub series: Series,
}

/// Bounds on one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Instances asked at once.
    pub concurrency: usize,
    /// Largest body of an instance after decompression, bytes.
    pub max_instance_body: u64,
    /// Largest answer before compression, bytes.
    pub max_response: u64,
    /// Bounds on the content of one body.
    pub exposition: exposition::Limits,
}

/// What a scrape came to.
pub struct Answer {
    /// The merged metrics, ready to be written.
    pub merge: Merge,
    /// What the bodies in `merge` hold of the budget; to be dropped after it.
    pub memory: Share,
    /// Each instance that failed: `instance` label, process type, index, why.
    pub failures: Vec<FailedInstance>,
    /// How many instances were asked.
    pub asked: usize,
    /// Each external exporter that failed, and why, as a text.
    pub external_failures: Vec<String>,
    /// How many external exporters answered.
    pub externals_answered: usize,
}

/// Who is to be asked for one answer.
pub struct Wanted {
    /// Instances of the apps.
    pub instances: Vec<Target>,
    /// External exporters, for the apps.
    pub externals: Externals,
}

/// An instance without an answer, as an error text names it.
#[derive(Clone, Debug)]
pub struct FailedInstance {
    /// `web/0 at 10.0.0.1:61001`
    pub name: String,
    /// Why.
    pub failure: Failure,
}

impl Answer {
    /// How many instances answered.
    pub fn answered(&self) -> usize {
        self.asked - self.failures.len()
    }

    /// Whether all failures are of one kind (and there is one).
    pub fn all_failed_with(&self, reason: Reason) -> bool {
        !self.failures.is_empty() && self.failures.iter().all(|one| one.failure.reason == reason)
    }
}

/// Scrapes who is `wanted` and merges what they answer, when there is memory for it.
///
/// # Errors
///
/// There was none until too late, there is less than the bodies need, or no connection was
/// free for an instance and none of the others answered.
pub async fn scrape(
    client: &Client,
    wanted: Wanted,
    ask: &Ask,
    limits: &Limits,
    metrics: &Metrics,
    last: &LastScrapes,
    budget: &Budget,
) -> Result<Answer, Refused> {
    let started = Instant::now();
    let memory = budget.enter(last.expected(&wanted));
    // A turn that leaves the instances no time is none.
    let latest = ask.deadline - ask.deadline.saturating_duration_since(started) / 4;
    let attempt = || fan_out::fan_out(client, &wanted, ask, limits, &memory);
    let mut outcomes = memory.run(latest, attempt).await?;
    if fan_out::were_not_asked(&outcomes) {
        client.count_refused();
        return Err(Refused::NoConnection { limit: client.max_connections() });
    }
    let Wanted { instances, externals } = wanted;
    let of_externals = outcomes.split_off(instances.len().min(outcomes.len()));
    let scraped = fan_out::scraped(instances, outcomes);
    metrics.observe(&scraped, started.elapsed().as_secs_f64());
    let (externals, unfilled) = externals.scraped(of_externals);
    last.record(&scraped, &externals, &ask.negotiated);
    let answer = merge(scraped, externals, &unfilled, ask, memory);
    metrics.observe_merge(&answer.merge.stats());
    Ok(answer)
}

fn merge(
    scraped: Vec<Scraped>,
    externals: Vec<ScrapedExternal>,
    unfilled: &[UnfilledExporter],
    ask: &Ask,
    memory: Share,
) -> Answer {
    let own = report::render(&scraped, &externals, unfilled, ask.series);
    let asked = scraped.len();
    let mut failures = Vec::new();
    let mut instances = Vec::with_capacity(asked + externals.len() + 1);
    for one in scraped {
        match one.result {
            Ok(instance) => instances.push(instance),
            Err(failure) => failures.push(FailedInstance { name: name(&one.target), failure }),
        }
    }
    let mut external_failures: Vec<_> =
        unfilled.iter().map(|one| format!("{}: {}", one.exporter, one.why)).collect();
    let instances_answered = instances.len();
    for one in externals {
        match one.result {
            Ok(instance) => instances.push(instance),
            Err(failure) => external_failures.push(format!("{}: {failure}", one.target.exporter)),
        }
    }
    let externals_answered = instances.len() - instances_answered;
    // Ours are well-formed by construction and small; no limit applies.
    let no_limits = exposition::Limits {
        max_line: usize::MAX,
        max_samples: 0,
        max_families: usize::MAX,
        max_labels: usize::MAX,
    };
    let target = ask.negotiated.target();
    let reader = Reader::new(target, no_limits);
    match reader.parse(own.into_bytes(), Format::Text004, AddedLabels::new([])) {
        // An app cannot take the place of our own series.
        Ok(own) => instances.push(own.preferred()),
        Err(error) => tracing::error!(%error, "own series are not well-formed"),
    }
    Answer {
        merge: Merge::new(target, instances),
        memory,
        failures,
        asked,
        external_failures,
        externals_answered,
    }
}

fn name(target: &Target) -> String {
    let endpoint = &target.endpoint;
    match &endpoint.index {
        Some(index) => format!("{}/{index} at {}", endpoint.process_type, endpoint.address),
        None => format!("{} at {}", endpoint.process_type, endpoint.address),
    }
}
