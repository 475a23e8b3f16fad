//! Resolves a key: an app's GUID, `org/space/app`, or a route.

use super::index::{AppEntry, Index, Route};
use crate::{
    discovery::{endpoint::Endpoint, route_key},
    domain::{App, AppKey, Prefer},
};
use std::sync::Arc;

/// An app that a key matches, and its instances.
#[derive(Clone, Debug)]
pub struct Match<'a> {
    /// The app. During a rename its instances may have different tags. [`Endpoint::app`] has the
    /// tags of an instance.
    pub app: &'a Arc<App>,
    /// Each instance once, ordered by index, then by address. By GUID or name: all process types.
    /// By route: the instances of that route.
    pub endpoints: Vec<&'a Arc<Endpoint>>,
    /// Host header. By route: the requested host. By GUID or name: the host of the app's first
    /// route in byte order that is not a wildcard. None: the address is used.
    pub host: Option<&'a str>,
    /// Key of the matching route, if the app was found by route.
    pub route: Option<&'a str>,
}

impl Index {
    /// Resolves `key` as a name or route in the preferred order. Returns several apps, ordered by
    /// id, if they share a route or name.
    pub(super) fn find<'a>(&'a self, key: &'a AppKey) -> Vec<Match<'a>> {
        let (first, second): (Lookup, Lookup) = match key.prefer {
            Prefer::Name => (Self::find_app, Self::find_route),
            Prefer::Route => (Self::find_route, Self::find_app),
        };
        let found = first(self, key.as_str());
        if found.is_empty() { second(self, key.as_str()) } else { found }
    }

    /// An app with all its instances.
    pub(super) fn all_instances<'a>(&self, entry: &'a AppEntry) -> Match<'a> {
        Match {
            app: &entry.app,
            endpoints: entry.instances().iter().collect(),
            host: entry.host(),
            route: None,
        }
    }

    fn find_app<'a>(&'a self, key: &'a str) -> Vec<Match<'a>> {
        if let Some(entry) = self.app(key) {
            return vec![self.all_instances(entry)];
        }
        self.named(key).map(|entry| self.all_instances(entry)).collect()
    }

    fn find_route<'a>(&'a self, key: &'a str) -> Vec<Match<'a>> {
        match self.route(&route_key::normalize(key)) {
            Some(route) => self.under_route(route, key),
            None => Vec::new(),
        }
    }

    fn under_route<'a>(&'a self, route: &'a Route, requested: &'a str) -> Vec<Match<'a>> {
        let own = route_key::host(&route.key);
        // A wildcard has no host of its own, so the requested host is sent unless the wildcard
        // itself was requested.
        let host = if route_key::is_wildcard(own) { route_key::host(requested) } else { own };
        let host = Some(host).filter(|host| route_key::is_sendable(host));
        let by_app = route.endpoints().chunk_by(|a, b| a.app.id == b.app.id);
        by_app
            .filter_map(|endpoints| {
                let app = &endpoints.first()?.app;
                Some(Match {
                    app,
                    endpoints: endpoints.iter().collect(),
                    host: host.or_else(|| self.app(app.id.as_str())?.host()),
                    route: Some(&route.key),
                })
            })
            .collect()
    }
}

type Lookup = for<'a> fn(&'a Index, &'a str) -> Vec<Match<'a>>;

#[cfg(test)]
mod tests;
