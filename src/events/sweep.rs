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
const CHUNK: usize = 5_000;
/// Transactions of a sweep that delete rows of one kind, per queue. The rest is left to the next one.
const MAX_CHUNKS: usize = 20;

/// Time after which a batch whose process should have judged it is not waited for.
const BATCH_GRACE: Duration = Duration::from_secs(5);
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
        shared.store_presence().await?;
        let mut tx = shared.store.begin_read().await?;
        let now = clock::now(&mut tx).await?;
        let queues = all_queues(&mut tx).await?;
        drop(tx);
        let prunes_all = self.rounds.is_multiple_of(ROUNDS_PER_PRUNING);
        self.rounds += 1;
        for (row, scrapers) in &queues {
            shared.sweep_queue(now, row, scrapers).await?;
            if prunes_all || self.pruned_at.get(&row.queue) != Some(&row.last_seq) {
                shared.prune(now, row).await?;
                self.pruned_at.insert(row.queue, row.last_seq);
            }
        }
        let known: BTreeSet<_> = queues.iter().map(|(row, _)| row.queue).collect();
        self.pruned_at.retain(|queue, _| known.contains(queue));
        shared.refresh_states().await
    }
}

impl Shared {
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

    /// `row` and `scrapers` may be out of date: they only show what is due.
    async fn sweep_queue(
        &self,
        now: i64,
        row: &QueueRow,
        scrapers: &[ScraperRow],
    ) -> Result<(), StoreError> {
        let expired_seq = self.expire(now, row).await?;
        for scraper in scrapers {
            if is_idle(scraper, now, self.settings(row.queue).ttl) {
                self.forget(now, scraper).await?;
            } else if is_behind(scraper, expired_seq.max(row.deleted_seq)) {
                self.advance(now, scraper, expired_seq, row.deleted_seq).await?;
            }
        }
        self.delete(now, row).await
    }

    /// Lets events expire. Returns the last one that has expired.
    async fn expire(&self, now: i64, row: &QueueRow) -> Result<i64, StoreError> {
        let since = now - millis(self.settings(row.queue).ttl);
        let mut tx = self.store.begin_read().await?;
        if expired_through(&mut tx, row, since).await? <= row.expired_seq {
            return Ok(row.expired_seq);
        }
        drop(tx);
        let mut tx = self.store.begin_write().await?;
        let Some(row) = queues::lock(&mut tx, row.queue).await? else {
            return Ok(row.expired_seq);
        };
        let through = expired_through(&mut tx, &row, since).await?;
        if through <= row.expired_seq {
            return Ok(row.expired_seq);
        }
        let has_scrapers = scrapers::count(&mut tx, row.queue).await? > 0;
        queues::set_numbers(&mut tx, &QueueRow { expired_seq: through, ..row.clone() }).await?;
        tx.commit().await?;
        if !has_scrapers {
            // No scraper ever gets them.
            self.metrics.expired(through - row.expired_seq);
        }
        Ok(through)
    }

