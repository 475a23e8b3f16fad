//! Label sets of a queue, and the number of events of each.

use super::statements::{MAX_ROWS, chunks, limit_of, list, search, values};
use crate::{
    domain::QueueId,
    store::{StoreError, Tx},
};
use sqlx::{AssertSqlSafe, Row, any::AnyRow};

/// A label set and its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesRow {
    /// Identifies the label set.
    pub series: String,
    /// A JSON object.
    pub labels: String,
    /// Number of events that were ever accepted.
    pub events: i64,
    /// The first of them.
    pub first_seq: i64,
    /// Timestamp of the newest event, in milliseconds since 1970.
    pub sample_at: i64,
    /// Time of the newest event by the database's clock, in milliseconds since 1970.
    pub last_at: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT series, labels, events, first_seq, sample_at, last_at FROM event_series \
             WHERE queue_id = $1 ",
            $rest
        )
    };
}

/// Returns the series with the newest events.
pub async fn counters(
    tx: &mut Tx,
    queue: QueueId,
    limit: usize,
) -> Result<Vec<SeriesRow>, StoreError> {
    let rows = search(select!("ORDER BY last_at DESC, series LIMIT $2"))
        .bind(queue.get())
        .bind(limit_of(limit))
        .fetch_all(tx.connection())
        .await?;
    rows.iter().map(series_row).collect()
}

/// Returns those of the series that exist, in any order.
pub async fn find(
    tx: &mut Tx,
    queue: QueueId,
    series: &[&str],
) -> Result<Vec<SeriesRow>, StoreError> {
    let mut found = Vec::with_capacity(series.len());
    for series in series.chunks(MAX_ROWS) {
        let sql = format!("{} AND series IN ({})", select!(""), list(2, series.len()));
        let mut query = search(AssertSqlSafe(sql)).bind(queue.get());
        for series in series {
            query = query.bind(*series);
        }
        for row in query.fetch_all(tx.connection()).await? {
            found.push(series_row(&row)?);
        }
    }
    Ok(found)
}

/// Inserts or replaces series of a locked queue. Each occurs once: PostgreSQL changes a row at most
/// once per statement.
pub async fn put(tx: &mut Tx, queue: QueueId, series: &[SeriesRow]) -> Result<(), StoreError> {
    tx.lock_events();
    for series in chunks(series) {
        let sql = format!(
            "INSERT INTO event_series \
             (queue_id, series, labels, events, first_seq, sample_at, last_at) VALUES {} \
             ON CONFLICT (queue_id, series) DO UPDATE SET events = excluded.events, \
             sample_at = excluded.sample_at, last_at = excluded.last_at",
            values(7, series.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in series {
            query = query
                .bind(queue.get())
                .bind(&row.series)
                .bind(&row.labels)
                .bind(row.events)
                .bind(row.first_seq)
                .bind(row.sample_at)
                .bind(row.last_at);
        }
        query.execute(tx.connection()).await?;
    }
    Ok(())
}

pub async fn count(tx: &mut Tx, queue: QueueId) -> Result<usize, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS series FROM event_series WHERE queue_id = $1")
        .bind(queue.get())
        .fetch_one(tx.connection())
        .await?;
    let count: i64 = row.try_get("series")?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Deletes at most `limit` series of a locked queue whose newest event is older than `before`. The
/// oldest are deleted first. Returns their number.
pub async fn prune(
    tx: &mut Tx,
    queue: QueueId,
    before: i64,
    limit: usize,
) -> Result<u64, StoreError> {
    tx.lock_events();
    let pruned = search(
        "DELETE FROM event_series WHERE queue_id = $1 AND series IN (SELECT series \
         FROM event_series WHERE queue_id = $1 AND last_at < $2 ORDER BY last_at, series LIMIT $3)",
    )
    .bind(queue.get())
    .bind(before)
    .bind(limit_of(limit))
    .execute(tx.connection())
    .await?;
    Ok(pruned.rows_affected())
}

fn series_row(row: &AnyRow) -> Result<SeriesRow, StoreError> {
    Ok(SeriesRow {
        series: row.try_get("series")?,
        labels: row.try_get("labels")?,
        events: row.try_get("events")?,
        first_seq: row.try_get("first_seq")?,
        sample_at: row.try_get("sample_at")?,
        last_at: row.try_get("last_at")?,
    })
}
