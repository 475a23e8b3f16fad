//! What sources report, and the queue of reports.

use super::{
    document::{Entry, EntryKey},
    error::SourceError,
};
use tokio::sync::mpsc;

/// A report of a source.
#[derive(Debug)]
pub(super) enum Report {
    /// All routes, in gorouter's format.
    Full(Vec<u8>),
    /// The routes have not changed.
    Unchanged,
    /// Changes since the last report, from a source that never sends a full table.
    Changes(Changes),
    /// The attempt failed.
    Failure(SourceError),
    /// The source is still unavailable, for another reason.
    StillUnavailable(SourceError),
}

/// Changes that an incremental source reports.
#[derive(Debug)]
pub(super) struct Changes {
    /// In chronological order.
    pub(super) changes: Vec<Change>,
    /// How complete the source's routes are.
    pub(super) sync_state: SyncState,
    /// Number of failed attempts since the last report that do not affect other routes.
    pub(super) failed: u64,
    /// Number of invalid messages since startup.
    pub(super) skipped: usize,
    /// Number of endpoints of platform components.
    pub(super) without_app: usize,
}

/// A change that an incremental source reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Adds or replaces the entry with the same key.
    Set(Entry),
    /// Removes the entry with this key.
    Removed(EntryKey),
}

/// How complete the routes of an incremental source are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncState {
    /// Disconnected. Reported changes are older.
    Disconnected,
    /// Connected, but not for long enough to know all routes.
    Syncing,
    /// All routes are known.
    Synced,
}

/// Handle through which one source reports.
///
/// A source decides when to report.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    source: usize,
    reports: mpsc::Sender<SourceReport>,
}

/// A report and the position of its source.
#[derive(Debug)]
pub(super) struct SourceReport {
    pub(super) source: usize,
    pub(super) report: Report,
}

impl Reporter {
    /// `source` is the position among all sources.
    pub(super) fn new(source: usize, reports: mpsc::Sender<SourceReport>) -> Self {
        Self { source, reports }
    }

    /// Sends a report. Waits while the queue is full, so that a fast source cannot queue many
    /// reports.
    pub(super) async fn report(&self, report: Report) {
        // A closed channel means that the writer has stopped. The source will stop too.
        let _ = self.reports.send(SourceReport { source: self.source, report }).await;
    }

    /// Reserves a place in the queue without waiting.
    pub(super) fn try_reserve(&self) -> Option<ReportPermit<'_>> {
        Some(ReportPermit { source: self.source, permit: self.reports.try_reserve().ok()? })
    }
}

/// A reserved place in the queue.
#[derive(Debug)]
pub(super) struct ReportPermit<'a> {
    source: usize,
    permit: mpsc::Permit<'a, SourceReport>,
}

impl ReportPermit<'_> {
    pub(super) fn report(self, report: Report) {
        self.permit.send(SourceReport { source: self.source, report });
    }
}
