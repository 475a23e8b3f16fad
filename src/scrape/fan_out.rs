//! Scrapes all targets in parallel, within one deadline.
//!
//! No task is spawned: dropping the future drops all running requests, so no work continues after
//! the scraper disconnects.

use super::{
    ScrapeLimits, ScrapePlan, ScrapeRequest,
    buffer::BodyBuffer,
    client::ScrapeClient,
    external::ExporterTarget,
    failure::{FailureReason, ScrapeFailure, timed_out},
    fetch::{FetchedBody, fetch},
    inflate::Inflation,
    memory_budget::{Allocation, Reservation},
    target::ScrapeTarget,
};
use crate::net::Resolver;
use exposition::{self, AddedLabels, Format, IndexedBody, Reader};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::task::AbortOnDropHandle;

/// A request that runs longer no longer counts against the concurrency limit, so that hung
/// instances do not delay the rest of a large app.
const SLOT_TIME: Duration = Duration::from_secs(1);

/// Bodies larger than this are parsed on another thread, bytes.
const INLINE: usize = 16 << 10;

/// Result of scraping one instance.
#[derive(Debug)]
pub struct InstanceScrape {
    pub target: ScrapeTarget,
    pub duration: Duration,
    /// Size of its body in memory.
    pub bytes: u64,
    pub result: Result<IndexedBody, ScrapeFailure>,
}

/// Outcome of one target: its duration, and the parsed body with its size in memory, or the
/// failure.
pub(super) type TargetOutcome = (Duration, Result<(IndexedBody, u64), ScrapeFailure>);

#[derive(Clone, Copy)]
enum AnyTarget<'a> {
    Instance(&'a ScrapeTarget, &'a Arc<Reader>),
    External(&'a ExporterTarget, &'a Arc<Reader>, &'a Resolver),
}

impl AnyTarget<'_> {
    async fn fetch(
        self,
        client: &ScrapeClient,
        request: &ScrapeRequest,
        max_body: u64,
        reservation: &Reservation,
    ) -> Result<FetchedBody, ScrapeFailure> {
        match self {
            Self::Instance(target, _) => {
                fetch(client, target, request, max_body, reservation).await
            }
            Self::External(target, _, resolver) => {
                target.fetch(client, resolver, request, max_body, reservation).await
            }
        }
    }

    /// The reader of its body, its labels, and its sample limit.
    fn read_settings(self) -> (Arc<Reader>, AddedLabels, usize) {
        match self {
            Self::Instance(target, reader) => {
                (Arc::clone(reader), target.labels.clone(), target.max_samples)
            }
            Self::External(target, reader, _) => {
                (Arc::clone(reader), target.labels.clone(), target.max_samples)
            }
        }
    }
}

/// Scrapes all targets of `plan`. Returns the outcomes in the order of the targets, instances
/// first. `reservation` owns the memory of the bodies.
///
/// Returns at the deadline of `request` at the latest; targets without a complete response fail
/// with [`FailureReason::Timeout`].
pub(super) async fn fan_out(
    client: &ScrapeClient,
    plan: &ScrapePlan,
    request: &ScrapeRequest,
    limits: &ScrapeLimits,
    reservation: &Reservation,
) -> Vec<TargetOutcome> {
    let ScrapePlan { instances, externals } = plan;
    let reader = || Reader::new(request.negotiated.target(), limits.exposition);
    // Bodies of exporters do not resemble those of instances or of each other, so they do not share
    // a template.
    let single = Arc::new(reader());
    let shared = Arc::new(if instances.len() > 1 { reader().with_template() } else { reader() });
    let resolver = externals.resolver();
    let instances = instances.iter().map(|target| AnyTarget::Instance(target, &shared));
    let externals =
        externals.targets.iter().map(|target| AnyTarget::External(target, &single, resolver));
    let targets: Vec<_> = instances.chain(externals).collect();
    let slots = Semaphore::new(limits.concurrency);
    let mut running: FuturesUnordered<_> = targets
        .iter()
        .enumerate()
        .map(async |(position, target)| {
            let started = Instant::now();
            let scrape = scrape_one(client, *target, request, limits, reservation);
            let scrape = in_slot(&slots, scrape);
            let result = tokio::time::timeout_at(request.deadline, scrape)
                .await
                .unwrap_or_else(|_| Err(timed_out(false)));
            (position, started.elapsed(), result)
        })
        .collect();
    let mut results: Vec<_> = targets.iter().map(|_| None).collect();
    while let Some((position, duration, result)) = running.next().await {
        if let Some(slot) = results.get_mut(position) {
            *slot = Some((duration, result));
        }
    }
    drop(running);
    let missing =
        || (Duration::ZERO, Err(ScrapeFailure::new(FailureReason::Timeout, "not scraped")));
    results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
}

/// Whether every target failed, and at least one because no connection was free.
pub(super) fn lacked_connections(outcomes: &[TargetOutcome]) -> bool {
    let lacks_connection = |result: &Result<_, ScrapeFailure>| matches!(result, Err(failure) if failure.reason == FailureReason::NoConnection);
    outcomes.iter().all(|(_, result)| result.is_err())
        && outcomes.iter().any(|(_, result)| lacks_connection(result))
}

