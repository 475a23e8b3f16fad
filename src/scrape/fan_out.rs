//! Scrapes all targets in parallel, within one deadline.
//!
//! No task is spawned: dropping the future drops all running requests, so no work continues after
//! the scraper disconnects.

use super::{
    body::ReadSettings,
    failure::{FailureReason, ScrapeFailure, timed_out},
    fetch::Fetcher,
    outcome::{MeasuredBody, TargetOutcome},
    plan::{ScrapePlan, ScrapeTarget, TargetKind},
};
use exposition::Reader;
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::Instant};

/// A request that runs longer no longer counts against the concurrency limit, so that hung
/// instances do not delay the rest of a large app.
const SLOT_TIME: Duration = Duration::from_secs(1);

/// Scrapes all targets of `plan`. Returns the outcomes in the order of the targets.
///
/// Returns at the deadline of the request at the latest; targets without a complete response fail
/// with [`FailureReason::Timeout`].
pub(super) async fn fan_out(fetcher: Fetcher<'_>, plan: &ScrapePlan) -> Vec<TargetOutcome> {
    let readers = Readers::new(fetcher, plan);
    let slots = Semaphore::new(fetcher.limits.concurrency);
    let mut running: FuturesUnordered<_> = plan
        .targets
        .iter()
        .enumerate()
        .map(async |(position, target)| {
            let started = Instant::now();
            let scrape = in_slot(&slots, scrape_one(fetcher, target, readers.of(target)));
            let result = tokio::time::timeout_at(fetcher.request.deadline, scrape)
                .await
                .unwrap_or_else(|_| Err(timed_out(false)));
            (position, TargetOutcome::new(started.elapsed(), result))
        })
        .collect();
    let mut outcomes: Vec<_> = plan.targets.iter().map(|_| None).collect();
    while let Some((position, outcome)) = running.next().await {
        if let Some(slot) = outcomes.get_mut(position) {
            *slot = Some(outcome);
        }
    }
    let missing = || {
        let failure = ScrapeFailure::new(FailureReason::Timeout, "not scraped");
        TargetOutcome::new(Duration::ZERO, Err(failure))
    };
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
}

/// Bodies of exporters do not resemble those of instances or of each other, so they do not share a
/// template.
struct Readers {
    instances: Arc<Reader>,
    exporters: Arc<Reader>,
}

impl Readers {
    fn new(fetcher: Fetcher<'_>, plan: &ScrapePlan) -> Self {
        let reader = || Reader::new(fetcher.request.negotiated.target(), fetcher.limits.exposition);
        let instances = plan.targets.iter().filter(|target| target.endpoint().is_some());
        let is_shared = instances.take(2).count() > 1;
        let instances = if is_shared { reader().with_template() } else { reader() };
        Self { instances: Arc::new(instances), exporters: Arc::new(reader()) }
    }

    fn of(&self, target: &ScrapeTarget) -> Arc<Reader> {
        Arc::clone(match target.kind {
            TargetKind::Instance(_) => &self.instances,
            TargetKind::Exporter(_) => &self.exporters,
        })
    }
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
    fetcher: Fetcher<'_>,
    target: &ScrapeTarget,
    reader: Arc<Reader>,
) -> Result<MeasuredBody, ScrapeFailure> {
    let fetched = fetcher.fetch(target).await?;
    let settings = ReadSettings {
        reader,
        labels: target.labels.clone(),
        max_samples: target.max_samples,
        max_body: fetcher.limits.max_instance_body,
    };
    fetched.index(settings, fetcher.reservation).await
}
