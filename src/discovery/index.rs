//! The routes of one moment, arranged for look-ups.
//!
//! A look-up is one or two steps through a hash map, however large the table.
//! The maps are made of parts ([`shards`]), so that the next moment's index
//! shares with this one what is the same: on a large platform some instance
//! comes or goes all the time, and nearly everything else stays.

mod arrange;
mod shards;

use super::{endpoint::Endpoint, route_key};
use crate::domain::App;
use shards::{Keyed, Shards};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// Routes, apps, and the ways to find them.
#[derive(Debug, Default)]
pub(super) struct Index {
    routes: Shards<Route>,
    apps: Shards<AppEntry>,
    /// By `org/space/app`; names may contain slashes themselves.
    names: Shards<Name>,
    /// How many routes have so many path segments: a longer path than any can
    /// only match a shorter one.
    depths: BTreeMap<usize, usize>,
    /// Of all apps.
    instances: usize,
    /// Made when somebody lists everything, which look-ups never do.
    order: OnceLock<Order>,
}

/// What a route names now.
#[derive(Debug)]
pub(super) struct RouteNews {
    pub(super) route: Arc<str>,
    /// None: there is no such route any more.
    pub(super) endpoints: Option<Vec<Arc<Endpoint>>>,
}

#[derive(Debug)]
pub(super) struct Route {
    pub(super) key: Arc<str>,
    /// App after app by id, each in index order.
    endpoints: Box<[Arc<Endpoint>]>,
}

#[derive(Debug)]
pub(super) struct AppEntry {
    pub(super) app: Arc<App>,
    /// In index order.
    instances: Box<[Arc<Endpoint>]>,
    /// In byte order.
    routes: Box<[Arc<str>]>,
    /// Those under which `names` has it: one, apart from the minutes of a rename.
    names: Box<[Arc<str>]>,
}

/// The apps of one name; several while one is created anew under its old name.
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
    /// App after app by id, each in index order.
    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

impl AppEntry {
    /// Its instances, in index order.
    pub(super) fn instances(&self) -> &[Arc<Endpoint>] {
        &self.instances
    }

    /// Its routes, in byte order.
    pub(super) fn routes(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(AsRef::as_ref)
    }

    /// What to send as Host when it was not asked for by one of its routes: the
    /// host of the first one that is no wildcard.
    pub(super) fn host(&self) -> Option<&str> {
        self.routes().map(route_key::host).find(|host| route_key::is_sendable(host))
    }
}

impl Index {
    /// All routes, in byte order.
    pub(super) fn routes(&self) -> &[Arc<Route>] {
        &self.order().routes
    }

    /// All apps, in the order of their first routes, then by id.
    pub(super) fn apps(&self) -> &[Arc<AppEntry>] {
        &self.order().apps
    }

    /// All apps, in no order.
    pub(super) fn apps_in_no_order(&self) -> impl Iterator<Item = &AppEntry> {
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

    /// How many apps there are, and how many instances of them.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.apps.len(), self.instances)
    }

    pub(super) fn app(&self, guid: &str) -> Option<&AppEntry> {
        self.apps.get(guid).map(AsRef::as_ref)
    }

    /// The apps called `org/space/app`, by id.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &AppEntry> {
        let apps = self.names.get(name).map(|name| &name.apps);
        apps.into_iter().flatten().map(AsRef::as_ref)
    }

    /// The route that gorouter would take for `key`, spelled as in the table:
    /// the longest context path of the host itself, else of the nearest wildcard.
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
