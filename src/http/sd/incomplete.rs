//! Detects lists that may lack targets, because the routes of a source are unknown.
//!
//! An app runs on one platform, and each source reports all instances of its apps. So a list of
//! given apps is complete if all of them are in the table, unless a source is still filling it.

use super::{Visibility, cache::Key, query::Selector};
use crate::{
    broker::ActiveBindings,
    discovery::{Snapshot, UnknownRoutes},
    domain::AppGuid,
    http::readiness,
};
use std::time::Duration;

/// Kinds of sources whose targets may be missing in the list. It is empty for a complete list.
pub(super) fn unknown_routes(
    table: &Snapshot,
    bound: &ActiveBindings,
    list: &Key,
    keep: Duration,
) -> Vec<UnknownRoutes> {
    let of_key = |key: &str, is_found: bool| {
        let mut unknown = readiness::unknown_for(table, keep, key);
        unknown.retain(|unknown| !is_found || unknown.is_filling);
        unknown
    };
    let of_app = |app: &AppGuid| of_key(app.as_str(), table.contains_app(app.as_str()));
    match (&list.visibility, &list.query.selector) {
        (Visibility::App(app), _) => of_app(app),
        (Visibility::BoundApps(instance), _) => {
            let prometheus = bound.prometheus(instance.as_str());
            let apps = prometheus.into_iter().flat_map(|it| it.targets.apps());
            let mut unknown: Vec<_> = apps.flat_map(of_app).collect();
            unknown.sort_unstable_by_key(|unknown| unknown.kind);
            unknown.dedup_by_key(|unknown| unknown.kind);
            unknown
        }
        (_, Selector::Key(key)) => of_key(key.as_str(), !table.find(key).is_empty()),
        (Visibility::Space(space), _) => readiness::unknown_for(table, keep, space.as_str()),
        (Visibility::Everything, _) => table.unknown_routes(keep),
    }
}