/// Combines each target with its outcome.
pub(super) fn scraped(
    targets: Vec<ScrapeTarget>,
    outcomes: Vec<TargetOutcome>,
) -> Vec<InstanceScrape> {
    let together = targets.into_iter().zip(outcomes).map(|(target, (duration, result))| {
        let (result, bytes) = match result {
            Ok((instance, bytes)) => (Ok(instance), bytes),
            Err(failure) => (Err(failure), 0),
        };
        InstanceScrape { target, duration, bytes, result }
    });
    together.collect()
}

/// Runs `work` with a permit of `slots`, which is released after [`SLOT_TIME`].
async fn in_slot<T>(slots: &Semaphore, work: impl Future<Output = T>) -> T {
    let permit = slots.acquire().await;
    let mut work = pin!(work);
    tokio::select! {
        biased;
        result = &mut work => return result,
        () = tokio::time::sleep(SLOT_TIME) => drop(permit),
    }
    work.await
}

async fn scrape_one(
    client: &ScrapeClient,
    target: AnyTarget<'_>,
    request: &ScrapeRequest,
    limits: &ScrapeLimits,
    reservation: &Reservation,
) -> Result<(IndexedBody, u64), ScrapeFailure> {
    let max_body = limits.max_instance_body;
    let fetched = target.fetch(client, request, max_body, reservation).await?;
    let FetchedBody { mut body, format, gzip, header_problem, whole } = fetched;
    if gzip {
        body = inflate(Inflation::new(body, reservation, max_body)?).await?;
    }
    let large = gzip || body.len() > INLINE;
    let (reader, labels, max_samples) = target.read_settings();
    let check = move || {
        let claims = BodyClaims { format, whole: whole || gzip, header_problem };
        check(&reader, body, claims, labels, max_samples)
    };
    let (instance, allocation) = if large { run_blocking(check).await?? } else { check()? };
    Ok((instance, allocation.keep()))
}

async fn inflate(mut inflation: Inflation) -> Result<BodyBuffer, ScrapeFailure> {
    loop {
        inflation.make_room().await;
        let step = move || (inflation.step(), inflation);
        let (is_whole, stepped) = run_blocking(step).await?;
        if is_whole? {
            return Ok(stepped.into_body());
        }
        inflation = stepped;
    }
}

/// Runs CPU-bound work on another thread. The work is cancelled if the future is dropped before it
/// has started.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ScrapeFailure> {
    let work = AbortOnDropHandle::new(tokio::task::spawn_blocking(work));
    work.await.map_err(|_| ScrapeFailure::new(FailureReason::Timeout, "parsing was cancelled"))
}

/// What the response head states about the body.
struct BodyClaims {
    format: Format,
    /// The transfer coding or the length shows that the body is complete.
    whole: bool,
    /// Why the header suggests that the body is not an exposition.
    header_problem: Option<String>,
}

/// Parses a complete body before any of it is used.
fn check(
    reader: &Reader,
    body: BodyBuffer,
    claims: BodyClaims,
    labels: AddedLabels,
    max_samples: usize,
) -> Result<(IndexedBody, Allocation), ScrapeFailure> {
    let BodyClaims { format, whole, header_problem } = claims;
    if !whole && is_truncated(body.bytes(), format) {
        return Err(ScrapeFailure::new(
            FailureReason::Truncated,
            "the connection was closed before the end of the exposition",
        ));
    }
    let (body, allocation) = body.finish();
    let instance = reader.parse_limited(body, format, labels, max_samples).map_err(|error| {
        // A line that is too long confirms the header: the body is not text.
        let is_limit = error.is_limit()
            && (header_problem.is_none() || error.kind() != exposition::ErrorKind::LineTooLong);
        match &header_problem {
            _ if is_limit => ScrapeFailure::new(FailureReason::Limit, error.to_string()),
            None => ScrapeFailure::new(FailureReason::NotExposition, error.to_string()),
            Some(header_problem) => ScrapeFailure::new(
                FailureReason::NotExposition,
                format!("{header_problem}; as text: {error}"),
            ),
        }
    })?;
    // A body without samples does not refute the header.
    match header_problem.filter(|_| instance.samples() == 0) {
        Some(header_problem) => {
            Err(ScrapeFailure::new(FailureReason::NotExposition, header_problem))
        }
        None => Ok((instance, allocation)),
    }
}

/// Whether a body that was ended by the connection alone lacks its own end.
fn is_truncated(body: &[u8], format: Format) -> bool {
    match format {
        // An empty body may be complete or truncated; it counts as truncated.
        Format::Text004 | Format::Text100 => body.last() != Some(&b'\n'),
        Format::OpenMetrics001 | Format::OpenMetrics100 => {
            !body.trim_ascii_end().ends_with(b"# EOF")
        }
        // The parser reports an incomplete message. A body that ends between two messages cannot be
        // recognized as truncated.
        Format::Protobuf => body.is_empty(),
    }
}
