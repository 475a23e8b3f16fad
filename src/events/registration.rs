//! New scrapers.

use super::{
    Events, ScrapeError, ScraperName, StartPolicy, backlog, deferred,
    writer::{SCRAPER_IDLE, millis},
};
use crate::{
    domain::QueueId,
    store::{
        StoreError, Tx, clock,
        events::{self, QueueRow, ScraperRow},
    },
};

impl Events {
    /// Registers a scraper, unless it is registered.
    pub(super) async fn register(
        &self,
        queue: QueueId,
        scraper: &ScraperName,
    ) -> Result<(), ScrapeError> {
        let settings = self.settings(queue);
        let mut tx = self.0.store.begin_write().await?;
        let row = events::queues::lock(&mut tx, queue).await?.ok_or(ScrapeError::QueueGone)?;
        let scrapers = events::scrapers::of_queue(&mut tx, queue).await?;
        if scrapers.iter().any(|it| it.name == scraper.as_str()) {
            return Ok(());
        }
        let now = clock::now(&mut tx).await?;
        let mut evicted = 0;
        if scrapers.len() >= settings.max_scrapers {
            let idle = longest_idle(&scrapers, now);
            let idle = idle.filter(|_| scrapers.len() == settings.max_scrapers);
            let Some(idle) = idle else {
                self.metrics().scraper_refused();
                return Err(ScrapeError::TooManyScrapers(SCRAPER_IDLE));
            };
            if !events::scrapers::remove(&mut tx, idle).await? {
                // It has scraped in the meantime.
                return Err(ScrapeError::TooManyScrapers(SCRAPER_IDLE));
            }
            evicted = backlog::pending(idle, row.last_seq);
        }
        let position = first_position(&mut tx, &row, settings.start, now).await?;
        let new = ScraperRow {
            queue,
            name: scraper.as_str().to_owned(),
            position,
            deferred: deferred::write(&[]),
            held: position,
            batch: None,
            version: 1,
            last_seen: now,
        };
        events::scrapers::insert(&mut tx, &new).await?;
        tx.commit().await?;
        self.metrics().evicted(evicted);
        tracing::info!(%queue, %scraper, position, "scraper of events registered");
        Ok(())
    }
}

/// The scraper that has not scraped for the longest time, if it may be forgotten.
fn longest_idle(scrapers: &[ScraperRow], now: i64) -> Option<&ScraperRow> {
    let longest = scrapers.iter().min_by_key(|it| it.last_seen)?;
    (now - longest.last_seen > millis(SCRAPER_IDLE)).then_some(longest)
}

/// The number of the last event that a new scraper does not get.
async fn first_position(
    tx: &mut Tx,
    queue: &QueueRow,
    start: StartPolicy,
    now: i64,
) -> Result<i64, StoreError> {
    let oldest = queue.expired_seq.max(queue.deleted_seq);
    match start {
        StartPolicy::Latest => Ok(queue.last_seq),
        StartPolicy::Earliest => Ok(oldest),
        StartPolicy::Ago(age) => {
            let since = now.saturating_sub(millis(age));
            let first = events::first_since(tx, queue.queue, oldest, since).await?;
            Ok(first.map_or(queue.last_seq, |seq| seq - 1))
        }
    }
}
