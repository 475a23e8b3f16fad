//! Events, their queues and scrapers.
//!
//! The events of a queue are numbered 1, 2, 3, … without gaps. [`queues::lock`] locks the row of the
//! queue until the commit, so numbers become visible in order: a reader that sees an event sees all
//! events before it. The number of pending events of a scraper is therefore a difference.
//!
//! Changes of events do not call [`super::state::bump`]: they concern no binding.

pub mod keys;
pub mod queues;
pub mod scrapers;
pub mod series;
mod statements;

#[cfg(test)]
mod tests;

use super::{StoreError, Tx};
use crate::domain::QueueId;
pub use keys::KeyRow;
pub use queues::QueueRow;
pub use scrapers::{Batch, ScraperRow};
pub use series::SeriesRow;
use sqlx::{AssertSqlSafe, Row, any::AnyRow};
use statements::{MAX_ROWS, chunks, limit_of, list, search, values};

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub seq: i64,
    /// Identifies the label set.
    pub series: String,
    /// A JSON object.
    pub labels: String,
    /// As it is exposed.
    pub value: String,
    /// Milliseconds since 1970. Ascending within a series.
    pub sample_at: i64,
    /// Milliseconds since 1970, of the database's clock.
    pub received_at: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT seq, series, labels, value, sample_at, received_at FROM events \
             WHERE queue_id = $1 ",
            $rest
        )
    };
}

/// Returns the oldest events after the number `after`, in ascending order.
pub async fn for_delivery(
    tx: &mut Tx,
    queue: QueueId,
    after: i64,
    limit: usize,
) -> Result<Vec<StoredEvent>, StoreError> {
    let rows = search(select!("AND seq > $2 ORDER BY seq LIMIT $3"))
        .bind(queue.get())
        .bind(after)
        .bind(limit_of(limit))
        .fetch_all(tx.connection())
        .await?;
    rows.iter().map(event).collect()
}

/// Returns the newest events before the number `before`, in descending order.
pub async fn newest(
    tx: &mut Tx,
    queue: QueueId,
    before: i64,
    limit: usize,
) -> Result<Vec<StoredEvent>, StoreError> {
    let rows = search(select!("AND seq < $2 ORDER BY seq DESC LIMIT $3"))
        .bind(queue.get())
        .bind(before)
        .bind(limit_of(limit))
        .fetch_all(tx.connection())
        .await?;
    rows.iter().map(event).collect()
}

/// Returns the events with these numbers that still exist, in ascending order.
pub async fn by_numbers(
    tx: &mut Tx,
    queue: QueueId,
    numbers: &[i64],
) -> Result<Vec<StoredEvent>, StoreError> {
    let mut events = Vec::with_capacity(numbers.len());
    for numbers in numbers.chunks(MAX_ROWS) {
        let sql = format!("{} AND seq IN ({})", select!(""), list(2, numbers.len()));
        let mut query = search(AssertSqlSafe(sql)).bind(queue.get());
        for number in numbers {
            query = query.bind(*number);
        }
        for row in query.fetch_all(tx.connection()).await? {
            events.push(event(&row)?);
        }
    }
    events.sort_unstable_by_key(|event| event.seq);
    Ok(events)
}

/// Returns the number of the first event after `after` that was received at this time or later.
pub async fn first_since(
    tx: &mut Tx,
    queue: QueueId,
    after: i64,
    received_at: i64,
) -> Result<Option<i64>, StoreError> {
    let row = search(
        "SELECT seq FROM events WHERE queue_id = $1 AND seq > $2 AND received_at >= $3 \
         ORDER BY seq LIMIT 1",
    )
    .bind(queue.get())
    .bind(after)
    .bind(received_at)
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| row.try_get("seq")).transpose()?)
}

/// Stores events of a locked queue. Their numbers follow its last one.
pub async fn insert(tx: &mut Tx, queue: QueueId, events: &[StoredEvent]) -> Result<(), StoreError> {
    tx.lock_events();
    for events in chunks(events) {
        let sql = format!(
            "INSERT INTO events (queue_id, seq, series, labels, value, sample_at, received_at) \
             VALUES {}",
            values(7, events.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for event in events {
            query = query
                .bind(queue.get())
                .bind(event.seq)
                .bind(&event.series)
                .bind(&event.labels)
                .bind(&event.value)
                .bind(event.sample_at)
                .bind(event.received_at);
        }
        query.execute(tx.connection()).await?;
    }
    Ok(())
}

/// Marks events `after < seq <= through` of a locked queue as missed.
pub async fn mark_missed(
    tx: &mut Tx,
    queue: QueueId,
    after: i64,
    through: i64,
) -> Result<(), StoreError> {
    tx.lock_events();
    search("UPDATE events SET missed = 1 WHERE queue_id = $1 AND seq > $2 AND seq <= $3")
        .bind(queue.get())
        .bind(after)
        .bind(through)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Marks events of a locked queue as missed.
pub async fn mark_missed_numbers(
    tx: &mut Tx,
    queue: QueueId,
    numbers: &[i64],
) -> Result<(), StoreError> {
    tx.lock_events();
    for numbers in numbers.chunks(MAX_ROWS) {
        let numbers_list = list(2, numbers.len());
        let sql =
            format!("UPDATE events SET missed = 1 WHERE queue_id = $1 AND seq IN ({numbers_list})");
        let mut query = search(AssertSqlSafe(sql)).bind(queue.get());
        for number in numbers {
            query = query.bind(*number);
        }
        query.execute(tx.connection()).await?;
    }
    Ok(())
}

/// Returns the missed events `first <= seq <= last` in ascending order.
pub async fn missed(
    tx: &mut Tx,
    queue: QueueId,
    first: i64,
    last: i64,
) -> Result<Vec<i64>, StoreError> {
    let rows = search(
        "SELECT seq FROM events WHERE queue_id = $1 AND seq >= $2 AND seq <= $3 AND missed = 1 \
         ORDER BY seq",
    )
    .bind(queue.get())
    .bind(first)
    .bind(last)
    .fetch_all(tx.connection())
    .await?;
    rows.iter().map(|row| Ok(row.try_get("seq")?)).collect()
}

/// Deletes the events of a locked queue up to a number.
pub async fn delete_through(tx: &mut Tx, queue: QueueId, seq: i64) -> Result<(), StoreError> {
    tx.lock_events();
    search("DELETE FROM events WHERE queue_id = $1 AND seq <= $2")
        .bind(queue.get())
        .bind(seq)
        .execute(tx.connection())
        .await?;
    Ok(())
}

fn event(row: &AnyRow) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        seq: row.try_get("seq")?,
        series: row.try_get("series")?,
        labels: row.try_get("labels")?,
        value: row.try_get("value")?,
        sample_at: row.try_get("sample_at")?,
        received_at: row.try_get("received_at")?,
    })
}
