//! Deletion of events that all scrapers have got, and of series and keys.

use super::{CHUNK, MAX_CHUNKS};
use crate::{
    domain::QueueId,
    events::{Shared, backlog, writer::millis},
    store::{
        StoreError, Tx,
        events::{self, QueueRow, ScraperRow, keys, queues, scrapers, series},
    },
};
use std::time::Duration;

/// Events that are kept though they are delivered, per queue.
const DELIVERED_EVENTS: i64 = 10_000;
/// Label sets that are kept, per queue.
pub(super) const MAX_SERIES: usize = 20_000;
const SERIES_IDLE: Duration = Duration::from_hours(7 * 24);
/// Idempotency keys are kept for this time, and for this number of events of the queue.
const KEY_AGE: Duration = Duration::from_hours(24);
const KEY_EVENTS: i64 = 100_000;

const CHUNK_ROWS: usize = CHUNK as usize;

impl Shared {
    /// Deletes events that are not needed any more.
    pub(super) async fn delete(&self, now: i64, queue: QueueId) -> Result<(), StoreError> {
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
    pub(super) async fn deletion(
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

    /// Deletes series and keys that are too old or too many.
    pub(super) async fn prune(&self, now: i64, row: &QueueRow) -> Result<(), StoreError> {
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
