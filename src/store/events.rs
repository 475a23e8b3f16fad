//! Events, their queues and scrapers.
//!
//! The events of a queue are numbered 1, 2, 3, … without gaps. [`queues::lock`] locks the row of the
//! queue until the commit, so numbers become visible in order: a reader that sees an event sees all
//! events before it. The number of pending events of a scraper is therefore a difference.
//!
//! Changes of events do not call [`super::state::bump`]: they concern no binding.

pub mod queues;
pub mod scrapers;

pub use queues::QueueRow;
pub use scrapers::{Batch, ScraperRow};

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
