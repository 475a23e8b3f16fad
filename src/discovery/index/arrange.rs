//! Makes the next index out of one and what has changed.

use super::{AppEntry, Endpoint, Index, Name, Route, RouteNews};
use crate::{
    discovery::document::Entry,
    domain::{App, AppGuid},
};
use foldhash::HashMap;
use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

/// An endpoint of an app, and the position of the route that names it among
/// those of the app.
type Naming = (Arc<Endpoint>, usize);

impl Index {
    /// Arranges `entries`, which stand in the order of their keys.
    pub(in crate::discovery) fn build(entries: &[Entry]) -> Self {
        let by_route = entries.chunk_by(|a, b| a.route == b.route);
        let news = by_route.filter_map(|entries| {
            let endpoints = entries.iter().filter_map(|entry| entry.endpoint.clone()).collect();
            let route = Arc::clone(&entries.first()?.route);
            Some(RouteNews { route, endpoints: Some(endpoints) })
        });
        Self::default().with(news)
    }

    /// The same index, but for `news`; each route at most once.
    pub(in crate::discovery) fn with(&self, news: impl IntoIterator<Item = RouteNews>) -> Self {
        let mut next = Self {
            routes: self.routes.clone(),
            apps: self.apps.clone(),
            names: self.names.clone(),
            depths: self.depths.clone(),
            instances: self.instances,
            order: OnceLock::new(),
        };
        let mut touched: HashMap<AppGuid, Vec<Arc<str>>> = HashMap::default();
        for news in news {
            next.set_route(news, &mut touched);
        }
        for (app, routes) in touched {
            next.set_app(&app, routes);
        }
        next
    }

    /// Takes news of one route, and notes the apps that they concern.
    fn set_route(&mut self, news: RouteNews, touched: &mut HashMap<AppGuid, Vec<Arc<str>>>) {
        let RouteNews { route: key, endpoints } = news;
        let depth = key.matches('/').count();
        let (before, after) = match endpoints {
            Some(mut endpoints) => {
                endpoints.sort_by(|a, b| (&a.app.id, a.order()).cmp(&(&b.app.id, b.order())));
                let route = Route { key: Arc::clone(&key), endpoints: endpoints.into() };
                let route = Arc::new(route);
                (self.routes.insert(Arc::clone(&route)), Some(route))
            }
            None => (self.routes.remove(&key), None),
        };
        match (&before, &after) {
            (None, Some(_)) => *self.depths.entry(depth).or_default() += 1,
            (Some(_), None) => {
                let count = self.depths.entry(depth).or_default();
                *count -= 1;
                if *count == 0 {
                    self.depths.remove(&depth);
                }
            }
            _ => {}
        }
        for route in before.iter().chain(&after) {
            for same_app in route.endpoints.chunk_by(|a, b| a.app.id == b.app.id) {
                let Some(endpoint) = same_app.first() else { continue };
                let routes = touched.entry(endpoint.app.id.clone()).or_default();
                if routes.last() != Some(&key) {
                    routes.push(Arc::clone(&key));
                }
            }
        }
    }

    /// Finds out anew where an app is: under its routes of before, or under
    /// `routes`.
    fn set_app(&mut self, id: &AppGuid, mut routes: Vec<Arc<str>>) {
        let before = self.apps.get(id.as_str()).cloned();
        routes.extend(before.iter().flat_map(|before| before.routes.iter().cloned()));
        routes.sort_unstable();
        routes.dedup();
        let mut namings: Vec<Naming> = Vec::new();
        routes.retain(|route| {
            let Some(found) = self.routes.get(route) else { return false };
            let position = namings.last().map_or(0, |(_, position)| position + 1);
            let own = found.endpoints.iter().filter(|endpoint| endpoint.app.id == *id);
            let known = namings.len();
            namings.extend(own.map(|endpoint| (Arc::clone(endpoint), position)));
            namings.len() > known
        });
        let after = namings.first().map(|(first, _)| Arc::clone(&first.app)).map(|app| {
            let names = names(&namings);
            let instances = instances(namings);
            let names = names.iter().map(|name| self.name(name)).collect();
            Arc::new(AppEntry { app, instances, routes: routes.into(), names })
        });
        let count = |entry: &Option<Arc<AppEntry>>| entry.as_ref().map_or(0, |e| e.instances.len());
        self.instances = self.instances + count(&after) - count(&before);
        for name in before.iter().flat_map(|before| &before.names) {
            if !after.as_ref().is_some_and(|after| after.names.contains(name)) {
                self.rename(name, id, None);
            }
        }
        for name in after.iter().flat_map(|after| &after.names) {
            self.rename(name, id, after.as_ref());
        }
        match after {
            Some(after) => drop(self.apps.insert(after)),
            None => drop(self.apps.remove(id.as_str())),
        }
    }

    /// The one copy of a name.
    fn name(&self, name: &str) -> Arc<str> {
        self.names.get(name).map_or_else(|| name.into(), |known| Arc::clone(&known.name))
    }

    /// Puts `entry` in the place of what the app `id` was under a name, or
    /// takes that away.
    fn rename(&mut self, name: &Arc<str>, id: &AppGuid, entry: Option<&Arc<AppEntry>>) {
        let before = self.names.get(name).map(|before| &before.apps);
        let others = before.into_iter().flatten().filter(|other| other.app.id != *id);
        let mut apps: Vec<_> = others.chain(entry).cloned().collect();
        if apps.is_empty() {
            self.names.remove(name);
            return;
        }
        apps.sort_by(|a, b| a.app.id.cmp(&b.app.id));
        self.names.insert(Arc::new(Name { name: Arc::clone(name), apps: apps.into() }));
    }
}

/// What an app is called: by one name, apart from the minutes of a rename. One
/// whose tags do not tell all three parts has no name to ask for.
fn names(namings: &[Naming]) -> BTreeSet<String> {
    let mut described: Option<&Arc<App>> = None;
    let mut names = BTreeSet::new();
    for (endpoint, _) in namings {
        let app = &endpoint.app;
        if described.replace(app) == Some(app) {
            continue;
        }
        let parts = [&*app.organization_name, &*app.space_name, &*app.name];
        if !parts.contains(&"") {
            names.insert(parts.join("/"));
        }
    }
    names
}

/// The instances of one app. An instance is its address; of several addresses
/// of one process instance (an app with more than one port) the one under the
/// first of its routes stands for it, and equal routes leave the lowest.
fn instances(mut namings: Vec<Naming>) -> Box<[Arc<Endpoint>]> {
    if let [(one, _)] = &*namings {
        return [Arc::clone(one)].into();
    }
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
    namings.into_iter().map(|(endpoint, _)| endpoint).collect()
}
