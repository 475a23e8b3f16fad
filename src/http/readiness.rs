//! Route sources without a route table, for error texts.
//!
//! Clients see only configuration keys. Addresses and errors are for operators, in the log and on
//! `/`.

use crate::{
    discovery::{Snapshot, UnknownRoutes},
    domain::tsuru_ids::is_tsuru_id,
};
use std::time::Duration;

/// Keys of sources without a route table, as in `routes.gorouters[0], routes.nats`.
pub(super) fn waiting_for(table: &Snapshot) -> String {
    table.waiting_for().map(|source| &*source.key).collect::<Vec<_>>().join(", ")
}

/// Kinds of sources that may know an app with this id, name or route, and whose routes are unknown.
pub(super) fn unknown_for(table: &Snapshot, keep: Duration, key: &str) -> Vec<UnknownRoutes> {
    let mut unknown = table.unknown_routes(keep);
    unknown.retain(|unknown| unknown.kind.is_tsuru || !is_tsuru_id(key));
    unknown
}

/// Configuration keys of kinds of sources, as in `routes.gorouters, routes.nats`.
pub(super) fn keys(unknown: &[UnknownRoutes]) -> String {
    unknown.iter().map(|unknown| unknown.kind.key).collect::<Vec<_>>().join(", ")
}
