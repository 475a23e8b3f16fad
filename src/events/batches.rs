//! Scrapes without explicit timestamps: each event is in one response, and is repeated only if the
//! response was not delivered.
//!
//! A batch is committed before the first byte of its response is sent. The commit also contains the
//! verdict on the batch before. If this process is killed in between, the next scrape finds the
//! batch, and decides by [`Redelivery`].

use super::{
    EventSettings, Events, Exposition, Redelivery, ScrapeError, ScrapeRequest,
    deferred::{self, DeferredEvent},
    deliveries::DeliveryKey,
    evidence::{NackBy, ScrapeConnection, Verdict},
    scrape::{MAX_ATTEMPTS, Progress, shown},
    selection::{self, Selection, delivered},
    sockets::SocketTable,
    writer::millis,
};
use crate::store::{
    StoreError, Tx,
    events::{self, Batch, ScraperRow, StoredEvent},
};
use std::collections::HashMap;
use tokio::time::Instant;

/// Time after the end of a batch for the process that sent it to decide, in milliseconds.
const LOST_AFTER: i64 = 1_000;

/// What became of the batch before.
#[derive(Debug, Default)]
pub(super) struct Resolution {
    pub(super) verdict: Option<Verdict>,
    /// Number of events of the batch.
    pub(super) events: i64,
}

impl Events {
    pub(super) async fn scrape_batch(
        &self,
        request: &ScrapeRequest,
        settings: &EventSettings,
    ) -> Result<Exposition, ScrapeError> {
        let key = DeliveryKey {
            queue: request.queue,
            scraper: request.scraper.clone(),
            connection: None,
        };
        for attempt in 1.. {
            let (mut progress, mut tx) = self.progress(request).await?;
            let verdict = self.judge_batch(&key, &progress).await;
            let is_open = verdict == Some(Verdict::Open);
            let resolution = match verdict {
                None | Some(Verdict::Open) => Resolution::default(),
                Some(verdict) => resolve(&mut progress.row, verdict, settings.redelivery),
            };
            // Another scrape with this name is under way, or this process stops: the next one
            // delivers.
            let limit = if is_open || request.is_draining { 0 } else { request.limit };
            let selection = self.select(&mut tx, &progress.row, settings, limit).await?;
            let held = progress.row.held;
            let shown = shown(&mut tx, request.queue, request.counters, held).await?;
            drop(tx);
            let exposition = shown.exposition(settings, &progress.queue, &selection.samples);
            let connection = &request.connection;
            match self.begin_batch(&key, progress, &selection, &resolution, connection).await? {
                true => return Ok(exposition),
                false if attempt < MAX_ATTEMPTS => {}
                false => return Err(ScrapeError::Late),
            }
        }
        Err(ScrapeError::Late)
    }

    /// The verdict on the batch in flight. None if there is no batch.
    async fn judge_batch(&self, key: &DeliveryKey, progress: &Progress) -> Option<Verdict> {
        let batch = progress.row.batch.as_ref()?;
        let now = Instant::now();
        let deliveries = &self.0.deliveries;
        let sockets = match deliveries.needs_sockets(key, batch.number, now) {
            true => SocketTable::load().await.ok(),
            false => None,
        };
        let own = deliveries.verdict(key, batch.number, now, sockets.as_ref());
        // The batch of another process, which may be running, or of one that was killed.
        let is_lost = progress.now > batch.until + LOST_AFTER;
        let other = if is_lost { Verdict::Refused(NackBy::Lost) } else { Verdict::Open };
        Some(own.unwrap_or(other))
    }

