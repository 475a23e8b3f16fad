//! The only writer of the route table.
//!
//! Sources send reports. The writer applies them, builds the next index and publishes it. Parsing
//! 140 MB of JSON takes a second, so all of this runs on a blocking thread. Threads that serve
//! scrapes do not even free an old table.

use super::{
    index::Index,
    snapshot::{RouteTable, Snapshot},
    source_states::SourceStates,
};
use crate::discovery::report::SourceReport;
use std::{mem, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Maximum number of reports that are applied before the table is rebuilt.
const BATCH: usize = 64;
/// Interval at which the writer checks whether readers still hold an old table.
const RETIRED_PAUSE: Duration = Duration::from_secs(1);

/// Applies reports and publishes tables until `shutdown`.
pub(super) async fn write(
    sources: SourceStates,
    mut reports: mpsc::Receiver<SourceReport>,
    table: RouteTable,
    shutdown: CancellationToken,
) {
    let index = Arc::clone(&table.snapshot().index);
    let mut builder = TableBuilder { sources, index, retired: Vec::new() };
    let mut due: Option<Instant> = None;
    loop {
        let mut batch = Vec::new();
        let timer = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            count = reports.recv_many(&mut batch, BATCH) => if count == 0 { return },
            () = timer => {}
        }
        let now = Instant::now();
        let task = spawn_blocking(move || {
            let snapshot = builder.apply(batch, now);
            (builder, snapshot)
        });
        let Ok((back, snapshot)) = task.await else {
            // Caused by a panic or the end of the runtime. The table stays as it is, and its age
            // shows the problem.
            tracing::error!("route table writer failed; the table is no longer updated");
            return;
        };
        builder = back;
        due = builder.next_due(now);
        table.publish(snapshot);
    }
}

/// State of the writer, which moves between threads.
struct TableBuilder {
    sources: SourceStates,
    /// The published index.
    index: Arc<Index>,
    /// Replaced indexes that readers may still hold. Freeing a large index is slow, so the writer
    /// keeps a reference until no reader holds one.
    retired: Vec<Arc<Index>>,
}

impl TableBuilder {
    fn apply(&mut self, batch: Vec<SourceReport>, now: Instant) -> Snapshot {
        let mut changed = false;
        for SourceReport { source, report } in batch {
            changed |= self.sources.apply(source, report, now);
        }
        changed |= self.sources.expire(now);
        let retired = self.retired.len();
        self.retired.retain(|index| Arc::strong_count(index) > 1);
        if self.retired.len() < retired {
            self.sources.drop_unused();
        }
        if changed {
            let next = Arc::new(self.sources.build(&self.index));
            self.retired.push(mem::replace(&mut self.index, next));
        }
        Snapshot { index: Arc::clone(&self.index), sources: self.sources.status() }
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        let retired = Some(now + RETIRED_PAUSE).filter(|_| !self.retired.is_empty());
        self.sources.next_due().into_iter().chain(retired).min()
    }
}

#[cfg(test)]
mod tests;
