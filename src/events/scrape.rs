//! Scrapes of a queue.

use super::{
    EventSettings, Events, ScraperName, Timestamps, backlog,
    evidence::ScrapeConnection,
    presence::Seen,
    render::{EventCounter, Families, render},
    selection::SelectedSample,
};
use crate::{
    domain::QueueId,
    store::{
        StoreError, Tx, clock,
        events::{self, QueueRow, ScraperRow, StoredEvent},
    },
};
use std::time::Duration;

/// Time for the database's part of a scrape.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of counters of a response.
const MAX_COUNTERS: usize = 5_000;

/// How often a scrape is repeated that another scrape of the same scraper interrupts.
pub(super) const MAX_ATTEMPTS: usize = 3;

/// A scrape of a queue.
#[derive(Debug)]
pub struct ScrapeRequest {
    pub queue: QueueId,
    pub scraper: ScraperName,
    /// Maximum number of events of the response.
    pub limit: usize,
    /// Whether the response has the counters of all label sets.
    pub counters: bool,
    pub connection: ScrapeConnection,
    /// Whether the connection shows what became of the response: not with HTTP/2.
    pub has_evidence: bool,
    /// Whether this process stops. Then the next process begins batches.
    pub is_draining: bool,
}

/// The families of a queue, in text format 0.0.4.
#[derive(Debug)]
pub struct Exposition {
    pub text: String,
}

/// Reasons why a scrape fails.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    #[error(
        "this queue has its maximum number of scrapers, and all of them have scraped in the last {} minutes; raise events.max_scrapers, or give scrapers of one Prometheus one name with ?scraper=",
        .0.as_secs() / 60
    )]
    TooManyScrapers(Duration),
    #[error("the binding of this queue was removed")]
    QueueGone,
    #[error("the database did not respond within {} s; the next scrape gets the same events", STORE_TIMEOUT.as_secs())]
    Late,
    // Its text names the database, which scrapers need not know.
    #[error("the database is not available; the next scrape gets the same events")]
    Store(#[from] StoreError),
}

/// A scraper, its queue and the time of the database.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) queue: QueueRow,
    pub(super) row: ScraperRow,
    /// Milliseconds since 1970.
    pub(super) now: i64,
}

/// What else a response shows.
#[derive(Debug)]
pub(super) struct Shown {
    scrapers: Vec<(String, i64)>,
    counters: Vec<EventCounter>,
}

impl Events {
    /// Answers a scrape.
    ///
    /// # Errors
    /// See [`ScrapeError`]. Nothing is delivered then.
    pub async fn scrape(&self, request: ScrapeRequest) -> Result<Exposition, ScrapeError> {
        let settings = self.settings(request.queue);
        let work = async {
            let _permit = self.0.scrapes.acquire().await;
            match settings.timestamps {
                Timestamps::Scrape => self.scrape_batch(&request, settings).await,
                Timestamps::Explicit => self.scrape_window(&request, settings).await,
            }
        };
        tokio::time::timeout(STORE_TIMEOUT, work).await.unwrap_or(Err(ScrapeError::Late))
    }

    /// The newest events that have not expired, without any effect on scrapers.
    ///
    /// # Errors
    /// See [`ScrapeError`].
    pub async fn peek(
        &self,
        queue: QueueId,
        limit: usize,
        counters: bool,
    ) -> Result<Exposition, ScrapeError> {
        let settings = self.settings(queue);
        let work = async {
            let _permit = self.0.scrapes.acquire().await;
            let mut tx = self.0.store.begin_read().await?;
            let row = events::queues::find(&mut tx, queue).await?;
            let row = row.ok_or(ScrapeError::QueueGone)?;
            let newest = row.last_seq - i64::try_from(limit).unwrap_or(i64::MAX);
            let after = newest.max(row.expired_seq);
            let found = events::for_delivery(&mut tx, queue, after, limit).await?;
            let shown = shown(&mut tx, queue, counters, i64::MAX).await?;
            drop(tx);
            // A response has one sample per series and time.
            let samples: Vec<_> = found.into_iter().map(explicit).collect();
            Ok(shown.exposition(settings, &row, &samples))
        };
        tokio::time::timeout(STORE_TIMEOUT, work).await.unwrap_or(Err(ScrapeError::Late))
    }

    /// Reads a scraper, and registers it if it is new.
    pub(super) async fn progress(
        &self,
        request: &ScrapeRequest,
    ) -> Result<(Progress, Tx), ScrapeError> {
        for _ in 0..MAX_ATTEMPTS {
            let mut tx = self.0.store.begin_read().await?;
            let queue = events::queues::find(&mut tx, request.queue).await?;
            let queue = queue.ok_or(ScrapeError::QueueGone)?;
            let name = request.scraper.as_str();
            if let Some(row) = events::scrapers::find(&mut tx, request.queue, name).await? {
                let now = clock::now(&mut tx).await?;
                let seen = Seen { at: now, held: row.held };
                self.0.presence.record(request.queue, &request.scraper, seen);
                return Ok((Progress { queue, row, now }, tx));
            }
            drop(tx);
            self.register(request.queue, &request.scraper).await?;
        }
        // It is forgotten as often as it is registered.
        Err(ScrapeError::Late)
    }
}

/// Reads the scrapers and counters of a queue. Counters of series that began after `held` are 0: a
/// scraper that sees the 0 first notices the first event as an increase.
pub(super) async fn shown(
    tx: &mut Tx,
    queue: QueueId,
    has_counters: bool,
    held: i64,
) -> Result<Shown, StoreError> {
    let scrapers = events::scrapers::of_queue(tx, queue).await?;
    let last_seq = events::queues::find(tx, queue).await?.map_or(0, |it| it.last_seq);
    let scrapers = scrapers.into_iter().map(|row| {
        let waiting = backlog::pending(&row, last_seq);
        (row.name, waiting)
    });
    let limit = if has_counters { MAX_COUNTERS } else { 0 };
    let counters = match limit {
        0 => Vec::new(),
        limit => events::series::counters(tx, queue, limit).await?,
    };
    let counters = counters.into_iter().map(|series| {
        let events = if series.first_seq > held { 0 } else { series.events };
        EventCounter { labels: series.labels, events }
    });
    Ok(Shown { scrapers: scrapers.collect(), counters: counters.collect() })
}

/// A sample with the timestamp of its event.
pub(super) fn explicit(event: StoredEvent) -> SelectedSample {
    SelectedSample {
        // A value that is no number was not written by this program.
        value: event.value.parse().unwrap_or_default(),
        labels: event.labels,
        ordinal: None,
        timestamp: Some(event.sample_at),
    }
}

impl Shown {
    pub(super) fn exposition(
        &self,
        settings: &EventSettings,
        queue: &QueueRow,
        samples: &[SelectedSample],
    ) -> Exposition {
        let text = render(&Families {
            metric: &settings.metric,
            accepted: queue.last_seq,
            scrapers: &self.scrapers,
            samples,
            counters: &self.counters,
        });
        Exposition { text }
    }
}

#[cfg(test)]
mod tests;