    async fn select(
        &self,
        tx: &mut Tx,
        row: &ScraperRow,
        settings: &EventSettings,
        limit: usize,
    ) -> Result<Selection, StoreError> {
        let deferred = deferred::read(&row.deferred);
        if limit == 0 {
            let position = row.position;
            return Ok(Selection { samples: Vec::new(), position, deferred, folded: 0 });
        }
        let numbers: Vec<_> = deferred.iter().map(|it| it.seq).collect();
        let stored = events::by_numbers(tx, row.queue, &numbers).await?;
        let deferred = with_events(deferred, stored);
        // Events of a series that is in the response already take no place in it.
        let fresh = events::for_delivery(tx, row.queue, row.position, limit.saturating_mul(2));
        Ok(selection::select(row.position, deferred, fresh.await?, settings.collision, limit))
    }

    /// Commits a batch and the verdict on the one before. False if another scrape was faster.
    async fn begin_batch(
        &self,
        key: &DeliveryKey,
        mut progress: Progress,
        selection: &Selection,
        resolution: &Resolution,
        connection: &ScrapeConnection,
    ) -> Result<bool, ScrapeError> {
        let has_events = !selection.samples.is_empty();
        if resolution.verdict.is_none() && !has_events {
            return Ok(true);
        }
        let number = progress.row.version + 1;
        if has_events {
            progress.row.batch = Some(Batch {
                number,
                position: selection.position,
                deferred: deferred::write(&selection.deferred),
                until: progress.now + until_decision(connection),
                replica: self.0.replica.clone(),
            });
        }
        progress.row.last_seen = progress.now;
        // With explicit timestamps they were different.
        progress.row.held = progress.row.position;
        if !self.update(&progress.row).await? {
            return Ok(false);
        }
        self.count(resolution);
        self.metrics().folded(self.settings(key.queue).collision, selection.folded);
        if has_events {
            self.0.deliveries.begin(key.clone(), number, connection.clone());
        }
        Ok(true)
    }

    /// Writes a row, unless another transaction changed it.
    pub(super) async fn update(&self, row: &ScraperRow) -> Result<bool, StoreError> {
        let mut tx = self.0.store.begin_write().await?;
        let is_updated = events::scrapers::update(&mut tx, row).await?;
        tx.commit().await?;
        Ok(is_updated)
    }

    /// Counts what became of a batch.
    pub(super) fn count(&self, resolution: &Resolution) {
        let metrics = self.metrics();
        match resolution.verdict {
            Some(Verdict::Acknowledged(by)) => {
                metrics.acknowledged(by);
                metrics.delivered(resolution.events);
            }
            Some(Verdict::Refused(by)) => {
                metrics.refused_delivery(by);
                match self.0.settings.redelivery {
                    Redelivery::UntilAcknowledged => metrics.redelivered(resolution.events),
                    Redelivery::Never => metrics.undelivered(resolution.events),
                }
            }
            Some(Verdict::Open) | None => {}
        }
    }
}

/// Ends the batch in flight of a scraper.
pub(super) fn resolve(
    row: &mut ScraperRow,
    verdict: Verdict,
    redelivery: Redelivery,
) -> Resolution {
    let Some(batch) = row.batch.take() else { return Resolution::default() };
    let before = (row.position, deferred::read(&row.deferred));
    let after = (batch.position, deferred::read(&batch.deferred));
    let events = delivered((before.0, &before.1), (after.0, &after.1));
    if matches!(verdict, Verdict::Acknowledged(_)) || redelivery == Redelivery::Never {
        row.position = batch.position;
        row.held = batch.position;
        row.deferred = batch.deferred;
    }
    Resolution { verdict: Some(verdict), events }
}

/// Deferred events with their labels. An event that does not exist any more has expired.
fn with_events(
    deferred: Vec<DeferredEvent>,
    stored: Vec<StoredEvent>,
) -> Vec<(DeferredEvent, StoredEvent)> {
    let mut stored: HashMap<_, _> = stored.into_iter().map(|event| (event.seq, event)).collect();
    let pair = |it: DeferredEvent| stored.remove(&it.seq).map(|event| (it, event));
    deferred.into_iter().filter_map(pair).collect()
}

/// Time until a response on this connection is judged.
fn until_decision(connection: &ScrapeConnection) -> i64 {
    millis(connection.decision_time().saturating_duration_since(Instant::now()))
}
