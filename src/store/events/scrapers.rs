//! Scrapers of a queue, and their progress.

use crate::{
    domain::QueueId,
    store::{StoreError, Tx},
};
use sqlx::{Any, Database, Row, any::AnyRow, query::Query};

/// The progress of a scraper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScraperRow {
    pub queue: QueueId,
    pub name: String,
    /// Events up to it are acknowledged, expired or deferred.
    pub position: i64,
    /// Events up to `position` that are not delivered yet, as JSON (see `events::deferred`).
    pub deferred: String,
    /// With explicit timestamps: events up to it are not repeated any more. Else `position`.
    /// The queue keeps the events after it.
    pub held: i64,
    /// The batch in flight. It is committed before the first byte of its response is sent.
    pub batch: Option<Batch>,
    /// Increases with each change.
    pub version: i64,
    /// Milliseconds since 1970, of the database's clock. Not exact.
    pub last_seen: i64,
}

/// A response whose delivery is not decided yet, and what the columns of its scraper become when it
/// is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The version of the row that began the batch.
    pub number: i64,
    pub position: i64,
    pub deferred: String,
    /// Time until which the process that sent it can decide, in milliseconds since 1970.
    pub until: i64,
    /// The process that sent it.
    pub replica: String,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT queue_id, name, position, deferred, held, batch, batch_position, batch_deferred, \
             batch_until, batch_replica, version, last_seen \
             FROM event_scrapers ",
            $rest
        )
    };
}

pub async fn find(
    tx: &mut Tx,
    queue: QueueId,
    name: &str,
) -> Result<Option<ScraperRow>, StoreError> {
    let row = sqlx::query(select!("WHERE queue_id = $1 AND name = $2"))
        .bind(queue.get())
        .bind(name)
        .fetch_optional(tx.connection())
        .await?;
    row.as_ref().map(scraper).transpose()
}

/// Returns the scrapers of a queue, sorted by name.
pub async fn of_queue(tx: &mut Tx, queue: QueueId) -> Result<Vec<ScraperRow>, StoreError> {
    let rows = sqlx::query(select!("WHERE queue_id = $1 ORDER BY name"))
        .bind(queue.get())
        .fetch_all(tx.connection())
        .await?;
    rows.iter().map(scraper).collect()
}

/// Returns the scrapers of all queues, sorted by queue and name.
pub async fn all(tx: &mut Tx) -> Result<Vec<ScraperRow>, StoreError> {
    let rows = sqlx::query(select!("ORDER BY queue_id, name")).fetch_all(tx.connection()).await?;
    rows.iter().map(scraper).collect()
}

pub async fn count(tx: &mut Tx, queue: QueueId) -> Result<usize, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS scrapers FROM event_scrapers WHERE queue_id = $1")
        .bind(queue.get())
        .fetch_one(tx.connection())
        .await?;
    let count: i64 = row.try_get("scrapers")?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Registers a scraper of a locked queue. Returns `false` and changes nothing if there is one with
/// this name.
///
/// The lock is needed: events that the new scraper gets must not be deleted at the same time.
pub async fn insert(tx: &mut Tx, row: &ScraperRow) -> Result<bool, StoreError> {
    tx.lock_events();
    let inserted = with_columns(
        row,
        "INSERT INTO event_scrapers (queue_id, name, position, deferred, held, batch, batch_position, \
         batch_deferred, batch_until, batch_replica, last_seen, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (queue_id, name) DO NOTHING",
    )
    .execute(tx.connection())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Replaces a row that still has the version of `row`, and gives it the next version. Returns `false`
/// and changes nothing if another transaction was first.
///
/// `held` and `last_seen` never decrease: [`touch`] changes them without a version.
pub async fn update(tx: &mut Tx, row: &ScraperRow) -> Result<bool, StoreError> {
    tx.lock_events();
    let updated = with_columns(
        row,
        "UPDATE event_scrapers SET position = $3, deferred = $4, \
         held = CASE WHEN held > $5 THEN held ELSE $5 END, batch = $6, batch_position = $7, \
         batch_deferred = $8, batch_until = $9, batch_replica = $10, version = version + 1, \
         last_seen = CASE WHEN last_seen > $11 THEN last_seen ELSE $11 END \
         WHERE queue_id = $1 AND name = $2 AND version = $12",
    )
    .execute(tx.connection())
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Removes a row that still has the version of `row`. Returns `false` if another transaction changed
/// or removed it.
pub async fn remove(tx: &mut Tx, row: &ScraperRow) -> Result<bool, StoreError> {
    tx.lock_events();
    let removed = sqlx::query(
        "DELETE FROM event_scrapers WHERE queue_id = $1 AND name = $2 AND version = $3",
    )
    .bind(row.queue.get())
    .bind(&row.name)
    .bind(row.version)
    .execute(tx.connection())
    .await?;
    Ok(removed.rows_affected() == 1)
}

/// Increases `last_seen` and `held` of a scraper, if it exists. `held` does not exceed the position:
/// events that were not delivered are offered.
pub async fn touch(
    tx: &mut Tx,
    queue: QueueId,
    name: &str,
    last_seen: i64,
    held: i64,
) -> Result<(), StoreError> {
    tx.lock_events();
    sqlx::query(
        "UPDATE event_scrapers SET \
         last_seen = CASE WHEN last_seen > $3 THEN last_seen ELSE $3 END, \
         held = CASE WHEN $4 > held AND $4 <= position THEN $4 ELSE held END \
         WHERE queue_id = $1 AND name = $2",
    )
    .bind(queue.get())
    .bind(name)
    .bind(last_seen)
    .bind(held)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A statement with the columns of a row as its parameters, `last_seen` and `version` at the end.
fn with_columns<'q>(
    row: &'q ScraperRow,
    sql: &'static str,
) -> Query<'q, Any, <Any as Database>::Arguments> {
    let batch = BatchColumns::of(row);
    sqlx::query(sql)
        .bind(row.queue.get())
        .bind(&row.name)
        .bind(row.position)
        .bind(&row.deferred)
        .bind(row.held)
        .bind(batch.number)
        .bind(batch.position)
        .bind(batch.deferred)
        .bind(batch.until)
        .bind(batch.replica)
        .bind(row.last_seen)
        .bind(row.version)
}

/// Columns of a batch. Without one they are 0 and empty.
#[derive(Default)]
struct BatchColumns<'a> {
    number: i64,
    position: i64,
    deferred: &'a str,
    until: i64,
    replica: &'a str,
}

impl<'a> BatchColumns<'a> {
    fn of(row: &'a ScraperRow) -> Self {
        row.batch.as_ref().map_or_else(Self::default, |batch| Self {
            number: batch.number,
            position: batch.position,
            deferred: &batch.deferred,
            until: batch.until,
            replica: &batch.replica,
        })
    }
}

fn scraper(row: &AnyRow) -> Result<ScraperRow, StoreError> {
    let batch = Batch {
        number: row.try_get("batch")?,
        position: row.try_get("batch_position")?,
        deferred: row.try_get("batch_deferred")?,
        until: row.try_get("batch_until")?,
        replica: row.try_get("batch_replica")?,
    };
    Ok(ScraperRow {
        queue: QueueId::new(row.try_get("queue_id")?),
        name: row.try_get("name")?,
        position: row.try_get("position")?,
        deferred: row.try_get("deferred")?,
        held: row.try_get("held")?,
        batch: (batch.number != 0).then_some(batch),
        version: row.try_get("version")?,
        last_seen: row.try_get("last_seen")?,
    })
}
