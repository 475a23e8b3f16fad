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
//! Therefore the claims of each source are stored separately (`claims`), expire by age (`sources`),
//! and conflicts are resolved by comparing when the sources learned of an endpoint (`merge`).
//! Readers see only the result.
//!
//! # Invariants
//!
//! * One writer updates the table. Readers hold an immutable [`Snapshot`] and never wait.
//! * The table contains no endpoint without an app, so platform components are never scraped.
//! * An endpoint that one source omits stays in the table if another source lists it.
//! * An instance is identified by its address and appears once in the result of a look-up.

mod address;
mod claims;
mod document;
mod drop_log;
mod endpoint;
mod error;
mod fetch;
mod file;
mod gorouter;
mod index;
mod intern;
mod lookup;
mod merge;
mod nats;
mod route_key;
mod route_table;
mod sources;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tsuru;
mod wire;
mod writer;

pub use document::{Document, DocumentError, parse};
pub use endpoint::Endpoint;
pub use file::Reload;
pub use gorouter::Gorouter;
pub use lookup::Match;
pub use nats::{MessageError, Nats, NatsTls, Registration, parse_message};
pub use route_table::{RouteTable, Snapshot, SourceStatus, TableVersion, UnknownRoutes};
pub use sources::Kind as SourceKind;
pub use tsuru::{TSURU_CALLS, Tsuru, TsuruApi, TsuruApiError, TsuruBinds};

use sources::{Kind, Retention, SourceName, Sources};
use std::{path::PathBuf, time::Duration};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_local},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use writer::Reporter;

/// Route sources and the lifetime of their routes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Routes of an unavailable source expire this long after its last successful report.
    pub stale_after: Duration,
    /// How long the last table is served while all sources are unavailable.
    pub keep: Duration,
    /// Interval between two polls of a source. Not zero.
    pub refresh_interval: Duration,
    pub gorouters: Vec<Gorouter>,
    pub file: Option<PathBuf>,
    /// A NATS cluster on which routes are registered.
    pub nats: Option<Nats>,
    pub tsuru: Option<Tsuru>,
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
    /// Triggered by SIGHUP.
    pub reload: Reload,
    tasks: Vec<JoinHandle<()>>,
}

impl Discovery {
    /// Starts the writer and all sources. They run until `shutdown`.
    ///
    /// Must be called where `tokio::task::spawn_local` works, for example in an actix arbiter,
    /// because awc's clients are not `Send`. The thread should not serve requests, because it
    /// receives the bodies of all polls. They are parsed on tokio's blocking threads.
    ///
    /// # Panics
    /// Outside of a `LocalSet`, and if `refresh_interval` is zero.
    pub fn start(settings: Settings, shutdown: &CancellationToken) -> Self {
        let Settings { stale_after, keep, refresh_interval, gorouters, file, nats, tsuru, limits } =
            settings;
        let retention = Retention { stale_after, keep, first_round: refresh_interval };
        let named = |kind: Kind, key: &str, name: String| SourceName {
            kind,
            key: key.into(),
            name: name.into(),
        };
        let mut names: Vec<SourceName> = Vec::new();
        names.extend(
            file.iter().map(|path| {
                named(Kind::File, Kind::File.key(), format!("file {}", path.display()))
            }),
        );
        names.extend(gorouters.iter().enumerate().map(|(position, router)| {
            let key = format!("{}[{position}]", Kind::Gorouter.key());
            named(Kind::Gorouter, &key, router.name())
        }));
        names.extend(nats.iter().map(|nats| named(Kind::Nats, Kind::Nats.key(), nats.name())));
        names.extend(tsuru.iter().map(|tsuru| {
            let kind = if tsuru.api.is_some() { Kind::Exclusive } else { Kind::OptionalExclusive };
            named(kind, kind.key(), tsuru.name())
        }));

        let sources = Sources::new(retention, &names, Instant::now());
        let table = RouteTable::new(Snapshot { sources: sources.status(), ..Snapshot::default() });
        let reload = Reload::default();
        // Room for two reports per source, so that the writer can combine reports, and so that the
        // NATS source can send its last changes together with the failure.
        let (sender, receiver) = mpsc::channel(2 * names.len().max(1));
        let mut reporters = (0..).map(|source| Reporter::new(source, sender.clone()));
        let mut tasks = Vec::new();
        if let Some((path, reporter)) = file.and_then(|path| Some((path, reporters.next()?))) {
            let (reload, shutdown) = (reload.clone(), shutdown.clone());
            tasks.push(spawn_local(file::watch(path, limits, reporter, reload, shutdown)));
        }
        for (router, reporter) in gorouters.into_iter().zip(reporters.by_ref()) {
            let shutdown = shutdown.clone();
            let polling = gorouter::poll(router, refresh_interval, limits, reporter, shutdown);
            tasks.push(spawn_local(polling));
        }
        if let Some((nats, reporter)) = nats.and_then(|nats| Some((nats, reporters.next()?))) {
            let retention = nats::Expiry { stale_after, keep };
            tasks.push(spawn_local(nats::listen(nats, retention, reporter, shutdown.clone())));
        }
        if let Some((tsuru, reporter)) = tsuru.and_then(|tsuru| Some((tsuru, reporters.next()?))) {
            let settings = tsuru::PollSettings { refresh_interval, stale_after, keep, limits };
            tasks.push(spawn_local(tsuru::poll(tsuru, settings, reporter, shutdown.clone())));
        }
        drop(reporters);
        drop(sender);
        tasks.push(spawn_local(writer::write(sources, receiver, table.clone(), shutdown.clone())));
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

#[cfg(test)]
mod tests;
