//! The sweep: expiry, deletion, and everything else that is due from time to time.
//!
//! All replicas sweep. Each step can be repeated, and the replica whose transaction made a change
//! counts it.

use super::{
    Events, Shared, backlog,
    evidence::NackBy,
    states::all_queues,
    writer::{SCRAPER_IDLE, millis},
};
use crate::{
    domain::QueueId,
    store::{
        StoreError, Tx, clock,
        events::{self, QueueRow, ScraperRow, keys, queues, scrapers, series},
    },
};
use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Events that are kept though they are delivered, per queue.
const DELIVERED_EVENTS: i64 = 10_000;
/// Label sets that are kept, per queue.
const MAX_SERIES: usize = 20_000;
const SERIES_IDLE: Duration = Duration::from_hours(7 * 24);
/// Idempotency keys are kept for this time, and for this number of events of the queue.
const KEY_AGE: Duration = Duration::from_hours(24);
const KEY_EVENTS: i64 = 100_000;

/// Rows that a transaction deletes. Posts wait for it.
const CHUNK: i64 = 5_000;
const CHUNK_ROWS: usize = CHUNK as usize;
/// Transactions of a sweep that delete rows of one kind, per queue. The rest is left to the next one.
const MAX_CHUNKS: usize = 20;

/// Time after which a batch whose process should have judged it is not waited for.
const BATCH_GRACE: Duration = Duration::from_secs(5);
/// Sweeps after which events are looked for that are too old to be shown.
const ROUNDS_PER_AGE_CHECK: u64 = 30;
/// Sweeps after which rows are looked for in queues that had no new events.
const ROUNDS_PER_PRUNING: u64 = 360;

impl Events {
    /// Sweeps until the shutdown.
    pub async fn sweep(self, every: Duration, shutdown: CancellationToken) {
        let mut sweeper = Sweeper::new(self);
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_failing = false;
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let failure = sweeper.round().await.err();
            if let Some(error) = &failure
                && !is_failing
            {
                tracing::warn!(%error, "events not swept; retrying");
            }
            is_failing = failure.is_some();
        }
    }
}

pub(super) struct Sweeper {
    events: Events,
    rounds: u64,
    /// The last number of each queue when its series and keys were pruned.
    pruned_at: HashMap<QueueId, i64>,
}

impl Sweeper {
    pub(super) fn new(events: Events) -> Self {
        Self { events, rounds: 0, pruned_at: HashMap::new() }
    }

    pub(super) async fn round(&mut self) -> Result<(), StoreError> {
        let shared = &*self.events.0;
        shared.rates.prune(Instant::now());
        shared.hold_logs.prune(Instant::now().into(), shared.settings.ttl);
        shared.store_presence().await?;
        let checks_age = self.rounds.is_multiple_of(ROUNDS_PER_AGE_CHECK);
        let prunes_all = self.rounds.is_multiple_of(ROUNDS_PER_PRUNING);
        self.rounds += 1;
        let (now, queues) = shared.survey(checks_age).await?;
        for queue in &queues {
            let QueueSurvey { row, .. } = queue;
            shared.sweep_queue(now, queue).await?;
            if prunes_all || self.pruned_at.get(&row.queue) != Some(&row.last_seq) {
                shared.prune(now, row).await?;
                self.pruned_at.insert(row.queue, row.last_seq);
            }
        }
        let known: BTreeSet<_> = queues.iter().map(|it| it.row.queue).collect();
        self.pruned_at.retain(|queue, _| known.contains(queue));
        shared.refresh_states().await
    }
}

/// A queue, and what is due. Other replicas may be faster.
struct QueueSurvey {
    row: QueueRow,
    scrapers: Vec<ScraperRow>,
    expires: bool,
    deletes: bool,
}

impl Shared {
    /// Reads all queues in one transaction, because most of them are idle.
    async fn survey(&self, checks_age: bool) -> Result<(i64, Vec<QueueSurvey>), StoreError> {
        let mut tx = self.store.begin_read().await?;
        let now = clock::now(&mut tx).await?;
        let mut queues = Vec::new();
        for (row, scrapers) in all_queues(&mut tx).await? {
            let expired_seq = self.expired_through(&mut tx, &row, now).await?;
            let deletion = self.deletion(&mut tx, &row, &scrapers, now, checks_age).await?;
            queues.push(QueueSurvey {
                expires: expired_seq > row.expired_seq,
                deletes: deletion != row,
                row,
                scrapers,
            });
        }
        Ok((now, queues))
    }

