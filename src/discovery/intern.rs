//! One copy of every route, app and endpoint, however many routes, sources and
//! table generations name it.
//!
//! A document of 140 MB repeats itself: an instance stands under each of its
//! routes, three gorouters say much the same, and the next answer is mostly
//! the last one. What is known is found by comparing borrowed texts, so
//! nothing is allocated for it.

use super::{
    endpoint::Endpoint,
    wire::{WireEndpoint, WireTags},
};
use crate::domain::{App, AppGuid, OrganizationGuid, SpaceGuid};
use foldhash::{HashMap, HashSet};
use std::{borrow::Borrow, hash::Hash, net::SocketAddr, str::FromStr, sync::Arc};

/// Bytes that a route and its endpoint take in a document, to begin with.
const BYTES_A_ROUTE: usize = 700;

/// Everything said so far that is still in use.
#[derive(Debug, Default)]
pub(super) struct Interner {
    routes: HashSet<Arc<str>>,
    /// Zones, process types, indexes: few, and on every endpoint.
    words: HashSet<Arc<str>>,
    /// Id and name of each space.
    spaces: HashMap<SpaceGuid, Arc<str>>,
    /// Id and name of each organization.
    organizations: HashMap<OrganizationGuid, Arc<str>>,
    /// The latest description of each app.
    apps: HashMap<AppGuid, Arc<App>>,
    /// The latest description of each address.
    endpoints: HashMap<SocketAddr, Arc<Endpoint>>,
    /// How much was known when the unused was last thrown out.
    known_then: usize,
}

/// What became of an endpoint of a document.
pub(super) enum Read {
    /// It can be scraped.
    Endpoint(Arc<Endpoint>),
    /// It belongs to no app (a platform component), so it must not be.
    WithoutApp,
    /// It belongs to an app, and cannot be scraped.
    Unusable(Unusable),
}

/// Why an app's endpoint cannot be scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// A host name, port 0, or nothing at all.
    #[error("the address is not an IP address and a port")]
    Address,
    /// Too long, or with control characters.
    #[error("the app_id is not an id")]
    AppId,
}

impl Interner {
    /// Makes room for a first document, so that it is not made bit by bit.
    pub(super) fn expect(&mut self, bytes: usize) {
        let routes = bytes / BYTES_A_ROUTE;
        if self.routes.is_empty() {
            self.routes.reserve(routes);
            self.endpoints.reserve(routes);
        }
    }

    /// The one copy of a route's key.
    pub(super) fn route(&mut self, key: &str) -> Arc<str> {
        text(&mut self.routes, key)
    }

    /// The one copy of what `wire` describes.
    pub(super) fn endpoint(&mut self, wire: &WireEndpoint<'_>) -> Read {
        match wire.socket_address() {
            Some(address) => self.endpoint_at(address, wire),
            None if wire.tags.app_id.text().is_none() => Read::WithoutApp,
            None => Read::Unusable(Unusable::Address),
        }
    }

    /// The one copy of what `wire` describes, which is at `address`, whatever
    /// it says there itself.
    pub(super) fn endpoint_at(&mut self, address: SocketAddr, wire: &WireEndpoint<'_>) -> Read {
        let Some(app_id) = wire.tags.app_id.text() else { return Read::WithoutApp };
        if let Some(known) = self.endpoints.get(&address)
            && wire.describes(known)
        {
            return Read::Endpoint(Arc::clone(known));
        }
        let Some(app) = self.app(app_id, &wire.tags) else {
            return Read::Unusable(Unusable::AppId);
        };
        let mut word = |word: &str| text(&mut self.words, word);
        // No two instances share one, and an instance is known by its address.
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
                // On Cloud Foundry the certificate is made out to that very id.
                let same = process_instance_id.as_ref().filter(|id| ***id == *san);
                same.map_or_else(|| san.into(), Arc::clone)
            }),
            isolation_segment: wire.isolation_segment.text().map(&mut word),
            route_service_url: wire.route_service_url.text().map(&mut word),
            behind_host: None,
            process_instance_id,
        });
        self.endpoints.insert(address, Arc::clone(&endpoint));
        Read::Endpoint(endpoint)
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

    /// Lets go of what nobody else holds any more. A walk over everything, so
    /// it waits until there is a quarter more than at the last one.
    pub(super) fn forget_unused(&mut self) {
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
        // Ids do not show who else holds them, their names do.
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

/// A space or organization by its id, with the name it has here and now.
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
