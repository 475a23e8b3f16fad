//! States of queues and their scrapers, for pages and metrics.

use super::{Shared, backlog};
use crate::{
    domain::{BindingId, QueueId},
    store::{
        StoreError, Tx, clock,
        events::{self, QueueRow, ScraperRow, queues, scrapers},
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

/// States of all queues.
#[derive(Debug)]
pub struct QueueStates {
    /// In ascending order.
    pub queues: Vec<QueueState>,
    /// Time of the database when they were read, in milliseconds since 1970.
    pub now: i64,
    /// The same time of the own clock.
    pub read_at: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    pub queue: QueueId,
    /// None for the queue of the installation.
    pub binding: Option<BindingId>,
    /// The number of events that were accepted.
    pub last_seq: i64,
    /// The number of events that the scraper with the most pending events has to get.
    pub pending: i64,
    /// When the oldest pending event was received, in milliseconds since 1970.
    pub oldest_at: Option<i64>,
    /// Sorted by name.
    pub scrapers: Vec<ScraperState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScraperState {
    pub name: String,
    pub pending: i64,
    /// When the oldest pending event was received, in milliseconds since 1970.
    pub oldest_at: Option<i64>,
    /// Milliseconds since 1970.
    pub last_seen: i64,
    /// Whether the delivery of its last response is not decided yet.
    pub is_in_flight: bool,
}

/// No queues.
impl Default for QueueStates {
    fn default() -> Self {
        Self { queues: Vec::new(), now: 0, read_at: Instant::now() }
    }
}

impl QueueStates {
    pub fn queue(&self, queue: QueueId) -> Option<&QueueState> {
        let index = self.queues.binary_search_by_key(&queue, |it| it.queue);
        index.ok().and_then(|index| self.queues.get(index))
    }

    pub fn installation(&self) -> Option<&QueueState> {
        self.queue(QueueId::INSTALLATION)
    }

    /// Time since an event was received, in seconds. 0 without an event.
    pub fn age(&self, received_at: Option<i64>) -> f64 {
        let Some(received_at) = received_at else { return 0.0 };
        let then = u64::try_from(self.now - received_at).unwrap_or(0);
        (Duration::from_millis(then) + self.read_at.elapsed()).as_secs_f64()
    }
}

impl QueueState {
    /// Reads the state of a queue. Scrapers are sorted by name.
    pub(super) async fn read(
        tx: &mut Tx,
        row: QueueRow,
        scrapers: Vec<ScraperRow>,
    ) -> Result<Self, StoreError> {
        let firsts = scrapers.iter().map(|it| backlog::first_pending(it, row.last_seq));
        let firsts: Vec<Option<i64>> = firsts.collect();
        let numbers: Vec<i64> = firsts.iter().flatten().copied().collect();
        let oldest = events::by_numbers(tx, row.queue, &numbers).await?;
        let oldest: HashMap<i64, i64> = oldest.iter().map(|it| (it.seq, it.received_at)).collect();
        let scrapers = scrapers.into_iter().zip(firsts).map(|(scraper, first)| ScraperState {
            pending: backlog::pending(&scraper, row.last_seq),
            oldest_at: first.and_then(|seq| oldest.get(&seq).copied()),
            last_seen: scraper.last_seen,
            is_in_flight: scraper.batch.is_some(),
            name: scraper.name,
        });
        let scrapers: Vec<_> = scrapers.collect();
        Ok(Self {
            queue: row.queue,
            binding: row.binding,
            last_seq: row.last_seq,
            pending: scrapers.iter().map(|it| it.pending).max().unwrap_or(0),
            oldest_at: scrapers.iter().filter_map(|it| it.oldest_at).min(),
            scrapers,
        })
    }
}

impl Shared {
    pub(super) async fn refresh_states(&self) -> Result<(), StoreError> {
        let mut tx = self.store.begin_read().await?;
        let now = clock::now(&mut tx).await?;
        let mut states = QueueStates { now, ..QueueStates::default() };
        for (row, scrapers) in all_queues(&mut tx).await? {
            states.queues.push(QueueState::read(&mut tx, row, scrapers).await?);
        }
        self.metrics.states.store(Arc::new(states));
        Ok(())
    }
}

/// Reads all queues in ascending order, and their scrapers sorted by name.
pub(super) async fn all_queues(
    tx: &mut Tx,
) -> Result<Vec<(QueueRow, Vec<ScraperRow>)>, StoreError> {
    let mut by_queue: BTreeMap<QueueId, Vec<ScraperRow>> = BTreeMap::new();
    for scraper in scrapers::all(tx).await? {
        by_queue.entry(scraper.queue).or_default().push(scraper);
    }
    let queues = queues::all(tx).await?.into_iter().map(|row| {
        let scrapers = by_queue.remove(&row.queue).unwrap_or_default();
        (row, scrapers)
    });
    Ok(queues.collect())
}
