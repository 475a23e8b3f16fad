//! Scrapes with explicit timestamps: each event is repeated for `events.hold` after its first offer.
//!
//! Nothing needs to be committed before a response, because Prometheus stores a repeated sample
//! once. After a crash the same events are offered again.

use super::{
    EventSettings, Events, Exposition, ScrapeError, ScrapeRequest, deferred,
    deliveries::DeliveryKey,
    evidence::Verdict,
    presence::Seen,
    scrape::{MAX_ATTEMPTS, Progress, explicit, shown},
    selection::SelectedSample,
    window::{self, Cursor, Window},
};
use crate::{
    domain::QueueId,
    store::{
        StoreError, Tx,
        events::{self, ScraperRow},
    },
};
use tokio::time::Instant;

impl Events {
    pub(super) async fn scrape_window(
        &self,
        request: &ScrapeRequest,
        settings: &EventSettings,
    ) -> Result<Exposition, ScrapeError> {
        let key = DeliveryKey {
            queue: request.queue,
            scraper: request.scraper.clone(),
            connection: Some(request.connection.in_use().id()),
        };
        for _ in 0..MAX_ATTEMPTS {
            let (mut progress, mut tx) = self.progress(request).await?;
            let cursor = self.0.deliveries.cursor(&key);
            let acknowledged = cursor.and_then(|cursor| self.acknowledged(&key, cursor, request));
            let delivered = self.advance(&mut progress, acknowledged, &key, settings);
            let row = &progress.row;
            let window = window::next(row.held, progress.queue.last_seq, cursor, request.limit);
            let mut samples = deferred_samples(&mut tx, row).await?;
            let has_deferred = !samples.is_empty();
            samples.extend(window_samples(&mut tx, request.queue, &window).await?);
            let shown = shown(&mut tx, request.queue, request.counters, row.held).await?;
            drop(tx);
            if let Some(delivered) = delivered {
                if !self.update(row).await? {
                    continue;
                }
                self.metrics().delivered(delivered);
            }
            let exposition = shown.exposition(settings, &progress.queue, &samples);
            if has_deferred || window.cursor.front > row.held {
                self.offered(key, request, window.cursor);
            }
            return Ok(exposition);
        }
        Err(ScrapeError::Late)
    }

    /// The newest event that the connection has certainly got.
    fn acknowledged(
        &self,
        key: &DeliveryKey,
        cursor: Cursor,
        request: &ScrapeRequest,
    ) -> Option<i64> {
        let deliveries = &self.0.deliveries;
        // Over HTTP/2 the next scrape is the only evidence. A lost response is repeated anyway, for
        // as long as its events are held.
        if !request.has_evidence {
            return Some(cursor.front);
        }
        match deliveries.verdict(key, cursor.front, Instant::now(), None) {
            Some(Verdict::Acknowledged(by)) => {
                deliveries.finish(key, cursor.front);
                self.metrics().acknowledged(by);
                Some(cursor.front)
            }
            _ => None,
        }
    }

    /// Moves the position and the end of the hold. Returns the number of delivered events if the row
    /// is to be written.
    fn advance(
        &self,
        progress: &mut Progress,
        acknowledged: Option<i64>,
        key: &DeliveryKey,
        settings: &EventSettings,
    ) -> Option<i64> {
        let row = &mut progress.row;
        let position = row.position.max(acknowledged.unwrap_or(row.position));
        let name = (key.queue, key.scraper.clone());
        let released = self.0.hold_logs.released(&name, Instant::now(), settings.hold);
        let held = row.held.max(released.min(position));
        let mut delivered = position - row.position;
        // The scraper had the other mode before. Its batch and its deferred events are offered with
        // timestamps, the latter until a response with them is acknowledged.
        let had_batch = row.batch.take().is_some();
        let deferred = deferred::read(&row.deferred);
        if acknowledged.is_some() && !deferred.is_empty() {
            row.deferred = deferred::write(&[]);
            delivered += deferred::count(&deferred);
        }
        (row.position, row.held, row.last_seen) = (position, held, progress.now);
        // The end of the hold may be stored later: until then more events are kept than needed.
        self.0.presence.record(key.queue, &key.scraper, Seen { at: progress.now, held });
        (delivered > 0 || had_batch).then_some(delivered)
    }

    /// Notes what a response offers.
    fn offered(&self, key: DeliveryKey, request: &ScrapeRequest, cursor: Cursor) {
        let name = (key.queue, key.scraper.clone());
        self.0.hold_logs.offer(name, cursor.front, Instant::now());
        let connection = &request.connection;
        self.0.deliveries.set_cursor(key.clone(), cursor, connection.in_use());
        if request.has_evidence {
            self.0.deliveries.begin(key, cursor.front, connection.clone());
        }
    }
}

/// Events that a response without timestamps had no place for.
async fn deferred_samples(
    tx: &mut Tx,
    row: &ScraperRow,
) -> Result<Vec<SelectedSample>, StoreError> {
    let deferred = deferred::read(&row.deferred);
    let numbers: Vec<_> = deferred.iter().map(|it| it.seq).collect();
    let stored = events::by_numbers(tx, row.queue, &numbers).await?;
    let value = |seq| deferred.iter().find(|it| it.seq == seq).map(|it| it.value);
    Ok(stored
        .into_iter()
        .map(|event| {
            let value = value(event.seq);
            let sample = explicit(event);
            SelectedSample { value: value.unwrap_or(sample.value), ..sample }
        })
        .collect())
}

async fn window_samples(
    tx: &mut Tx,
    queue: QueueId,
    window: &Window,
) -> Result<Vec<SelectedSample>, StoreError> {
    let mut samples = Vec::new();
    for span in &window.spans {
        let length = usize::try_from(span.through - span.after).unwrap_or_default();
        let found = events::for_delivery(tx, queue, span.after, length).await?;
        let found = found.into_iter().filter(|event| event.seq <= span.through);
        samples.extend(found.map(explicit));
    }
    Ok(samples)
}
