//! The route table: claims of all sources, merged into an index that one writer publishes.

mod claims;
mod index;
mod lookup;
mod merge;
mod snapshot;
mod source_states;
mod writer;

pub use lookup::Match;
pub use snapshot::{RouteTable, Snapshot, SourceStatus, TableVersion, UnknownRoutes};

use super::{SourceKind, report::SourceReport};
use source_states::SourceStates;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

/// Lifetime of routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) stale_after: Duration,
    pub(super) keep: Duration,
    /// First reports within this time count as simultaneous, because their order depends on the
    /// duration of the polls.
    pub(super) first_round: Duration,
}

/// Kind and names of a source.
#[derive(Clone, Debug)]
pub(super) struct SourceName {
    pub(super) kind: SourceKind,
    /// Key in the configuration, for example `routes.gorouters[0]`.
    pub(super) key: Arc<str>,
    /// Display name without credentials.
    pub(super) name: Arc<str>,
}

/// Returns an empty table, and its writer, which applies `reports` until `shutdown`.
pub(super) fn open(
    retention: Retention,
    sources: &[SourceName],
    reports: mpsc::Receiver<SourceReport>,
    shutdown: CancellationToken,
) -> (RouteTable, impl Future<Output = ()> + use<>) {
    let states = SourceStates::new(retention, sources, Instant::now());
    let table = RouteTable::new(Snapshot { sources: states.status(), ..Snapshot::default() });
    (table.clone(), writer::write(states, reports, table, shutdown))
}
