//! Names of route sources without a table, for clients that wait for them.
//!
//! Clients see configuration keys only. Addresses and errors are for operators, in the log and on `/`.

use crate::{
    discovery::{Snapshot, UnknownRoutes},
    domain::is_of_tsuru,
};
use std::time::Duration;

/// The sources that have given no table, as in `routes.gorouters[0], routes.nats`.
pub(super) fn waiting_for(table: &Snapshot) -> String {
    table.waiting_for().map(|source| &*source.key).collect::<Vec<_>>().join(", ")
}

/// The kinds of sources that may know an app of this id, name or route, and whose routes are not
/// known.
pub(super) fn unknown_for(table: &Snapshot, keep: Duration, key: &str) -> Vec<UnknownRoutes> {
    let mut unknown = table.unknown_routes(keep);
    unknown.retain(|unknown| unknown.kind.is_tsuru || !is_of_tsuru(key));
    unknown
}

/// The kinds of sources, as in `routes.gorouters, routes.nats`.
pub(super) fn keys(unknown: &[UnknownRoutes]) -> String {
    unknown.iter().map(|unknown| unknown.kind.key).collect::<Vec<_>>().join(", ")
}