    /// Stores when scrapers were seen.
    async fn store_presence(&self) -> Result<(), StoreError> {
        let seen = self.presence.take();
        if seen.is_empty() {
            return Ok(());
        }
        let mut tx = self.store.begin_write().await?;
        let queues: BTreeSet<_> = seen.keys().map(|(queue, _)| *queue).collect();
        for queue in queues {
            queues::lock(&mut tx, queue).await?;
        }
        for ((queue, name), it) in seen {
            scrapers::touch(&mut tx, queue, name.as_str(), it.at, it.held).await?;
        }
        tx.commit().await
    }

    async fn sweep_queue(&self, now: i64, survey: &QueueSurvey) -> Result<(), StoreError> {
        let QueueSurvey { row, scrapers, .. } = survey;
        let mut gone = row.expired_seq.max(row.deleted_seq);
        if survey.expires {
            gone = gone.max(self.expire(now, row.queue).await?);
        }
        for scraper in scrapers {
            if is_idle(scraper, now, self.settings(row.queue).ttl) {
                self.forget(now, scraper).await?;
            } else if backlog::released_through(scraper) < gone {
                self.advance(now, scraper).await?;
            }
        }
        if survey.deletes || survey.expires {
            self.delete(now, row.queue).await?;
        }
        Ok(())
    }

    /// Lets events expire. Returns the last one that has expired.
    async fn expire(&self, now: i64, queue: QueueId) -> Result<i64, StoreError> {
        let mut expired_seq = 0;
        for _ in 0..MAX_CHUNKS {
            let mut tx = self.store.begin_write().await?;
            let Some(row) = queues::lock(&mut tx, queue).await? else { break };
            let mut through = self.expired_through(&mut tx, &row, now).await?;
            expired_seq = row.expired_seq;
            if through <= expired_seq {
                break;
            }
            let has_scrapers = scrapers::count(&mut tx, queue).await? > 0;
            if !has_scrapers {
                // No scraper ever gets them.
                through = through.min(expired_seq + CHUNK);
                events::mark_missed(&mut tx, queue, expired_seq, through).await?;
            }
            queues::set_numbers(&mut tx, &QueueRow { expired_seq: through, ..row }).await?;
            tx.commit().await?;
            if !has_scrapers {
                self.metrics.expired(through - expired_seq);
            }
            expired_seq = through;
        }
        Ok(expired_seq)
    }

    /// Moves a scraper past the events that have expired.
    async fn advance(&self, now: i64, scraper: &ScraperRow) -> Result<(), StoreError> {
        let mut expired = 0;
        for _ in 0..MAX_CHUNKS {
            let Some(events) = self.advance_by_chunk(now, scraper).await? else { break };
            expired += events;
        }
        if expired > 0 {
            tracing::warn!(
                queue = scraper.queue.get(),
                scraper = scraper.name,
                events = expired,
                "events expired before the scraper got them"
            );
        }
        Ok(())
    }

    /// Returns the number of events that have expired. None if there is nothing to do, or if a batch
    /// is in flight: the events may be in it.
    async fn advance_by_chunk(
        &self,
        now: i64,
        scraper: &ScraperRow,
    ) -> Result<Option<i64>, StoreError> {
        let mut tx = self.store.begin_write().await?;
        let Some(queue) = queues::lock(&mut tx, scraper.queue).await? else { return Ok(None) };
        let found = scrapers::find(&mut tx, scraper.queue, &scraper.name).await?;
        let Some(mut row) = found.filter(|it| !is_in_flight(it, now)) else { return Ok(None) };
        if backlog::released_through(&row) >= queue.expired_seq.max(queue.deleted_seq) {
            return Ok(None);
        }
        let is_lost = row.batch.take().is_some();
        let through = queue.expired_seq.min(row.position.saturating_add(CHUNK));
        let expired = backlog::skip(&mut row, through);
        // Events that are not expired are deleted after all scrapers have got them. This corrects a
        // scraper that has not, for example after a database was restored.
        let evicted = backlog::skip(&mut row, queue.deleted_seq);
        if !scrapers::update(&mut tx, &row).await? {
            return Ok(None);
        }
        events::mark_missed(&mut tx, row.queue, expired.after, expired.through).await?;
        for event in &expired.deferred {
            events::mark_missed(&mut tx, row.queue, event.seq - 1, event.seq).await?;
        }
        tx.commit().await?;
        self.metrics.expired(expired.events());
        self.metrics.evicted(evicted.events());
        if is_lost {
            self.metrics.refused_delivery(NackBy::Lost);
        }
        Ok(Some(expired.events()))
    }

