//! Queues of events.

use crate::domain::{BindingId, QueueId};

/// A queue, and the numbers that bound its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    pub queue: QueueId,
    /// None for the queue of the installation.
    pub binding: Option<BindingId>,
    /// The newest event. Also the number of events that were ever accepted.
    pub last_seq: i64,
    /// All events up to it have expired.
    pub expired_seq: i64,
    /// No scraper needs an event up to it. May lag behind.
    pub floor_seq: i64,
    /// All events up to it were deleted.
    pub deleted_seq: i64,
}
