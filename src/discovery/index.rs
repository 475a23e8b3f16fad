//! The routes of one moment, arranged for look-ups.
//!
//! Built once and then only read, so everything lies in a few flat lists, and
//! a look-up is one or two steps through a hash map, however large the table.

use super::{document::Entry, endpoint::Endpoint, route_key};
use crate::domain::{App, AppGuid};
use foldhash::{HashMap, HashMapExt};
use std::{ops::Range, sync::Arc};

/// Routes, apps, and the ways to find them.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// In byte order.
    routes: Vec<Route>,
    /// Those of a route stand together, and in it those of an app.
    endpoints: Vec<Arc<Endpoint>>,
    by_route: HashMap<Arc<str>, usize>,
    /// Most path segments of any route; a longer path can only match a shorter one.
    deepest: usize,
    /// In the order of their first routes.
    apps: Vec<AppEntry>,
    /// Instances of the apps, those of an app together, in index order.
    instances: Vec<Arc<Endpoint>>,
    /// Positions in `routes`, those of an app together.
    app_routes: Vec<usize>,
    by_guid: HashMap<AppGuid, usize>,
    /// Joined by slashes: names may contain some themselves.
    by_name: HashMap<Box<str>, usize>,
    /// The second and further apps of a name; hardly ever any.
    namesakes: HashMap<Box<str>, Vec<usize>>,
}

#[derive(Debug)]
pub(super) struct Route {
    pub(super) key: Arc<str>,
    endpoints: Range<usize>,
}

#[derive(Debug)]
pub(super) struct AppEntry {
    pub(super) app: Arc<App>,
    instances: Range<usize>,
    routes: Range<usize>,
    /// First of `routes` that is no wildcard, so that its host can be sent.
    addressable: Option<usize>,
}

impl Index {
    /// Arranges `entries`, which stand in the order of their keys.
    pub(super) fn build(entries: &[Entry]) -> Self {
        let mut index = Self::default();
        index.endpoints.reserve_exact(entries.len());
        for entries in entries.chunk_by(|a, b| a.route == b.route) {
            index.add_route(entries);
        }
        index.by_route = HashMap::with_capacity(index.routes.len());
        index.by_route.extend(
            index.routes.iter().enumerate().map(|(at, route)| (Arc::clone(&route.key), at)),
        );
        index.add_apps();
        index
    }

    fn add_route(&mut self, entries: &[Entry]) {
        let Some(Entry { route, .. }) = entries.first() else { return };
        let start = self.endpoints.len();
        self.endpoints.extend(entries.iter().filter_map(|entry| entry.endpoint.clone()));
        if let Some(added) = self.endpoints.get_mut(start..) {
            added.sort_by(|a, b| (&a.app.id, a.order()).cmp(&(&b.app.id, b.order())));
        }
        self.deepest = self.deepest.max(route.matches('/').count());
        let endpoints = start..self.endpoints.len();
        self.routes.push(Route { key: Arc::clone(route), endpoints });
    }

    /// Finds out which apps there are and where each of them is.
    fn add_apps(&mut self) {
        let most = self.routes.len().min(self.endpoints.len());
        self.by_guid = HashMap::with_capacity(most);
        let mut namings: Vec<Naming> = Vec::with_capacity(self.endpoints.len());
        for (route, entry) in self.routes.iter().enumerate() {
            for at in entry.endpoints.clone() {
                let Some(endpoint) = self.endpoints.get(at) else { continue };
                let id = &endpoint.app.id;
                let app = self.by_guid.get(id).copied().unwrap_or_else(|| {
                    let next = self.by_guid.len();
                    self.by_guid.insert(id.clone(), next);
                    next
                });
                namings.push(Naming { app, route, endpoint: at });
            }
        }
        // Stable: within an app the routes stay in byte order.
        namings.sort_by_key(|naming| naming.app);
        self.by_name = HashMap::with_capacity(most);
        self.apps.reserve_exact(self.by_guid.len());
        self.instances.reserve_exact(namings.len());
        self.app_routes.reserve_exact(namings.len());
        for namings in namings.chunk_by(|a, b| a.app == b.app) {
            self.add_app(namings);
        }
    }

    /// Adds the app that all of `namings` are of.
    fn add_app(&mut self, namings: &[Naming]) {
        let endpoint = |naming: &Naming| self.endpoints.get(naming.endpoint);
        let Some(app) = namings.first().and_then(endpoint).map(|first| Arc::clone(&first.app))
        else {
            return;
        };
        let at = self.apps.len();
        // One description an app, apart from the minutes of a rename.
        let mut described: Option<&Arc<App>> = None;
        for endpoint in namings.iter().filter_map(endpoint) {
            if described != Some(&endpoint.app) {
                described = Some(&endpoint.app);
                add_name(&mut self.by_name, &mut self.namesakes, &endpoint.app, at);
            }
        }
        let routes_start = self.app_routes.len();
        for same_route in namings.chunk_by(|a, b| a.route == b.route) {
            self.app_routes.extend(same_route.first().map(|naming| naming.route));
        }
        let routes = routes_start..self.app_routes.len();
        let is_addressable = |route: &&usize| {
            let key = self.routes.get(**route).map_or("", |route| &route.key);
            route_key::is_sendable(route_key::host(key))
        };
        let own = self.app_routes.get(routes.clone()).unwrap_or_default();
        let addressable = own.iter().find(is_addressable).copied();
        let instances_start = self.instances.len();
        if let [one] = namings {
            self.instances.extend(self.endpoints.get(one.endpoint).cloned());
        } else {
            self.instances.extend(instances(namings, &self.endpoints));
        }
        let instances = instances_start..self.instances.len();
        self.apps.push(AppEntry { app, instances, routes, addressable });
    }

    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub(super) fn apps(&self) -> &[AppEntry] {
        &self.apps
    }

