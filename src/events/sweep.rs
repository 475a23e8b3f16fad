//! The sweep: expiry, deletion, and everything else that is due from time to time.
//!
//! All replicas sweep. Each step can be repeated, and the replica whose transaction made a change
//! counts it.

mod deletion;
mod expiry;

use super::{Events, Shared, backlog, states::all_queues};
use crate::{
    domain::QueueId,
    store::{
        StoreError, clock,
        events::{QueueRow, ScraperRow, queues, scrapers},
    },
};
use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Rows that a transaction changes or deletes. Posts wait for it.
const CHUNK: i64 = 5_000;
/// Transactions of a sweep that change rows of one kind, per queue. The rest is left to the next one.
const MAX_CHUNKS: usize = 20;

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
            if expiry::is_idle(scraper, now, self.settings(row.queue).ttl) {
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
}

#[cfg(test)]
mod tests;
