//! The route table and its sources.
//!
//! ```text
//! gorouters (polled) ────┐                ┌─ claims of each source ─┐
//! route file (read) ─────┼─► one writer ──┤  merge: the union       ├─► snapshot ─► readers
//! NATS (subscribed to) ──┤   (reports)    └─ index: for look-ups ───┘   (one swap)
//! Tsuru (polled) ────────┘
//! ```
//!
//! A router can be down, stale, freshly restarted, or replaced by another server that returns a
//! login page. An app must neither lose its metrics nor get those of another app because of it.
//! Therefore the table stores the claims of each source separately (`table::claims`), they expire by
//! age (`table::source_states`), and conflicts are resolved by comparing when the sources learned of
//! an endpoint (`table::merge`). Readers see only the result.
//!
//! Sources ([`RouteSource`]) do not know the table, and the table does not know the sources. They
//! share the vocabulary of this module: endpoints, entries, reports.
//!
//! # Invariants
//!
//! * One writer updates the table. Readers hold an immutable [`Snapshot`] and never wait.
//! * The table contains no endpoint without an app, so platform components are never scraped.
//! * An endpoint that one source omits stays in the table if another source lists it.
//! * An instance is identified by its address and appears once in the result of a look-up.

mod address;
mod document;
mod drop_log;
mod endpoint;
mod error;
mod intern;
mod report;
mod route_key;
mod source;
mod sources;
mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod wire;

pub use document::{Document, DocumentError, parse};
pub use endpoint::{DEFAULT_PROCESS_TYPE, Endpoint};
pub use source::{Reload, Reporting, RouteSource, SourceContext, SourceKind};
pub use sources::{
    file::RouteFile,
    gorouter::Gorouter,
    nats::{MessageError, Nats, NatsSettings, Registration, parse_message},
    tsuru::{BoundTsuruApps, TsuruHosts, TsuruUnits},
};
pub use table::{Match, RouteTable, Snapshot, SourceStatus, TableVersion, UnknownRoutes};

use report::Reporter;
use std::{collections::BTreeMap, time::Duration};
use table::{Retention, SourceName};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_local},
};
use tokio_util::sync::CancellationToken;

/// Lifetime of routes, and settings of all sources.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Routes of an unavailable source expire this long after its last successful report.
    pub stale_after: Duration,
    /// How long the last table is served while all sources are unavailable.
    pub keep: Duration,
    /// Interval between two polls of a source. Not zero.
    pub refresh_interval: Duration,
    pub limits: Limits,
}

/// Limits of one response of a source.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Timeout of one poll, including the body.
    pub timeout: Duration,
    /// Maximum size of a response, in bytes.
    pub body_bytes: u64,
}

impl Default for Limits {
    /// gorouter's own timeout for writing the table is 10 s. A table of 200,000 routes has a
    /// seventh of this size.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), body_bytes: 1 << 30 }
    }
}

/// The running sources.
#[derive(Debug)]
pub struct Discovery {
    /// Empty and incomplete until the first report.
    pub table: RouteTable,
    pub reload: Reload,
    tasks: Vec<JoinHandle<()>>,
}

impl Discovery {
    /// Starts the writer and all sources, in the order of the configuration. They run until
    /// `shutdown`.
    ///
    /// Must be called where `tokio::task::spawn_local` works, for example in an actix arbiter,
    /// because awc's clients are not `Send`. The thread should not serve requests, because it
    /// receives the bodies of all polls. They are parsed on tokio's blocking threads.
    ///
    /// # Panics
    /// Outside of a `LocalSet`, and if `refresh_interval` is zero.
    pub fn start(
        settings: Settings,
        sources: Vec<Box<dyn RouteSource>>,
        shutdown: &CancellationToken,
    ) -> Self {
        let Settings { stale_after, keep, refresh_interval, .. } = settings;
        let retention = Retention { stale_after, keep, first_round: refresh_interval };
        let names = names(&sources);
        // Room for two reports per source, so that the writer can combine reports, and so that the
        // NATS source can send its last changes together with the failure.
        let (sender, receiver) = mpsc::channel(2 * sources.len().max(1));
        let (table, writer) = table::open(retention, &names, receiver, shutdown.clone());
        let mut reload = Reload::default();
        let mut tasks = vec![spawn_local(writer)];
        for (position, source) in sources.into_iter().enumerate() {
            let reporter = Reporter::new(position, sender.clone());
            let requests = reload.requests_of(source.file());
            let running = source.run(SourceContext { settings, reporter, reload: requests });
            let shutdown = shutdown.clone();
            tasks.push(spawn_local(async move {
                shutdown.run_until_cancelled(running).await;
            }));
        }
        Self { table, reload, tasks }
    }

    /// Waits until all sources and the writer have stopped.
    pub async fn stopped(self) {
        for task in self.tasks {
            // A panic has already been logged.
            let _ = task.await;
        }
    }
}

/// The sources of a list are numbered in their keys.
fn names(sources: &[Box<dyn RouteSource>]) -> Vec<SourceName> {
    let mut positions: BTreeMap<SourceKind, usize> = BTreeMap::new();
    let mut names = Vec::with_capacity(sources.len());
    for source in sources {
        let kind = source.kind();
        let position = positions.entry(kind).or_default();
        let key = match kind.is_list {
            true => format!("{}[{position}]", kind.key),
            false => kind.key.to_owned(),
        };
        *position += 1;
        names.push(SourceName { kind, key: key.into(), name: source.name().into() });
    }
    names
}

#[cfg(test)]
mod tests;
