//! Expiry of events and of scrapers.

use super::{CHUNK, MAX_CHUNKS};
use crate::{
    domain::QueueId,
    events::{
        Shared, backlog,
        evidence::NackBy,
        writer::{SCRAPER_IDLE, millis},
    },
    store::{
        StoreError, Tx,
        events::{self, QueueRow, ScraperRow, queues, scrapers},
    },
};
use std::time::Duration;

/// Time after which a batch whose process should have judged it is not waited for.
const BATCH_GRACE: Duration = Duration::from_secs(5);
impl Shared {
    /// Lets events expire. Returns the last one that has expired.
    pub(super) async fn expire(&self, now: i64, queue: QueueId) -> Result<i64, StoreError> {
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
    pub(super) async fn advance(&self, now: i64, scraper: &ScraperRow) -> Result<(), StoreError> {
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
        let deferred: Vec<i64> = expired.deferred.iter().map(|it| it.seq).collect();
        events::mark_missed_numbers(&mut tx, row.queue, &deferred).await?;
        tx.commit().await?;
        self.metrics.expired(expired.events());
        self.metrics.evicted(evicted.events());
        if is_lost {
            self.metrics.refused_delivery(NackBy::Lost);
        }
        Ok(Some(expired.events()))
    }

    /// Forgets a scraper that was not seen for long.
    pub(super) async fn forget(&self, now: i64, scraper: &ScraperRow) -> Result<(), StoreError> {
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

    /// The last event that has expired.
    pub(super) async fn expired_through(
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
}

/// Whether the process that sent the batch of the scraper may still judge it.
fn is_in_flight(scraper: &ScraperRow, now: i64) -> bool {
    scraper.batch.as_ref().is_some_and(|batch| now < batch.until + millis(BATCH_GRACE))
}

/// Whether the scraper is forgotten. One that was away for `ttl` has still to get the events since
/// then, so it is kept for twice that time.
pub(super) fn is_idle(scraper: &ScraperRow, now: i64, ttl: Duration) -> bool {
    let limit = ttl.max(SCRAPER_IDLE).saturating_mul(2);
    scraper.last_seen < now - millis(limit) && !is_in_flight(scraper, now)
}
