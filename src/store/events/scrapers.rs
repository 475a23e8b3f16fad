//! Scrapers of a queue, and their progress.

use crate::domain::QueueId;

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
