//! The last events of a queue, and what scrapers have got of them.

use super::{Events, backlog::Progress, states::QueueState, writer::MAX_SHIFT};
use crate::{
    domain::{EventLabels, QueueId},
    store::{
        StoreError, Tx,
        events::{self, QueueRow, ScraperRow, StoredEvent, queues, scrapers},
    },
};
use std::collections::{BTreeMap, HashSet};

/// Which events are shown.
#[derive(Clone, Debug)]
pub struct TimelineFilter {
    /// Labels that an event has.
    pub labels: Vec<(String, String)>,
    /// The first and the last time of an event, in milliseconds since 1970.
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub limit: usize,
}

/// The last events of a queue, the newest first.
#[derive(Debug, PartialEq, Eq)]
pub struct Timeline {
    pub events: Vec<TimelineEvent>,
    pub queue: QueueState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEvent {
    pub seq: i64,
    pub labels: EventLabels,
    /// As it is exposed.
    pub value: String,
    /// Milliseconds since 1970.
    pub time: i64,
    pub received_at: i64,
    pub state: EventState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventState {
    /// A scraper has not got it.
    Pending,
    /// The queue has no scraper. The event waits for the first one.
    NoScraper,
    /// All scrapers have it.
    Delivered,
    /// A scraper had not got it when it expired, or there was no scraper.
    Expired,
}

/// An event and the scrapers of its queue.
#[derive(Debug, PartialEq, Eq)]
pub struct EventDelivery {
    pub event: TimelineEvent,
    pub scrapers: BTreeMap<String, ScraperDelivery>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScraperDelivery {
    Pending,
    /// Sent, but not acknowledged yet.
    InFlight,
    Acknowledged,
}

/// Events that are read at once, and for one timeline.
const PAGE: usize = 1_000;
const MAX_READ: usize = 200_000;

impl Events {
    /// Returns the last events of a queue. None if the queue does not exist.
    pub async fn timeline(
        &self,
        queue: QueueId,
        filter: &TimelineFilter,
    ) -> Result<Option<Timeline>, StoreError> {
        let mut tx = self.0.store.begin_read().await?;
        let Some(row) = queues::find(&mut tx, queue).await? else { return Ok(None) };
        let scrapers = scrapers::of_queue(&mut tx, queue).await?;
        let states = States::new(&row, &scrapers);
        let mut shown = Vec::new();
        let mut before = i64::MAX;
        for _ in 0..MAX_READ / PAGE {
            let page = events::newest(&mut tx, queue, before, PAGE).await?;
            let is_last = page.len() < PAGE || page.iter().any(|event| filter.is_before(event));
            before = page.last().map_or(before, |event| event.seq);
            let missed = missed(&mut tx, queue, &page).await?;
            let events = page.into_iter().filter(|event| filter.has_time_of(event));
            let events = events.filter_map(|event| filter.select(event, &states, &missed));
            shown.extend(events.take(filter.limit - shown.len()));
            if is_last || shown.len() >= filter.limit {
                break;
            }
        }
        let queue = QueueState::read(&mut tx, row, scrapers).await?;
        Ok(Some(Timeline { events: shown, queue }))
    }

    /// Returns an event and what each scraper has got of it. None if it does not exist (any more).
    pub async fn delivery_of(
        &self,
        queue: QueueId,
        seq: i64,
    ) -> Result<Option<EventDelivery>, StoreError> {
        let mut tx = self.0.store.begin_read().await?;
        let Some(row) = queues::find(&mut tx, queue).await? else { return Ok(None) };
        let scrapers = scrapers::of_queue(&mut tx, queue).await?;
        let found = events::by_numbers(&mut tx, queue, &[seq]).await?;
        let missed = missed(&mut tx, queue, &found).await?;
        Ok(found.into_iter().next().map(|event| EventDelivery {
            event: States::new(&row, &scrapers).show(event, &missed),
            scrapers: scrapers.iter().map(|it| (it.name.clone(), delivery(it, seq))).collect(),
        }))
    }
}

impl TimelineFilter {
    /// Whether this event and all events before it are too old.
    fn is_before(&self, event: &StoredEvent) -> bool {
        self.from.is_some_and(|from| event.received_at < from - MAX_SHIFT)
    }

    fn has_time_of(&self, event: &StoredEvent) -> bool {
        self.from.is_none_or(|from| event.sample_at >= from)
            && self.to.is_none_or(|to| event.sample_at <= to)
    }

    fn select(
        &self,
        event: StoredEvent,
        states: &States,
        missed: &HashSet<i64>,
    ) -> Option<TimelineEvent> {
        let event = states.show(event, missed);
        let has = |(name, value): &(String, String)| event.labels.get(name) == Some(value);
        self.labels.iter().all(has).then_some(event)
    }
}

/// Those of the events that were missed. The events are in descending order.
async fn missed(
    tx: &mut Tx,
    queue: QueueId,
    events: &[StoredEvent],
) -> Result<HashSet<i64>, StoreError> {
    let [Some(last), Some(first)] = [events.first(), events.last()] else {
        return Ok(HashSet::new());
    };
    Ok(events::missed(tx, queue, first.seq, last.seq).await?.into_iter().collect())
}

/// What the states of events depend on.
struct States {
    expired_seq: i64,
    scrapers: Vec<Progress>,
}

impl States {
    fn new(row: &QueueRow, scrapers: &[ScraperRow]) -> Self {
        let scrapers = scrapers.iter().map(|it| Progress::new(it.position, &it.deferred));
        Self { expired_seq: row.expired_seq, scrapers: scrapers.collect() }
    }

    fn show(&self, event: StoredEvent, missed: &HashSet<i64>) -> TimelineEvent {
        TimelineEvent {
            seq: event.seq,
            // This program wrote them.
            labels: EventLabels::from_json(&event.labels).unwrap_or_default(),
            value: event.value,
            time: event.sample_at,
            received_at: event.received_at,
            state: self.state(event.seq, missed.contains(&event.seq)),
        }
    }

    fn state(&self, seq: i64, is_missed: bool) -> EventState {
        if is_missed {
            return EventState::Expired;
        }
        if self.scrapers.is_empty() && seq > self.expired_seq {
            return EventState::NoScraper;
        }
        match self.scrapers.iter().all(|it| it.has(seq)) {
            true => EventState::Delivered,
            false => EventState::Pending,
        }
    }
}

fn delivery(scraper: &ScraperRow, seq: i64) -> ScraperDelivery {
    if Progress::new(scraper.position, &scraper.deferred).has(seq) {
        return ScraperDelivery::Acknowledged;
    }
    match &scraper.batch {
        Some(batch) if Progress::new(batch.position, &batch.deferred).has(seq) => {
            ScraperDelivery::InFlight
        }
        _ => ScraperDelivery::Pending,
    }
}

#[cfg(test)]
mod tests;
