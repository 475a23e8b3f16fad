//! What a key means: an app's GUID, `org/space/app`, or a route.

use super::{
    endpoint::Endpoint,
    index::{AppEntry, Index, Route},
    route_key,
};
use crate::domain::{App, AppKey, Prefer};
use std::sync::Arc;

/// One app that a key names, and its instances that are to be asked.
#[derive(Clone, Debug)]
pub struct Match<'a> {
    /// The app. Where its instances disagree (during a rename), the tags of
    /// each are in its [`Endpoint::app`].
    pub app: &'a Arc<App>,
    /// Each instance once: in index order, then by address. By GUID or name
    /// those of every process type, by route those under that route.
    pub endpoints: Vec<&'a Arc<Endpoint>>,
    /// Host to send: the one that was asked for; by GUID or name that of the
    /// app's first route in byte order that is no wildcard. None if there is
    /// no such route; the instance's address is what is left then.
    pub host: Option<&'a str>,
    /// Key of the route that matched, when the app was found by one.
    pub route: Option<&'a str>,
}

impl Index {
    /// The first reading of `key` that names something scrapeable; empty when
    /// none does. Several apps, by id, when they share a route or a name.
    pub(super) fn find<'a>(&'a self, key: &'a AppKey) -> Vec<Match<'a>> {
        let (first, second): (Reading, Reading) = match key.prefer {
            Prefer::Name => (Self::find_app, Self::find_route),
            Prefer::Route => (Self::find_route, Self::find_app),
        };
        let found = first(self, key.as_str());
        if found.is_empty() { second(self, key.as_str()) } else { found }
    }

    /// An app and all its instances.
    pub(super) fn whole<'a>(&self, entry: &'a AppEntry) -> Match<'a> {
        Match {
            app: &entry.app,
            endpoints: entry.instances().iter().collect(),
            host: entry.host(),
            route: None,
        }
    }

    fn find_app<'a>(&'a self, key: &'a str) -> Vec<Match<'a>> {
        if let Some(entry) = self.app(key) {
            return vec![self.whole(entry)];
        }
        self.named(key).map(|entry| self.whole(entry)).collect()
    }

    fn find_route<'a>(&'a self, key: &'a str) -> Vec<Match<'a>> {
        match self.route(&route_key::normalize(key)) {
            Some(route) => self.under_route(route, key),
            None => Vec::new(),
        }
    }

    fn under_route<'a>(&'a self, route: &'a Route, asked: &'a str) -> Vec<Match<'a>> {
        let own = route_key::host(&route.key);
        // A wildcard has no host of its own: the caller's is the one to send,
        // unless the wildcard itself was asked for.
        let host = if route_key::is_wildcard(own) { route_key::host(asked) } else { own };
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

type Reading = for<'a> fn(&'a Index, &'a str) -> Vec<Match<'a>>;

#[cfg(test)]
mod tests;
