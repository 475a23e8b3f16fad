//! Shares one copy of each route, app and endpoint between routes, sources and snapshots.
//!
//! A document of 140 MB is redundant: it lists an instance under each of its routes, several
//! gorouters list the same routes, and the next response is almost the same. Known values are found
//! by comparing borrowed texts, so nothing is allocated for them.

use super::{
    endpoint::Endpoint,
    wire::{WireEndpoint, WireTags},
};
use crate::domain::{App, AppGuid, OrganizationGuid, SpaceGuid};
use foldhash::{HashMap, HashSet};
use std::{borrow::Borrow, hash::Hash, net::SocketAddr, str::FromStr, sync::Arc};

/// Estimated size of a route and its endpoint in a document.
const BYTES_PER_ROUTE: usize = 700;

#[derive(Debug, Default)]
pub(super) struct Interner {
    routes: HashSet<Arc<str>>,
    /// Zones, process types and indexes. Few values that occur in every endpoint.
    words: HashSet<Arc<str>>,
    spaces: HashMap<SpaceGuid, Arc<str>>,
    organizations: HashMap<OrganizationGuid, Arc<str>>,
    /// The last description of each app.
    apps: HashMap<AppGuid, Arc<App>>,
    /// The last endpoint of each address.
    endpoints: HashMap<SocketAddr, Arc<Endpoint>>,
    /// Number of values after the last cleanup.
    known_then: usize,
}

/// Result of interning an endpoint of a document.
pub(super) enum Interned {
    Endpoint(Arc<Endpoint>),
    /// It belongs to no app (a platform component) and must not be scraped.
    WithoutApp,
    /// It belongs to an app and cannot be scraped.
    Unusable(Unusable),
}

/// Why an endpoint cannot be scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// A host name, port 0, or no address.
    #[error("the address is not an IP address and a port")]
    Address,
    #[error("the app_id is invalid")]
    AppId,
}

impl Interner {
    /// Reserves memory before the first document, to avoid repeated reallocation.
    pub(super) fn reserve(&mut self, bytes: usize) {
        let routes = bytes / BYTES_PER_ROUTE;
        if self.routes.is_empty() {
            self.routes.reserve(routes);
            self.endpoints.reserve(routes);
        }
    }

    /// Returns the shared copy of a route's key.
    pub(super) fn route(&mut self, key: &str) -> Arc<str> {
        text(&mut self.routes, key)
    }

    /// Returns the shared copy of the endpoint that `wire` describes.
    pub(super) fn endpoint(&mut self, wire: &WireEndpoint<'_>) -> Interned {
        match wire.socket_address() {
            Some(address) => self.endpoint_at(address, wire),
            None if wire.tags.app_id.text().is_none() => Interned::WithoutApp,
            None => Interned::Unusable(Unusable::Address),
        }
    }

    /// Returns the shared copy of the endpoint that `wire` describes, with this address instead of
    /// its own.
    pub(super) fn endpoint_at(&mut self, address: SocketAddr, wire: &WireEndpoint<'_>) -> Interned {
        let Some(app_id) = wire.tags.app_id.text() else { return Interned::WithoutApp };
        if let Some(known) = self.endpoints.get(&address)
            && wire.describes(known)
        {
            return Interned::Endpoint(Arc::clone(known));
        }
        let Some(app) = self.app(app_id, &wire.tags) else {
            return Interned::Unusable(Unusable::AppId);
        };
        let mut word = |word: &str| text(&mut self.words, word);
        // An instance is identified by its address.
        let process_instance_id: Option<Arc<str>> = wire.process_instance_id().map(Arc::from);
        let endpoint = Arc::new(Endpoint {
            address,
            app,
            index: wire.tags.index.text().map(&mut word),
            process_type: word(wire.process_type()),
            availability_zone: wire.availability_zone.text().map(&mut word),
            tls: wire.tls.is_true(),
            http2: wire.is_http2(),
            server_cert_domain_san: wire.server_cert_domain_san.text().map(|san| {
                // On Cloud Foundry the certificate contains this id.
                let same = process_instance_id.as_ref().filter(|id| ***id == *san);
                same.map_or_else(|| san.into(), Arc::clone)
            }),
            isolation_segment: wire.isolation_segment.text().map(&mut word),
            route_service_url: wire.route_service_url.text().map(&mut word),
            behind_host: None,
            process_instance_id,
        });
        self.endpoints.insert(address, Arc::clone(&endpoint));
        Interned::Endpoint(endpoint)
    }

    fn app(&mut self, id: &str, tags: &WireTags<'_>) -> Option<Arc<App>> {
        let known = self.apps.get(id);
        if let Some(known) = known.filter(|known| tags.describe(known)) {
            return Some(Arc::clone(known));
        }
        let id = known.map_or_else(|| id.parse().ok(), |known| Some(known.id.clone()))?;
        let (space_id, space_name) =
            named(&mut self.spaces, tags.space_id.text(), tags.space_name.or_empty());
        let (organization_id, organization_name) = named(
            &mut self.organizations,
            tags.organization_id.text(),
            tags.organization_name.or_empty(),
        );
        let name = tags.app_name.or_empty().into();
        let app = App { id, name, space_id, space_name, organization_id, organization_name };
        let app = Arc::new(app);
        self.apps.insert(app.id.clone(), Arc::clone(&app));
        Some(app)
    }

    /// Drops values that are no longer used elsewhere. Iterates over all values, so it runs only
    /// after their number has grown by a quarter.
    pub(super) fn drop_unused(&mut self) {
        let known = self.routes.len() + self.endpoints.len() + self.words.len();
        if self.known_then == 0 {
            self.known_then = known;
        }
        if known < self.known_then + self.known_then / 4 + 1000 {
            return;
        }
        self.routes.retain(|route| Arc::strong_count(route) > 1);
        self.endpoints.retain(|_, endpoint| Arc::strong_count(endpoint) > 1);
        self.words.retain(|word| Arc::strong_count(word) > 1);
        self.apps.retain(|_, app| Arc::strong_count(app) > 1);
        // The reference counts of ids do not show other users. Those of names do.
        self.spaces.retain(|_, name| Arc::strong_count(name) > 1);
        self.organizations.retain(|_, name| Arc::strong_count(name) > 1);
        self.known_then = self.routes.len() + self.endpoints.len() + self.words.len();
    }
}

fn text(known: &mut HashSet<Arc<str>>, text: &str) -> Arc<str> {
    if let Some(known) = known.get(text) {
        return Arc::clone(known);
    }
    let new: Arc<str> = text.into();
    known.insert(Arc::clone(&new));
    new
}

/// A space or organization by id, with its current name.
fn named<T: FromStr + Clone + Eq + Hash + Borrow<str>>(
    known: &mut HashMap<T, Arc<str>>,
    id: Option<&str>,
    name: &str,
) -> (Option<T>, Arc<str>) {
    let Some(id) = id else { return (None, name.into()) };
    let found = known.get_key_value(id);
    if let Some((id, known)) = found.filter(|(_, known)| ***known == *name) {
        return (Some(id.clone()), Arc::clone(known));
    }
    let name: Arc<str> = name.into();
    let id = found.map_or_else(|| id.parse().ok(), |(id, _)| Some(id.clone()));
    if let Some(id) = &id {
        known.insert(id.clone(), Arc::clone(&name));
    }
    (id, name)
}
