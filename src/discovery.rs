//! Who exists: the route table, and the sources that fill it.
//!
//! ```text
//! gorouters (polled) ─┐                ┌─ claims of each source ─┐
//! route file (read) ──┼─► one writer ──┤  merge: the union       ├─► snapshot ─► readers
//! NATS (listened to) ─┤   (reports)    └─ index: for look-ups ───┘   (one swap)
//! Tsuru (polled) ─────┘
//! ```
//!
//! Why it is more than a map that is refilled: a router can be dead, stale,
//! restarted a second ago or somebody else's login page, and none of that may
//! cost an app its metrics, or give it another app's. So each source owns what
//! it said (`claims`), silence is judged by its age (`sources`), contradictions
//! by who learned something last (`merge`), and only the outcome is published.
//!
//! # Invariants
//!
//! * One writer; readers hold a [`Snapshot`] that never changes, and never wait.
//! * No endpoint without an app is in the table, so no key reaches one.
//! * What one source leaves out takes nothing from another.
//! * An instance is its address, and stands once in what a look-up gives.

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
pub use route_table::{Edition, RouteTable, Snapshot, SourceStatus, UnknownRoutes};
pub use sources::Kind as SourceKind;
pub use tsuru::{TSURU_CALLS, Tsuru, TsuruApi, TsuruApiError, TsuruBinds};

use sources::{Ages, Kind, Named, Sources};
use std::{path::PathBuf, time::Duration};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_local},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use writer::Reporter;

/// Where routes come from, and how long they count.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What an away source said counts for this long after its last good answer.
    pub stale_after: Duration,
    /// How long the last table serves while every source is away.
    pub keep: Duration,
    /// Pause between two polls of a router; not zero.
    pub refresh_interval: Duration,
    /// Routers to poll, side by side.
    pub gorouters: Vec<Gorouter>,
    /// A file in gorouter's format.
    pub file: Option<PathBuf>,
    /// A bus on which routes are registered.
    pub nats: Option<Nats>,
    /// Apps of Tsuru.
    pub tsuru: Option<Tsuru>,
    /// What one answer may cost.
    pub limits: Limits,
}

/// What one answer of a source may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for one poll, from connecting to the last byte.
    pub timeout: Duration,
    /// Largest document, in bytes.
    pub body_bytes: u64,
}

impl Default for Limits {
    /// Three times what gorouter allows itself for writing (10 s), and seven
    /// times the size of a table of 200,000 routes.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), body_bytes: 1 << 30 }
    }
}

/// The sources at work.
#[derive(Debug)]
pub struct Discovery {
    /// What they fill. Until the first answers it is empty and not complete.
    pub table: RouteTable,
    /// For SIGHUP.
    pub reload: Reload,
    tasks: Vec<JoinHandle<()>>,
}

impl Discovery {
    /// Starts the writer and all sources; they run until `shutdown`.
    ///
    /// The caller must be where `tokio::task::spawn_local` works, as in an
    /// actix arbiter (awc's clients do not change threads), and that thread
    /// should not be one that serves: it carries the bodies of the polls. The
    /// reading of them is done on tokio's blocking threads.
    ///
    /// # Panics
    /// Outside of a `LocalSet`, and when `refresh_interval` is zero.
    pub fn start(settings: Settings, shutdown: &CancellationToken) -> Self {
        let Settings { stale_after, keep, refresh_interval, gorouters, file, nats, tsuru, limits } =
            settings;
        let ages = Ages { stale_after, keep, first_round: refresh_interval };
        let named = |kind: Kind, key: &str, name: String| Named {
            kind,
            key: key.into(),
            name: name.into(),
        };
        let mut names: Vec<Named> = Vec::new();
        names.extend(
            file.iter().map(|path| {
                named(Kind::File, Kind::File.key(), format!("file {}", path.display()))
            }),
        );
        names.extend(gorouters.iter().enumerate().map(|(position, router)| {
            let key = format!("{}[{position}]", Kind::Router.key());
            named(Kind::Router, &key, router.name())
        }));
        names.extend(nats.iter().map(|nats| named(Kind::Bus, Kind::Bus.key(), nats.name())));
        names.extend(tsuru.iter().map(|tsuru| {
            let kind = if tsuru.api.is_some() { Kind::Apart } else { Kind::ApartIfAny };
            named(kind, kind.key(), tsuru.name())
        }));

        let sources = Sources::new(ages, &names, Instant::now());
        let table = RouteTable::new(Snapshot { sources: sources.status(), ..Snapshot::default() });
        let reload = Reload::default();
        // Room for two reports of each: what comes in together is built together,
        // and a bus tells what it heard last when it is lost.
        let (said, heard) = mpsc::channel(2 * names.len().max(1));
        let mut reporters = (0..).map(|source| Reporter::new(source, said.clone()));
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
            let ages = nats::Ages { stale_after, keep };
            tasks.push(spawn_local(nats::listen(nats, ages, reporter, shutdown.clone())));
        }
        if let Some((tsuru, reporter)) = tsuru.and_then(|tsuru| Some((tsuru, reporters.next()?))) {
            let pace = tsuru::Pace { refresh_interval, stale_after, keep, limits };
            tasks.push(spawn_local(tsuru::follow(tsuru, pace, reporter, shutdown.clone())));
        }
        drop(reporters);
        drop(said);
        tasks.push(spawn_local(writer::write(sources, heard, table.clone(), shutdown.clone())));
        Self { table, reload, tasks }
    }

    /// Resolves when every source and the writer have stopped.
    pub async fn stopped(self) {
        for task in self.tasks {
            // A task that panicked has stopped too, and said why.
            let _ = task.await;
        }
    }
}

#[cfg(test)]
mod test_router;
#[cfg(test)]
mod tests;
