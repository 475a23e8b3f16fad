//! Builds the next index from the previous one and updates.

use super::{AppEntry, Endpoint, Index, Name, Route, RouteUpdate};
use crate::{
    discovery::document::Entry,
    domain::{App, AppGuid},
};
use foldhash::HashMap;
use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

/// An endpoint of an app, and the position of its route among the routes of the app.
type Mention = (Arc<Endpoint>, usize);

impl Index {
    /// Builds an index of `entries`, which are ordered by key.
    pub(in crate::discovery::table) fn build(entries: &[Entry]) -> Self {
        let by_route = entries.chunk_by(|a, b| a.route == b.route);
        let updates = by_route.filter_map(|entries| {
            let endpoints = entries.iter().filter_map(|entry| entry.endpoint.clone()).collect();
            let route = Arc::clone(&entries.first()?.route);
            Some(RouteUpdate { route, endpoints: Some(endpoints) })
        });
        Self::default().updated(updates)
    }

    /// Returns the index with updates applied. Each route occurs at most once in them.
    pub(in crate::discovery::table) fn updated(
        &self,
        updates: impl IntoIterator<Item = RouteUpdate>,
    ) -> Self {
        let mut next = Self {
            routes: self.routes.clone(),
            apps: self.apps.clone(),
            names: self.names.clone(),
            depths: self.depths.clone(),
            instances: self.instances,
            order: OnceLock::new(),
        };
        let mut touched: HashMap<AppGuid, Vec<Arc<str>>> = HashMap::default();
        for update in updates {
            next.update_route(update, &mut touched);
        }
        for (app, routes) in touched {
            next.update_app(&app, routes);
        }
        next
    }

    /// Applies the update of a route and records the affected apps.
    fn update_route(&mut self, update: RouteUpdate, touched: &mut HashMap<AppGuid, Vec<Arc<str>>>) {
        let RouteUpdate { route: key, endpoints } = update;
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

    /// Updates an app from its previous routes and `routes`.
    fn update_app(&mut self, id: &AppGuid, mut routes: Vec<Arc<str>>) {
        let before = self.apps.get(id.as_str()).cloned();
        routes.extend(before.iter().flat_map(|before| before.routes.iter().cloned()));
        routes.sort_unstable();
        routes.dedup();
        let mut mentions: Vec<Mention> = Vec::new();
        routes.retain(|route| {
            let Some(found) = self.routes.get(route) else { return false };
            let position = mentions.last().map_or(0, |(_, position)| position + 1);
            let own = found.endpoints.iter().filter(|endpoint| endpoint.app.id == *id);
            let known = mentions.len();
            mentions.extend(own.map(|endpoint| (Arc::clone(endpoint), position)));
            mentions.len() > known
        });
        let after = mentions.first().map(|(first, _)| Arc::clone(&first.app)).map(|app| {
            let names = names(&mentions);
            let instances = instances(mentions);
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

    /// Returns the shared copy of a name.
    fn name(&self, name: &str) -> Arc<str> {
        self.names.get(name).map_or_else(|| name.into(), |known| Arc::clone(&known.name))
    }

    /// Replaces the entry of the app `id` under a name, or removes it.
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

/// The names of an app. More than one only during a rename. An app whose tags lack one of the three
/// parts has no name.
fn names(mentions: &[Mention]) -> BTreeSet<String> {
    let mut described: Option<&Arc<App>> = None;
    let mut names = BTreeSet::new();
    for (endpoint, _) in mentions {
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

/// The instances of an app. An instance is identified by its address. If a process instance has
/// several addresses (an app with several ports), the address under the app's first route counts,
/// then the lowest address.
fn instances(mut mentions: Vec<Mention>) -> Box<[Arc<Endpoint>]> {
    if let [(one, _)] = &*mentions {
        return [Arc::clone(one)].into();
    }
    mentions.sort_by_key(|(endpoint, route)| (endpoint.address, *route));
    mentions.dedup_by_key(|(endpoint, _)| endpoint.address);
    // The process type is part of the key, because other route emitters may number the instances of
    // each process from zero.
    let process = |endpoint: &Endpoint| {
        let id = endpoint.process_instance_id.clone();
        id.map(|id| (id, Arc::clone(&endpoint.process_type)))
    };
    mentions.sort_by_cached_key(|(endpoint, route)| (process(endpoint), *route, endpoint.address));
    mentions.dedup_by(|(a, _), (b, _)| {
        a.process_instance_id.is_some()
            && a.process_instance_id == b.process_instance_id
            && a.process_type == b.process_type
    });
    mentions.sort_by(|(a, _), (b, _)| a.order().cmp(&b.order()));
    mentions.into_iter().map(|(endpoint, _)| endpoint).collect()
}
