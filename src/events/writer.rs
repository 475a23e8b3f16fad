//! The writer: stores waiting posts.
//!
//! While a transaction is committed, posts wait. All of them are in the next transaction, so one
//! write to the disk stores the events of many posts.

use super::{
    Events, Shared, StartPolicy, backlog,
    ledger::{Added, Ledger},
    post::{PostError, Posted, WaitingPost},
};
use crate::{
    domain::QueueId,
    store::{
        StoreError, Tx, clock,
        events::{self, QueueRow, ScraperRow, keys, queues, scrapers, series},
    },
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A group ends at the first of these numbers. The last post may exceed the second one.
const MAX_GROUP_POSTS: usize = 1_000;
const MAX_GROUP_EVENTS: usize = 5_000;

/// How far the timestamp of an event may be ahead, in milliseconds. Prometheus refuses ten minutes.
pub(super) const MAX_SHIFT: i64 = 5 * 60_000;

/// A scraper that was not seen for this time is forgotten if its events need the room.
pub const SCRAPER_IDLE: Duration = Duration::from_mins(10);

/// Outcomes of posts in the order of a group.
type Outcomes = Vec<Result<Posted, PostError>>;

/// What a transaction changed, for the metrics.
#[derive(Default)]
struct Written {
    evicted: i64,
    new_series: Vec<(QueueId, usize)>,
}

impl Events {
    /// Stores posts until the shutdown, and then those that wait.
    pub async fn write(self, shutdown: CancellationToken) {
        let mut waiting = self.0.waiting.receiver.lock().await;
        let mut is_failing = false;
        while let Some(first) = next(&mut waiting, &shutdown).await {
            let failure = self.0.write_group(group(first, &mut waiting)).await.err();
            match &failure {
                Some(error) if !is_failing => tracing::warn!(%error, "events not stored"),
                None if is_failing => tracing::info!("events are stored again"),
                _ => {}
            }
            is_failing = failure.is_some();
        }
    }
}

async fn next(
    waiting: &mut mpsc::Receiver<WaitingPost>,
    shutdown: &CancellationToken,
) -> Option<WaitingPost> {
    tokio::select! {
        biased;
        post = waiting.recv() => post,
        () = shutdown.cancelled() => {
            waiting.close();
            waiting.recv().await
        }
    }
}

/// Takes the posts that wait, by queue. Those whose clients have gone are dropped.
fn group(
    first: WaitingPost,
    waiting: &mut mpsc::Receiver<WaitingPost>,
) -> BTreeMap<QueueId, Vec<WaitingPost>> {
    let mut group: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let (mut posts, mut events) = (0, 0);
    let mut next = Some(first);
    while let Some(post) = next {
        if !post.answer.is_closed() {
            posts += 1;
            events += post.events.len();
            group.entry(post.queue).or_default().push(post);
        }
        let is_full = posts >= MAX_GROUP_POSTS || events >= MAX_GROUP_EVENTS;
        next = if is_full { None } else { waiting.try_recv().ok() };
    }
    group
}

impl Shared {
    async fn write_group(
        &self,
        group: BTreeMap<QueueId, Vec<WaitingPost>>,
    ) -> Result<(), Arc<StoreError>> {
        if group.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        match self.store_group(&group).await {
            Ok((outcomes, written)) => {
                self.count(&outcomes, written, begun);
                for (post, outcome) in group.into_values().flatten().zip(outcomes) {
                    // The client may have gone meanwhile.
                    let _ = post.answer.send(outcome);
                }
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                for post in group.into_values().flatten() {
                    let _ = post.answer.send(Err(PostError::Store(Arc::clone(&error))));
                }
                Err(error)
            }
        }
    }

    fn count(&self, outcomes: &Outcomes, written: Written, begun: Instant) {
        let now = Instant::now();
        let mut stored = 0;
        for posted in outcomes.iter().flatten() {
            if posted.is_repeat {
                self.metrics.repeated(posted.count);
            } else {
                stored += posted.count;
            }
        }
        self.metrics.committed(stored, now.saturating_duration_since(begun));
        self.metrics.evicted(written.evicted);
        for (queue, number) in written.new_series {
            self.rates.take_new_series(queue, number, now);
        }
    }

    /// Stores a group in one transaction.
    async fn store_group(
        &self,
        group: &BTreeMap<QueueId, Vec<WaitingPost>>,
    ) -> Result<(Outcomes, Written), StoreError> {
        let mut tx = self.store.begin_write().await?;
        let mut outcomes = Vec::new();
        let mut written = Written::default();
        for (queue, posts) in group {
            let Some(row) = queues::lock(&mut tx, *queue).await? else {
                outcomes.extend(posts.iter().map(|_| Err(PostError::QueueGone)));
                continue;
            };
            let (mut ledger, evicted) = self.open_ledger(&mut tx, row, posts).await?;
            outcomes.extend(posts.iter().map(|post| ledger.decide(post)));
            store_ledger(&mut tx, &ledger).await?;
            written.evicted += evicted;
            written.new_series.push((*queue, ledger.added.new_series));
        }
        tx.commit().await?;
        Ok((outcomes, written))
    }

    /// Reads what is needed to decide on posts. Makes room for them if needed, and returns the number
    /// of events that were evicted.
    async fn open_ledger(
        &self,
        tx: &mut Tx,
        row: QueueRow,
        posts: &[WaitingPost],
    ) -> Result<(Ledger, i64), StoreError> {
        let queue = row.queue;
        // The clock is read under the lock, so that times ascend with numbers.
        let now = clock::now(tx).await?;
        let names: HashSet<&str> =
            posts.iter().flat_map(|post| &post.events).map(|it| &*it.series).collect();
        let names: Vec<_> = names.into_iter().collect();
        let known_series = series::find(tx, queue, &names).await?;
        let names: Vec<&str> =
            posts.iter().filter_map(|post| post.key.as_ref()).map(|it| &*it.key).collect();
        let known_keys = keys::find(tx, queue, &names).await?;

        let posted: usize = posts.iter().map(|post| post.events.len()).sum();
        let wanted = row.last_seq.saturating_add(i64::try_from(posted).unwrap_or(i64::MAX));
        let max_pending = i64::try_from(self.settings(queue).max_pending).unwrap_or(i64::MAX);
        let (mut delivered_seq, mut evicted) = (row.floor_seq, 0);
        if wanted.saturating_sub(delivered_seq) > max_pending {
            let room = self.make_room(tx, &row, wanted.saturating_sub(max_pending), now).await?;
            (delivered_seq, evicted) = room;
        }
        let ledger = Ledger {
            max_seq: delivered_seq.saturating_add(max_pending),
            delivered_seq,
            row,
            now,
            new_series_left: self.rates.new_series_left(queue, Instant::now()),
            series: known_series.into_iter().map(|it| (it.series.clone(), it)).collect(),
            keys: known_keys.into_iter().map(|it| (it.key.clone(), it)).collect(),
            added: Added::default(),
        };
        Ok((ledger, evicted))
    }

    /// Forgets idle scrapers of a locked queue, the longest idle first, until all events up to
    /// `wanted` are delivered. Returns the number up to which they are, and how many events the
    /// forgotten scrapers have not got.
    async fn make_room(
        &self,
        tx: &mut Tx,
        row: &QueueRow,
        wanted: i64,
        now: i64,
    ) -> Result<(i64, i64), StoreError> {
        let mut scrapers = scrapers::of_queue(tx, row.queue).await?;
        let idle_since = now - millis(SCRAPER_IDLE);
        let mut idle: Vec<_> = scrapers
            .iter()
            .filter(|it| it.last_seen < idle_since && backlog::delivered_through(it) < wanted)
            .cloned()
            .collect();
        idle.sort_by_key(|it| it.last_seen);
        let mut evicted = 0;
        for scraper in idle {
            if self.delivered(tx, row, &scrapers, now).await? >= wanted {
                break;
            }
            if scrapers::remove(tx, &scraper).await? {
                evicted += backlog::pending(&scraper, row.last_seq);
                scrapers.retain(|it| it.name != scraper.name);
                tracing::info!(
                    queue = row.queue.get(),
                    scraper = scraper.name,
                    "idle scraper forgotten to make room for events"
                );
            }
        }
        Ok((self.delivered(tx, row, &scrapers, now).await?, evicted))
    }

    /// The number up to which all events of a queue are delivered.
    async fn delivered(
        &self,
        tx: &mut Tx,
        row: &QueueRow,
        scrapers: &[ScraperRow],
        now: i64,
    ) -> Result<i64, StoreError> {
        match scrapers.iter().map(backlog::delivered_through).min() {
            Some(delivered) => Ok(delivered.max(row.expired_seq)),
            None => self.unwanted(tx, row, now).await,
        }
    }

    /// For a queue without scrapers: the number up to which a new scraper gets no events.
    pub(super) async fn unwanted(
        &self,
        tx: &mut Tx,
        row: &QueueRow,
        now: i64,
    ) -> Result<i64, StoreError> {
        let age = match self.settings(row.queue).start {
            StartPolicy::Latest => return Ok(row.last_seq),
            StartPolicy::Earliest => return Ok(row.expired_seq),
            StartPolicy::Ago(age) => age,
        };
        let after = row.expired_seq.max(row.deleted_seq);
        let first = events::first_since(tx, row.queue, after, now - millis(age)).await?;
        Ok(first.map_or(row.last_seq, |first| first - 1))
    }
}

async fn store_ledger(tx: &mut Tx, ledger: &Ledger) -> Result<(), StoreError> {
    let (queue, added) = (ledger.row.queue, &ledger.added);
    if added.events.is_empty() {
        return Ok(());
    }
    events::insert(tx, queue, &added.events).await?;
    let changed = added.changed_series.iter().filter_map(|name| ledger.series.get(name));
    let changed: Vec<_> = changed.cloned().collect();
    series::put(tx, queue, &changed).await?;
    keys::insert(tx, queue, &added.keys).await?;
    queues::set_numbers(tx, &ledger.row).await
}

/// Milliseconds of a duration.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
