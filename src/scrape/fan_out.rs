//! Asks all instances of an app at once, within one deadline.
//!
//! No task is spawned: dropping the future drops every request under way, so
//! no work outlives its scraper.

use super::{
    Ask, Limits, Wanted,
    budget::{Held, Share},
    buffer::Buffer,
    client::Client,
    external::{ExternalTarget, Resolver},
    failure::{Failure, Reason, late},
    fetch::{Fetched, fetch},
    inflate::Inflation,
    target::Target,
};
use exposition::{self, AddedLabels, Format, IndexedBody, Reader};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::task::AbortOnDropHandle;

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
    /// What its body takes in memory.
    pub bytes: u64,
    /// The checked body, or why there is none.
    pub result: Result<IndexedBody, Failure>,
}

/// What came of one target: how long it took, and the checked body with what it
/// takes in memory, or why there is none.
pub(super) type Outcome = (Duration, Result<(IndexedBody, u64), Failure>);

/// One of those that are asked at once.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Instance(&'a Target, &'a Arc<Reader>),
    External(&'a ExternalTarget, &'a Arc<Reader>, &'a Resolver),
}

impl Asked<'_> {
    async fn fetch(
        self,
        client: &Client,
        ask: &Ask,
        max_body: u64,
        share: &Share,
    ) -> Result<Fetched, Failure> {
        match self {
            Self::Instance(target, _) => fetch(client, target, ask, max_body, share).await,
            Self::External(target, _, resolver) => {
                target.fetch(client, resolver, ask, max_body, share).await
            }
        }
    }

    /// How its body is read.
    fn reading(self) -> (Arc<Reader>, AddedLabels, usize) {
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

/// Scrapes who is wanted; the outcomes come in their order, instances first. Their
/// bodies are left to `share`.
///
/// Returns at the deadline of `ask` at the latest; who has not answered by
/// then has failed with [`Reason::Timeout`].
pub(super) async fn fan_out(
    client: &Client,
    wanted: &Wanted,
    ask: &Ask,
    limits: &Limits,
    share: &Share,
) -> Vec<Outcome> {
    let Wanted { instances, externals } = wanted;
    let reader = || Reader::new(ask.negotiated.target(), limits.exposition);
    // Exporters are no siblings of instances, nor of each other.
    let single = Arc::new(reader());
    let shared = Arc::new(if instances.len() > 1 { reader().with_template() } else { reader() });
    let resolver = externals.resolver();
    let instances = instances.iter().map(|target| Asked::Instance(target, &shared));
    let externals =
        externals.targets.iter().map(|target| Asked::External(target, &single, resolver));
    let asked: Vec<_> = instances.chain(externals).collect();
    let slots = Semaphore::new(limits.concurrency);
    let mut running: FuturesUnordered<_> = asked
        .iter()
        .enumerate()
        .map(async |(position, asked)| {
            let started = Instant::now();
            let scrape = scrape_one(client, *asked, ask, limits, share);
            let scrape = in_slot(&slots, scrape);
            let result = tokio::time::timeout_at(ask.deadline, scrape)
                .await
                .unwrap_or_else(|_| Err(late(false)));
            (position, started.elapsed(), result)
        })
        .collect();
    let mut results: Vec<_> = asked.iter().map(|_| None).collect();
    while let Some((position, duration, result)) = running.next().await {
        if let Some(slot) = results.get_mut(position) {
            *slot = Some((duration, result));
        }
    }
    drop(running);
    let missing = || (Duration::ZERO, Err(Failure::new(Reason::Timeout, "not asked")));
    results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
}

/// Whether nothing answered, and something was not asked for want of a connection.
pub(super) fn were_not_asked(outcomes: &[Outcome]) -> bool {
    let not_asked = |result: &Result<_, Failure>| matches!(result, Err(failure) if failure.reason == Reason::NoConnection);
    outcomes.iter().all(|(_, result)| result.is_err())
        && outcomes.iter().any(|(_, result)| not_asked(result))
}

/// Puts each target and what came of it together.
pub(super) fn scraped(targets: Vec<Target>, outcomes: Vec<Outcome>) -> Vec<Scraped> {
    let together = targets.into_iter().zip(outcomes).map(|(target, (duration, result))| {
        let (result, bytes) = match result {
            Ok((instance, bytes)) => (Ok(instance), bytes),
            Err(failure) => (Err(failure), 0),
        };
        Scraped { target, duration, bytes, result }
    });
    together.collect()
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
    asked: Asked<'_>,
    ask: &Ask,
    limits: &Limits,
    share: &Share,
) -> Result<(IndexedBody, u64), Failure> {
    let max_body = limits.max_instance_body;
    let fetched = asked.fetch(client, ask, max_body, share).await?;
    let Fetched { mut body, format, gzip, doubt, whole } = fetched;
    if gzip {
        body = inflate(Inflation::new(body, share, max_body)?).await?;
    }
    let large = gzip || body.len() > INLINE;
    let (reader, labels, max_samples) = asked.reading();
    let check = move || {
        let claims = Claims { format, whole: whole || gzip, doubt };
        check(&reader, body, claims, labels, max_samples)
    };
    let (instance, held) = if large { elsewhere(check).await?? } else { check()? };
    Ok((instance, held.keep()))
}

async fn inflate(mut inflation: Inflation) -> Result<Buffer, Failure> {
    loop {
        inflation.make_room().await;
        let step = move || (inflation.step(), inflation);
        let (is_whole, stepped) = elsewhere(step).await?;
        if is_whole? {
            return Ok(stepped.into_body());
        }
        inflation = stepped;
    }
}

/// Does work for a core on another thread; not at all when nobody waits for it
/// any more before it has begun.
async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let work = AbortOnDropHandle::new(tokio::task::spawn_blocking(work));
    work.await.map_err(|_| Failure::new(Reason::Timeout, "the check was stopped"))
}

