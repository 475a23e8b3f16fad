//! The one writer of the route table.
//!
//! Sources report, the writer takes, arranges and publishes. Reading 140 MB of
//! JSON takes a second of computing, so it happens on a blocking thread: no
//! thread that serves scrapes does any of it, or even frees an old table.

use super::{
    index::Index,
    route_table::{RouteTable, Snapshot},
    sources::{Report, Sources},
};
use std::{mem, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Reports taken before a new table is built, if that many wait.
const BATCH: usize = 64;
/// Pause before a table that readers still held is looked at again.
const RETIRED_PAUSE: Duration = Duration::from_secs(1);

/// Lets one source speak, and only for itself.
///
/// This is all that a source gets: it decides when it has news, by polling or
/// by being called, and the rest of the room does not care which.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    source: usize,
    said: mpsc::Sender<Said>,
}

/// A report and whose it is.
#[derive(Debug)]
pub(super) struct Said {
    source: usize,
    report: Report,
}

impl Reporter {
    /// For the source at position `source` of [`Sources`].
    pub(super) fn new(source: usize, said: mpsc::Sender<Said>) -> Self {
        Self { source, said }
    }

    /// Hands news over, and waits while the writer has more than enough: a
    /// source that is faster than the writer must not pile up its answers.
    pub(super) async fn report(&self, report: Report) {
        // A closed channel means that the writer has stopped, as the source will.
        let _ = self.said.send(Said { source: self.source, report }).await;
    }

    /// A turn to speak, if the writer can listen right now: for a source that
    /// has better to do than to wait.
    pub(super) fn when_free(&self) -> Option<Turn<'_>> {
        Some(Turn { source: self.source, permit: self.said.try_reserve().ok()? })
    }
}

/// Room for one report.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    source: usize,
    permit: mpsc::Permit<'a, Said>,
}

impl Turn<'_> {
    /// Hands news over.
    pub(super) fn report(self, report: Report) {
        self.permit.send(Said { source: self.source, report });
    }
}

/// Publishes to `table` what the sources report, until `shutdown`.
pub(super) async fn write(
    sources: Sources,
    mut said: mpsc::Receiver<Said>,
    table: RouteTable,
    shutdown: CancellationToken,
) {
    let index = Arc::clone(&table.snapshot().index);
    let mut desk = Desk { sources, index, retired: Vec::new() };
    let mut due: Option<Instant> = None;
    loop {
        let mut news = Vec::new();
        let fallen_due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            count = said.recv_many(&mut news, BATCH) => if count == 0 { return },
            () = fallen_due => {}
        }
        let now = Instant::now();
        let work = spawn_blocking(move || {
            let snapshot = desk.work(news, now);
            (desk, snapshot)
        });
        let Ok((back, snapshot)) = work.await else {
            // Only a bug or the end of the runtime leads here. The table stays
            // as it is, and its age shows it.
            tracing::error!("the route table is no longer updated: its writer failed");
            return;
        };
        desk = back;
        due = desk.next_due(now);
        table.publish(snapshot);
    }
}

/// What the writer works on, handed from thread to thread.
struct Desk {
    sources: Sources,
    /// The published one.
    index: Arc<Index>,
    /// Replaced ones that readers may still hold. Being the last to let go of
    /// a large table takes a while, so it must not be a reader.
    retired: Vec<Arc<Index>>,
}

impl Desk {
    fn work(&mut self, news: Vec<Said>, now: Instant) -> Snapshot {
        let mut changed = false;
        for Said { source, report } in news {
            changed |= self.sources.take(source, report, now);
        }
        changed |= self.sources.expire(now);
        let retired = self.retired.len();
        self.retired.retain(|index| Arc::strong_count(index) > 1);
        if self.retired.len() < retired {
            self.sources.tidy();
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