    /// Forgets a scraper that was not seen for long.
    async fn forget(&self, now: i64, scraper: &ScraperRow) -> Result<(), StoreError> {
        let mut tx = self.store.begin_write().await?;
        let Some(row) = queues::lock(&mut tx, scraper.queue).await? else { return Ok(()) };
        let found = scrapers::find(&mut tx, scraper.queue, &scraper.name).await?;
        let ttl = self.settings(scraper.queue).ttl;
        let Some(found) = found.filter(|it| is_idle(it, now, ttl)) else { return Ok(()) };
        if scrapers::remove(&mut tx, &found).await? {
            tx.commit().await?;
            let evicted = backlog::pending(&found, row.last_seq);
            self.metrics.evicted(evicted);
            tracing::info!(
                queue = row.queue.get(),
                scraper = found.name,
                events = evicted,
                "scraper forgotten"
            );
        }
        Ok(())
    }

    /// Deletes events that are not needed any more.
    async fn delete(&self, now: i64, queue: QueueId) -> Result<(), StoreError> {
        for _ in 0..MAX_CHUNKS {
            let mut tx = self.store.begin_write().await?;
            // The lock excludes that a scraper is registered which needs them.
            let Some(row) = queues::lock(&mut tx, queue).await? else { break };
            let scrapers = scrapers::of_queue(&mut tx, queue).await?;
            let changed = self.deletion(&mut tx, &row, &scrapers, now, true).await?;
            if changed == row {
                break;
            }
            if changed.deleted_seq > row.deleted_seq {
                events::delete_through(&mut tx, queue, changed.deleted_seq).await?;
            }
            queues::set_numbers(&mut tx, &changed).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// The numbers of a queue after the next deletion.
    async fn deletion(
        &self,
        tx: &mut Tx,
        row: &QueueRow,
        scrapers: &[ScraperRow],
        now: i64,
        checks_age: bool,
    ) -> Result<QueueRow, StoreError> {
        if row.deleted_seq == row.last_seq {
            return Ok(row.clone());
        }
        let floor_seq = match scrapers.iter().map(backlog::released_through).min() {
            Some(released) => released,
            None => self.unwanted(tx, row, now).await?,
        };
        let mut unneeded = row.last_seq - DELIVERED_EVENTS;
        if checks_age {
            let settings = self.settings(row.queue);
            let since = now - millis(settings.history.max(settings.ttl));
            let first = events::first_since(tx, row.queue, row.deleted_seq, since).await?;
            unneeded = unneeded.max(first.map_or(row.last_seq, |seq| seq - 1));
        }
        let deleted_seq = unneeded.min(floor_seq).min(row.deleted_seq + CHUNK);
        Ok(QueueRow { floor_seq, deleted_seq: deleted_seq.max(row.deleted_seq), ..row.clone() })
    }

    /// The last event that has expired.
    async fn expired_through(
        &self,
        tx: &mut Tx,
        row: &QueueRow,
        now: i64,
    ) -> Result<i64, StoreError> {
        if row.expired_seq >= row.last_seq {
            return Ok(row.expired_seq);
        }
        let since = now - millis(self.settings(row.queue).ttl);
        let first = events::first_since(tx, row.queue, row.expired_seq, since).await?;
        Ok(first.map_or(row.last_seq, |seq| seq - 1))
    }

    /// Deletes series and keys that are too old or too many.
    async fn prune(&self, now: i64, row: &QueueRow) -> Result<(), StoreError> {
        for _ in 0..MAX_CHUNKS {
            let mut tx = self.store.begin_write().await?;
            if queues::lock(&mut tx, row.queue).await?.is_none() {
                break;
            }
            let idle_since = now - millis(SERIES_IDLE);
            let mut pruned = series::prune(&mut tx, row.queue, idle_since, CHUNK_ROWS).await?;
            let excess = series::count(&mut tx, row.queue).await?.saturating_sub(MAX_SERIES);
            if excess > 0 {
                let limit = excess.min(CHUNK_ROWS);
                pruned += series::prune(&mut tx, row.queue, i64::MAX, limit).await?;
            }
            let (old, seq) = (now - millis(KEY_AGE), row.last_seq - KEY_EVENTS);
            pruned += keys::prune(&mut tx, row.queue, old, seq, CHUNK_ROWS).await?;
            if pruned == 0 {
                break;
            }
            tx.commit().await?;
        }
        Ok(())
    }
}

/// Whether the process that sent the batch of the scraper may still judge it.
fn is_in_flight(scraper: &ScraperRow, now: i64) -> bool {
    scraper.batch.as_ref().is_some_and(|batch| now < batch.until + millis(BATCH_GRACE))
}

/// Whether the scraper is forgotten. One that was away for `ttl` has still to get the events since
/// then, so it is kept for twice that time.
fn is_idle(scraper: &ScraperRow, now: i64, ttl: Duration) -> bool {
    let limit = ttl.max(SCRAPER_IDLE).saturating_mul(2);
    scraper.last_seen < now - millis(limit) && !is_in_flight(scraper, now)
}

#[cfg(test)]
mod tests;