/// What the head of an answer says of its body.
struct Claims {
    format: Format,
    /// The end of the transfer tells that it is whole.
    whole: bool,
    /// Why it may be no exposition.
    doubt: Option<String>,
}

/// Checks a body, whole, before anything of it is used.
fn check(
    reader: &Reader,
    body: Buffer,
    claims: Claims,
    labels: AddedLabels,
    max_samples: usize,
) -> Result<(IndexedBody, Held), Failure> {
    let Claims { format, whole, doubt } = claims;
    if !whole && is_cut(body.bytes(), format) {
        return Err(Failure::new(
            Reason::Cut,
            "the connection was closed before the end of the exposition",
        ));
    }
    let (body, held) = body.finish();
    let instance = reader.parse_limited(body, format, labels, max_samples).map_err(|error| {
        // A long line is one of the things that show that a doubt was right.
        let is_limit = error.is_limit()
            && (doubt.is_none() || error.kind() != exposition::ErrorKind::LineTooLong);
        match &doubt {
            _ if is_limit => Failure::new(Reason::Limit, error.to_string()),
            None => Failure::new(Reason::NotExposition, error.to_string()),
            Some(doubt) => {
                Failure::new(Reason::NotExposition, format!("{doubt}; as text: {error}"))
            }
        }
    })?;
    // Without samples nothing speaks against the doubt.
    match doubt.filter(|_| instance.samples() == 0) {
        Some(doubt) => Err(Failure::new(Reason::NotExposition, doubt)),
        None => Ok((instance, held)),
    }
}

/// Whether a body that only the connection's end has ended lacks something at its own end.
fn is_cut(body: &[u8], format: Format) -> bool {
    match format {
        // An empty one may be all that was there, or all that came.
        Format::Text004 | Format::Text100 => body.last() != Some(&b'\n'),
        Format::OpenMetrics001 | Format::OpenMetrics100 => {
            !body.trim_ascii_end().ends_with(b"# EOF")
        }
        // A message that is shorter than announced is an error of its own; between two,
        // nobody can tell.
        Format::Protobuf => body.is_empty(),
    }
}