    /// Endpoints of a route: app after app by id, each in index order.
    pub(super) fn endpoints(&self, route: &Route) -> &[Arc<Endpoint>] {
        self.endpoints.get(route.endpoints.clone()).unwrap_or_default()
    }

    /// Instances of an app, in index order.
    pub(super) fn instances(&self, app: &AppEntry) -> &[Arc<Endpoint>] {
        self.instances.get(app.instances.clone()).unwrap_or_default()
    }

    /// Routes of an app, in byte order.
    pub(super) fn routes_of(&self, app: &AppEntry) -> impl Iterator<Item = &str> {
        let positions = self.app_routes.get(app.routes.clone()).unwrap_or_default();
        positions.iter().filter_map(|at| self.routes.get(*at)).map(|route| &*route.key)
    }

    /// What to send as Host when an app was not asked for by one of its routes.
    pub(super) fn host_of(&self, app: &AppEntry) -> Option<&str> {
        self.routes.get(app.addressable?).map(|route| route_key::host(&route.key))
    }

    pub(super) fn app(&self, guid: &str) -> Option<&AppEntry> {
        self.by_guid.get(guid).and_then(|at| self.apps.get(*at))
    }

    /// The apps called `org/space/app`; several while one is created anew
    /// under its old name.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &AppEntry> {
        let first = self.by_name.get(name);
        let further = first.and_then(|_| self.namesakes.get(name));
        first.into_iter().chain(further.into_iter().flatten()).filter_map(|at| self.apps.get(*at))
    }

    /// The route that gorouter would take for `key`, spelled as in the table:
    /// the longest context path of the host itself, else of the nearest wildcard.
    pub(super) fn route(&self, key: &str) -> Option<&Route> {
        self.longest_path(key)
            .or_else(|| route_key::next_wildcards(key, |wildcard| self.longest_path(wildcard)))
    }

    fn longest_path(&self, key: &str) -> Option<&Route> {
        let too_deep = key.match_indices('/').nth(self.deepest);
        let mut key = too_deep.and_then(|(at, _)| key.get(..at)).unwrap_or(key);
        loop {
            if let Some(at) = self.by_route.get(key) {
                return self.routes.get(*at);
            }
            key = key.rsplit_once('/')?.0;
        }
    }
}

/// Where a route names an endpoint: positions in the lists of the index.
#[derive(Clone, Copy)]
struct Naming {
    app: usize,
    route: usize,
    endpoint: usize,
}

/// The instances of one app. An instance is its address; of several addresses
/// of one process instance (an app with more than one port) the one under the
/// first of its routes stands for it, and equal routes leave the lowest.
fn instances(namings: &[Naming], endpoints: &[Arc<Endpoint>]) -> Vec<Arc<Endpoint>> {
    let named = |naming: &Naming| Some((endpoints.get(naming.endpoint)?, naming.route));
    let mut namings: Vec<(&Arc<Endpoint>, usize)> = namings.iter().filter_map(named).collect();
    namings.sort_by_key(|(endpoint, route)| (endpoint.address, *route));
    namings.dedup_by_key(|(endpoint, _)| endpoint.address);
    // A process instance is of one process: the type keeps apart what an
    // emitter of its own making numbered alike.
    let process = |endpoint: &Endpoint| {
        let id = endpoint.process_instance_id.clone();
        id.map(|id| (id, Arc::clone(&endpoint.process_type)))
    };
    namings.sort_by_cached_key(|(endpoint, route)| (process(endpoint), *route, endpoint.address));
    namings.dedup_by(|(a, _), (b, _)| {
        a.process_instance_id.is_some()
            && a.process_instance_id == b.process_instance_id
            && a.process_type == b.process_type
    });
    namings.sort_by(|(a, _), (b, _)| a.order().cmp(&b.order()));
    namings.into_iter().map(|(endpoint, _)| Arc::clone(endpoint)).collect()
}

/// An app whose tags do not tell all three parts has no name to ask for.
fn add_name(
    by_name: &mut HashMap<Box<str>, usize>,
    namesakes: &mut HashMap<Box<str>, Vec<usize>>,
    app: &App,
    at: usize,
) {
    let parts = [&*app.organization_name, &*app.space_name, &*app.name];
    if parts.contains(&"") {
        return;
    }
    let name: Box<str> = parts.join("/").into();
    match by_name.get(&name) {
        None => drop(by_name.insert(name, at)),
        Some(known) if *known == at => {}
        Some(_) => {
            let further = namesakes.entry(name).or_default();
            if !further.contains(&at) {
                further.push(at);
            }
        }
    }
}
