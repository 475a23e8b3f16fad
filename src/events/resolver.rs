//! Decides at the deadline of a scraper what became of its response.

use super::{
    Events, Timestamps,
    batches::{Resolution, resolve},
    deliveries::DeliveryKey,
    evidence::Verdict,
    sockets::SocketTable,
};
use crate::store::{StoreError, events};
use std::{future, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time for the last verdicts when this process stops: the listeners have closed their connections,
/// and clients close their side a moment later.
const LAST_VERDICTS: Duration = Duration::from_millis(300);

/// Pause between two looks at the sockets in this time.
const LOOK: Duration = Duration::from_millis(20);

/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

impl Events {
    /// Decides deliveries until `shutdown`. Without a response in flight it does nothing.
    pub async fn resolve_deliveries(self, shutdown: CancellationToken) {
        loop {
            let next = self.0.deliveries.next_decision();
            let due = async {
                match next {
                    Some(time) => tokio::time::sleep_until(time).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.0.deliveries.begun() => {}
                () = due => self.resolve(self.0.deliveries.due(Instant::now())).await,
            }
        }
        // What is not decided is repeated by the next process.
        let _ = tokio::time::timeout(LAST_VERDICTS, self.resolve_all()).await;
    }

    /// Decides all deliveries.
    async fn resolve_all(&self) {
        loop {
            let in_flight = self.0.deliveries.in_flight();
            if in_flight.is_empty() {
                return;
            }
            self.resolve(in_flight).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn resolve(&self, deliveries: Vec<(DeliveryKey, i64)>) {
        if deliveries.is_empty() {
            return;
        }
        let now = Instant::now();
        let sockets = match SocketTable::load().await {
            Ok(sockets) => Some(sockets),
            Err(error) => {
                // Then only the next scrape shows whether its connection is used again.
                tracing::warn!(%error, "sockets not readable; delivery of events not verified");
                tokio::time::sleep(PAUSE).await;
                None
            }
        };
        for (key, batch) in deliveries {
            let verdict = self.0.deliveries.verdict(&key, batch, now, sockets.as_ref());
            let Some(verdict) = verdict.filter(|it| *it != Verdict::Open) else { continue };
            if let Err(error) = self.settle(&key, batch, verdict).await {
                tracing::warn!(%error, "delivery of events not stored; they are repeated");
                tokio::time::sleep(PAUSE).await;
            }
            self.0.deliveries.finish(&key, batch);
        }
    }

    /// Stores a verdict, unless a scrape was faster.
    async fn settle(
        &self,
        key: &DeliveryKey,
        batch: i64,
        verdict: Verdict,
    ) -> Result<(), StoreError> {
        let mut tx = self.0.store.begin_write().await?;
        let row = events::scrapers::find(&mut tx, key.queue, key.scraper.as_str()).await?;
        let Some(mut row) = row else { return Ok(()) };
        let settings = self.settings(key.queue);
        let resolution = match settings.timestamps {
            Timestamps::Scrape if row.batch.as_ref().is_some_and(|it| it.number == batch) => {
                resolve(&mut row, verdict, settings.redelivery)
            }
            Timestamps::Explicit => {
                let front = if matches!(verdict, Verdict::Acknowledged(_)) { batch } else { 0 };
                let events = (front - row.position).max(0);
                row.position += events;
                Resolution { verdict: Some(verdict), events }
            }
            Timestamps::Scrape => return Ok(()),
        };
        let is_changed = settings.timestamps == Timestamps::Scrape || resolution.events > 0;
        if is_changed && !events::scrapers::update(&mut tx, &row).await? {
            return Ok(());
        }
        tx.commit().await?;
        self.count(&resolution);
        Ok(())
    }
}
