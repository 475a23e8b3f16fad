//! Asks all instances of an app at once, within one deadline.
//!
//! No task is spawned: dropping the future drops every request under way, so
//! no work outlives its scraper.

use super::{
    Ask, Limits,
    client::Client,
    failure::{Failure, Reason},
    fetch::{Fetched, fetch},
    inflate::inflate,
    target::Target,
};
use crate::exposition::{self, Instance, Labels};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{pin::pin, time::Duration};
use tokio::{sync::Semaphore, time::Instant};

/// After this long a request no longer counts against the concurrency, so that
/// hung instances do not hold back the rest of a large app.
const SLOT_TIME: Duration = Duration::from_secs(1);

/// Bodies larger than this are checked on another thread, bytes.
const INLINE: usize = 16 << 10;

/// One instance's answer.
#[derive(Debug)]
pub struct Scraped {
    /// Who was asked.
    pub target: Target,
    /// How long it took.
    pub duration: Duration,
    /// The checked body, or why there is none.
    pub result: Result<Instance, Failure>,
}

/// Scrapes all targets; the answers come in the order of `targets`.
///
/// Returns at the deadline of `ask` at the latest; who has not answered by
/// then has failed with [`Reason::Timeout`].
pub(super) async fn fan_out(
    client: &Client,
    targets: Vec<Target>,
    ask: &Ask,
    limits: &Limits,
) -> Vec<Scraped> {
    let slots = Semaphore::new(limits.concurrency);
    let mut running: FuturesUnordered<_> = targets
        .iter()
        .enumerate()
        .map(async |(position, target)| {
            let started = Instant::now();
            let scrape = in_slot(&slots, scrape_one(client, target, ask, limits));
            let result = tokio::time::timeout_at(ask.deadline, scrape)
                .await
                .unwrap_or_else(|_| Err(Failure::new(Reason::Timeout, "no whole answer in time")));
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
    let missing = || (Duration::ZERO, Err(Failure::new(Reason::Timeout, "not asked")));
    targets
        .into_iter()
        .zip(results)
        .map(|(target, result)| {
            let (duration, result) = result.unwrap_or_else(missing);
            Scraped { target, duration, result }
        })
        .collect()
}

/// Runs `work` in a slot, which it gives back after [`SLOT_TIME`].
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
    client: &Client,
    target: &Target,
    ask: &Ask,
    limits: &Limits,
) -> Result<Instance, Failure> {
    let fetched = fetch(client, target, ask, limits.max_instance_body).await?;
    let large = fetched.gzip || fetched.body.len() > INLINE;
    let labels = target.labels.clone();
    let max_body = limits.max_instance_body;
    let exposition = exposition::Limits { max_samples: target.max_samples, ..limits.exposition };
    let check = move || check(fetched, labels, max_body, &exposition);
    if large {
        let stopped = |_| Err(Failure::new(Reason::Timeout, "the check was stopped"));
        tokio::task::spawn_blocking(check).await.unwrap_or_else(stopped)
    } else {
        check()
    }
}

/// Inflates and checks a body, whole, before anything of it is used.
fn check(
    fetched: Fetched,
    labels: Labels,
    max_body: u64,
    limits: &exposition::Limits,
) -> Result<Instance, Failure> {
    let body = if fetched.gzip { inflate(&fetched.body, max_body)? } else { fetched.body };
    if !fetched.whole && !fetched.gzip && body.last().is_some_and(|last| *last != b'\n') {
        return Err(Failure::new(Reason::Cut, "the connection was closed within a line"));
    }
    Instance::parse(body, labels, limits).map_err(|error| {
        let reason = if error.is_limit() { Reason::Limit } else { Reason::NotExposition };
        Failure::new(reason, error.to_string())
    })
}