    /// Moves a scraper past the events that have expired. While a batch is in flight, they may be in
    /// it.
    async fn advance(
        &self,
        now: i64,
        scraper: &ScraperRow,
        expired_seq: i64,
        deleted_seq: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.store.begin_write().await?;
        let found = scrapers::find(&mut tx, scraper.queue, &scraper.name).await?;
        let Some(mut row) = found.filter(|it| !is_in_flight(it, now)) else { return Ok(()) };
        let is_lost = row.batch.take().is_some();
        let expired = backlog::skip(&mut row, expired_seq);
        // Events that are not expired are deleted after all scrapers have got them. This corrects a
        // scraper that has not, for example after a database was restored.
        let evicted = backlog::skip(&mut row, deleted_seq);
        if !scrapers::update(&mut tx, &row).await? {
            return Ok(());
        }
        tx.commit().await?;
        self.metrics.expired(expired);
        self.metrics.evicted(evicted);
        if is_lost {
            self.metrics.refused_delivery(NackBy::Lost);
        }
        if expired > 0 {
            tracing::warn!(
                queue = row.queue.get(),
                scraper = row.name,
                events = expired,
                "events expired before the scraper got them"
            );
        }
        Ok(())
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
    async fn delete(&self, now: i64, row: &QueueRow) -> Result<(), StoreError> {
        if row.deleted_seq == row.last_seq {
            return Ok(());
        }
        let mut tx = self.store.begin_read().await?;
        if self.deletion(&mut tx, row, now).await?.is_none() {
            return Ok(());
        }
        drop(tx);
        for _ in 0..MAX_CHUNKS {
            let mut tx = self.store.begin_write().await?;
            // The lock excludes that a scraper is registered which needs them.
            let Some(row) = queues::lock(&mut tx, row.queue).await? else { break };
            let Some(changed) = self.deletion(&mut tx, &row, now).await? else { break };
            if changed.deleted_seq > row.deleted_seq {
                events::delete_through(&mut tx, row.queue, changed.deleted_seq).await?;
            }
            queues::set_numbers(&mut tx, &changed).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// The numbers of the queue after the next deletion. None if nothing changes.
    async fn deletion(
        &self,
        tx: &mut Tx,
        row: &QueueRow,
        now: i64,
    ) -> Result<Option<QueueRow>, StoreError> {
        let scrapers = scrapers::of_queue(tx, row.queue).await?;
        let released = scrapers.iter().map(backlog::released_through).min();
        let floor_seq = match released {
            Some(released) => released,
            None => self.unwanted(tx, row, now).await?,
        };
        let settings = self.settings(row.queue);
        let since = now - millis(settings.history.max(settings.ttl));
        let first_kept = events::first_since(tx, row.queue, row.deleted_seq, since).await?;
        let old = first_kept.map_or(row.last_seq, |seq| seq - 1);
        let unneeded = floor_seq.min(old.max(row.last_seq - DELIVERED_EVENTS));
        let chunk = i64::try_from(CHUNK).unwrap_or(i64::MAX);
        let deleted_seq = unneeded.min(row.deleted_seq + chunk).max(row.deleted_seq);
        let changed = QueueRow { floor_seq, deleted_seq, ..row.clone() };
        Ok((changed != *row).then_some(changed))
    }

    /// Deletes series and keys that are too old or too many.
    async fn prune(&self, now: i64, row: &QueueRow) -> Result<(), StoreError> {
        for _ in 0..MAX_CHUNKS {
            let mut tx = self.store.begin_write().await?;
            if queues::lock(&mut tx, row.queue).await?.is_none() {
                break;
            }
            let idle_since = now - millis(SERIES_IDLE);
            let mut pruned = series::prune(&mut tx, row.queue, idle_since, CHUNK).await?;
            let excess = series::count(&mut tx, row.queue).await?.saturating_sub(MAX_SERIES);
            if excess > 0 {
                let limit = excess.min(CHUNK);
                pruned += series::prune(&mut tx, row.queue, i64::MAX, limit).await?;
            }
            let (old, seq) = (now - millis(KEY_AGE), row.last_seq - KEY_EVENTS);
            pruned += keys::prune(&mut tx, row.queue, old, seq, CHUNK).await?;
            if pruned == 0 {
                break;
            }
            tx.commit().await?;
        }
        Ok(())
    }
}

async fn expired_through(tx: &mut Tx, row: &QueueRow, since: i64) -> Result<i64, StoreError> {
    if row.expired_seq >= row.last_seq {
        return Ok(row.expired_seq);
    }
    let first = events::first_since(tx, row.queue, row.expired_seq, since).await?;
    Ok(first.map_or(row.last_seq, |seq| seq - 1))
}

/// Whether events up to `through` are needed for the scraper.
fn is_behind(scraper: &ScraperRow, through: i64) -> bool {
    backlog::released_through(scraper) < through
}

/// Whether the process that sent the batch of the scraper may still judge it.
fn is_in_flight(scraper: &ScraperRow, now: i64) -> bool {
    scraper.batch.as_ref().is_some_and(|batch| now < batch.until + millis(BATCH_GRACE))
}

fn is_idle(scraper: &ScraperRow, now: i64, ttl: Duration) -> bool {
    scraper.last_seen < now - millis(ttl.max(SCRAPER_IDLE)) && !is_in_flight(scraper, now)
}

#[cfg(test)]
mod tests;
