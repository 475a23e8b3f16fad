//! Summaries of many instances, for lists.
//!
//! All viewers share the results, which are cached. Concurrent requests for the summary of an
//! instance wait for the same query.

use super::{Alerts, PrometheusClient, QueryBackend, Storage, Summary, TargetCounts, TargetStatus};
use crate::domain::InstanceId;
use futures_util::{StreamExt, stream};
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// A summary is read again after this long.
const KEPT: Duration = Duration::from_secs(10);
/// Time for all instances of a list together.
const TOGETHER: Duration = Duration::from_secs(2);
/// Instances that are queried at once, because each may return a long list of targets.
const AT_ONCE: usize = 8;
/// An instance that had less time than this is not known to be slow.
const FAIR: Duration = Duration::from_secs(1);

const NO_ANSWER: &str = "no answer within 2 s";
const NOT_QUERIED: &str = "not queried, because other instances were slow; reload the page";

/// What a list shows of an instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BriefSummary {
    pub targets: Option<TargetCounts>,
    /// One of the failing targets.
    pub failing: Option<TargetStatus>,
    pub storage: Option<Storage>,
    /// Resident memory of the server, bytes.
    pub memory: Option<u64>,
    pub alerts: Option<Alerts>,
    /// Why a value is unknown.
    pub problem: Option<String>,
}

/// The cache of summaries. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Summaries(Arc<Mutex<HashMap<InstanceId, Entry>>>);

/// The summary of an instance. It is locked while it is read.
type Entry = Arc<tokio::sync::Mutex<Option<Cached>>>;

#[derive(Debug)]
struct Cached {
    at: Instant,
    summary: Arc<BriefSummary>,
}

impl Cached {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < KEPT
    }
}

impl BriefSummary {
    async fn read(client: &PrometheusClient, backend: &QueryBackend) -> Self {
        let (summary, alerts) =
            futures_util::join!(client.summary(backend), client.alerts(backend, TOGETHER));
        Self::new(&summary, alerts.ok())
    }

    pub fn new(summary: &Summary, alerts: Option<Alerts>) -> Self {
        Self {
            targets: summary.counts(),
            failing: summary.failing().cloned(),
            storage: summary.storage,
            memory: summary.memory,
            alerts,
            problem: summary.problem.clone(),
        }
    }

    fn unknown(problem: &str) -> Arc<Self> {
        Arc::new(Self { problem: Some(problem.to_owned()), ..Self::default() })
    }
}

impl Summaries {
    /// The summaries of `instances`, in the same order; takes at most two seconds.
    pub async fn read(
        &self,
        client: &PrometheusClient,
        instances: &[(InstanceId, QueryBackend)],
    ) -> Vec<Arc<BriefSummary>> {
        let deadline = Instant::now() + TOGETHER;
        let reads = instances.iter().enumerate().map(async |(position, (id, backend))| {
            let read = || BriefSummary::read(client, backend);
            (position, self.get(id, deadline, read).await)
        });
        // A slow instance does not delay the ones after it, as it would with `buffered`.
        let mut read: Vec<_> = stream::iter(reads).buffer_unordered(AT_ONCE).collect().await;
        read.sort_by_key(|(position, _)| *position);
        read.into_iter().map(|(_, summary)| summary).collect()
    }

    /// The cached summary of an instance, or the result of `read`.
    async fn get<F: Future<Output = BriefSummary>>(
        &self,
        id: &InstanceId,
        deadline: Instant,
        read: impl FnOnce() -> F,
    ) -> Arc<BriefSummary> {
        let entry = self.entry(id);
        let Ok(mut cached) = timeout_at(deadline, entry.lock()).await else {
            return BriefSummary::unknown(NO_ANSWER);
        };
        if let Some(cached) = cached.as_ref().filter(|it| it.is_fresh()) {
            return Arc::clone(&cached.summary);
        }
        let started = Instant::now();
        if started >= deadline {
            return BriefSummary::unknown(NOT_QUERIED);
        }
        let summary = match timeout_at(deadline, read()).await {
            Ok(summary) => Arc::new(summary),
            Err(_) if started.elapsed() < FAIR => return BriefSummary::unknown(NOT_QUERIED),
            Err(_) => BriefSummary::unknown(NO_ANSWER),
        };
        *cached = Some(Cached { at: Instant::now(), summary: Arc::clone(&summary) });
        summary
    }

    /// The entry of an instance. Removes those that are neither fresh nor in use.
    fn entry(&self, id: &InstanceId) -> Entry {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| match entry.try_lock() {
            Ok(cached) => {
                Arc::strong_count(entry) > 1 || cached.as_ref().is_some_and(Cached::is_fresh)
            }
            Err(_) => true,
        });
        Arc::clone(entries.entry(id.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
    };
    use tokio::time::{advance, sleep};

    fn id(text: &str) -> InstanceId {
        text.parse().unwrap()
    }

    fn of_memory(memory: u64) -> BriefSummary {
        BriefSummary { memory: Some(memory), ..BriefSummary::default() }
    }

    fn in_two_seconds() -> Instant {
        Instant::now() + TOGETHER
    }

    #[tokio::test(start_paused = true)]
    async fn viewers_share_a_summary_until_it_is_old() {
        let (summaries, reads) = (Summaries::default(), AtomicUsize::new(0));
        let a = id("a");
        let view = async || {
            let read = async || {
                sleep(Duration::from_millis(500)).await;
                of_memory(reads.fetch_add(1, Ordering::Relaxed) as u64)
            };
            summaries.get(&a, in_two_seconds(), read).await.memory
        };
        let viewers = futures_util::future::join_all((0..20).map(|_| view())).await;
        assert!(viewers.iter().all(|memory| *memory == Some(0)), "{viewers:?}");
        advance(KEPT - Duration::from_millis(1)).await;
        assert_eq!(view().await, Some(0));
        advance(Duration::from_millis(1)).await;
        assert_eq!(view().await, Some(1));
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_instance_is_not_queried_again_by_the_next_viewer() {
        let (summaries, slow) = (Summaries::default(), id("slow"));
        let started = Instant::now();
        let first = summaries.get(&slow, in_two_seconds(), pending).await;
        assert_eq!((first.problem.as_deref(), started.elapsed()), (Some(NO_ANSWER), TOGETHER));
        let second = summaries.get(&slow, in_two_seconds(), async || of_memory(1)).await;
        assert_eq!(second, first);
        advance(KEPT).await;
        let third = summaries.get(&slow, in_two_seconds(), async || of_memory(1)).await;
        assert_eq!(third.memory, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_had_little_time_is_queried_by_the_next_viewer() {
        let (summaries, late) = (Summaries::default(), id("late"));
        for left in [Duration::ZERO, FAIR / 2] {
            let found = summaries.get(&late, Instant::now() + left, pending).await;
            assert_eq!(found.problem.as_deref(), Some(NOT_QUERIED), "{left:?}");
        }
        let found = summaries.get(&late, in_two_seconds(), async || of_memory(1)).await;
        assert_eq!(found.memory, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn old_entries_are_removed() {
        let summaries = Summaries::default();
        for name in ["a", "b", "c"] {
            summaries.get(&id(name), in_two_seconds(), async || of_memory(1)).await;
        }
        assert_eq!(summaries.0.lock().unwrap().len(), 3);
        advance(KEPT).await;
        summaries.get(&id("d"), in_two_seconds(), async || of_memory(1)).await;
        assert_eq!(summaries.0.lock().unwrap().len(), 1);
    }
}
