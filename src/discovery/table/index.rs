//! The index of a snapshot for look-ups.
//!
//! A look-up takes one or two accesses to a hash map, independent of the size of the table. The
//! maps are split into parts ([`shards`]), so that the next index shares unchanged parts: on a
//! large platform instances change all the time, and most others stay the same.

mod shards;
mod update;

use crate::{
    discovery::{endpoint::Endpoint, route_key},
    domain::App,
};
use shards::{Keyed, Shards};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

#[derive(Debug, Default)]
pub(super) struct Index {
    routes: Shards<Route>,
    apps: Shards<AppEntry>,
    /// Apps by `org/space/app`. Names may contain slashes.
    names: Shards<Name>,
    /// Number of routes by number of path segments. Limits how many prefixes of a long path are
    /// looked up.
    depths: BTreeMap<usize, usize>,
    /// Number of instances of all apps.
    instances: usize,
    /// Sorted list of everything. Built on first use, because look-ups do not need it.
    order: OnceLock<Order>,
}

/// The new endpoints of a route.
#[derive(Debug)]
pub(super) struct RouteUpdate {
    pub(super) route: Arc<str>,
    /// None: the route was removed.
    pub(super) endpoints: Option<Vec<Arc<Endpoint>>>,
}

#[derive(Debug)]
pub(super) struct Route {
    pub(super) key: Arc<str>,
    /// Grouped by app id, then by instance index.
    endpoints: Box<[Arc<Endpoint>]>,
}

#[derive(Debug)]
pub(super) struct AppEntry {
    pub(super) app: Arc<App>,
    /// Ordered by instance index.
    instances: Box<[Arc<Endpoint>]>,
    /// Ordered by bytes.
    routes: Box<[Arc<str>]>,
    /// Names of the app. More than one only during a rename.
    names: Box<[Arc<str>]>,
}

/// Apps with the same name. More than one if an app is recreated under its old name.
#[derive(Debug)]
struct Name {
    name: Arc<str>,
    apps: Box<[Arc<AppEntry>]>,
}

#[derive(Debug)]
struct Order {
    routes: Box<[Arc<Route>]>,
    apps: Box<[Arc<AppEntry>]>,
}

impl Keyed for Route {
    fn key(&self) -> &str {
        &self.key
    }
}

impl Keyed for AppEntry {
    fn key(&self) -> &str {
        self.app.id.as_str()
    }
}

impl Keyed for Name {
    fn key(&self) -> &str {
        &self.name
    }
}

impl Route {
    /// Grouped by app id, then by instance index.
    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

impl AppEntry {
    /// Ordered by instance index.
    pub(super) fn instances(&self) -> &[Arc<Endpoint>] {
        &self.instances
    }

    /// Ordered by bytes.
    pub(super) fn routes(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(AsRef::as_ref)
    }

    /// Host header if the app was not requested by a route: the host of its first route that is not
    /// a wildcard.
    pub(super) fn host(&self) -> Option<&str> {
        self.routes().map(route_key::host).find(|host| route_key::is_sendable(host))
    }
}

impl Index {
    /// All routes, ordered by bytes.
    pub(super) fn routes(&self) -> &[Arc<Route>] {
        &self.order().routes
    }

    /// All apps, ordered by their first routes, then by id.
    pub(super) fn apps(&self) -> &[Arc<AppEntry>] {
        &self.order().apps
    }

    /// All apps, unordered.
    pub(super) fn unordered_apps(&self) -> impl Iterator<Item = &AppEntry> {
        self.apps.iter().map(AsRef::as_ref)
    }

    fn order(&self) -> &Order {
        self.order.get_or_init(|| {
            let mut routes: Box<[_]> = self.routes.iter().cloned().collect();
            routes.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            let mut apps: Box<[_]> = self.apps.iter().cloned().collect();
            let rank = |entry: &Arc<AppEntry>| entry.routes.first().cloned();
            apps.sort_by(|a, b| (rank(a), &a.app.id).cmp(&(rank(b), &b.app.id)));
            Order { routes, apps }
        })
    }

    /// Number of apps, and of their instances.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.apps.len(), self.instances)
    }

    pub(super) fn app(&self, guid: &str) -> Option<&AppEntry> {
        self.apps.get(guid).map(AsRef::as_ref)
    }

    /// The apps with the name `org/space/app`, ordered by id.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &AppEntry> {
        let apps = self.names.get(name).map(|name| &name.apps);
        apps.into_iter().flatten().map(AsRef::as_ref)
    }

    /// The route that gorouter would select for `key`: the longest context path of the host,
    /// otherwise of the nearest wildcard. `key` must be normalized.
    pub(super) fn route(&self, key: &str) -> Option<&Route> {
        self.longest_path(key)
            .or_else(|| route_key::next_wildcards(key, |wildcard| self.longest_path(wildcard)))
    }

    fn longest_path(&self, key: &str) -> Option<&Route> {
        let deepest = self.depths.last_key_value().map_or(0, |(depth, _)| *depth);
        let too_deep = key.match_indices('/').nth(deepest);
        let mut key = too_deep.and_then(|(at, _)| key.get(..at)).unwrap_or(key);
        loop {
            if let Some(route) = self.routes.get(key) {
                return Some(route);
            }
            key = key.rsplit_once('/')?.0;
        }
    }
}

#[cfg(test)]
mod tests;
