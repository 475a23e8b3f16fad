//! One copy of every text, app and endpoint, however many routes, sources and
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

/// Everything said so far that is still in use.
#[derive(Debug, Default)]
pub(super) struct Interner {
    texts: HashSet<Arc<str>>,
    spaces: HashSet<SpaceGuid>,
    organizations: HashSet<OrganizationGuid>,
    /// The latest description of each app.
    apps: HashMap<AppGuid, Arc<App>>,
    /// The latest description of each address.
    endpoints: HashMap<SocketAddr, Arc<Endpoint>>,
    /// Size of `texts` when it was last cleaned.
    texts_in_use: usize,
}

/// What became of an endpoint of a document.
pub(super) enum Read {
    /// It can be scraped.
    Endpoint(Arc<Endpoint>),
    /// It belongs to no app (a platform component), so it must not be.
    WithoutApp,
    /// Its address or its app's id is not one.
    Unusable,
}

impl Interner {
    /// The one copy of `text`.
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new));
        new
    }

    /// The one copy of what `wire` describes.
    pub(super) fn endpoint(&mut self, wire: &WireEndpoint<'_>) -> Read {
        let Some(app_id) = wire.tags.app_id.text() else { return Read::WithoutApp };
        let address = wire.address.text().and_then(|text| text.parse::<SocketAddr>().ok());
        let Some(address) = address.filter(|address| address.port() != 0) else {
            return Read::Unusable;
        };
        if let Some(known) = self.endpoints.get(&address)
            && wire.describes(known)
        {
            return Read::Endpoint(Arc::clone(known));
        }
        let Some(app) = self.app(app_id, &wire.tags) else { return Read::Unusable };
        let endpoint = Arc::new(Endpoint {
            address,
            app,
            index: wire.tags.index.text().map(|text| self.text(text)),
            process_type: self.text(wire.process_type()),
            process_instance_id: wire.process_instance_id().map(|text| self.text(text)),
            availability_zone: wire.availability_zone.text().map(|text| self.text(text)),
            tls: wire.tls.is_true(),
            http2: wire.is_http2(),
            server_cert_domain_san: wire.server_cert_domain_san.text().map(|text| self.text(text)),
            isolation_segment: wire.isolation_segment.text().map(|text| self.text(text)),
            route_service_url: wire.route_service_url.text().map(|text| self.text(text)),
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
        let organization_id = tags.organization_id.text();
        let app = Arc::new(App {
            name: self.text(tags.app_name.or_empty()),
            space_id: tags.space_id.text().and_then(|text| guid(&mut self.spaces, text)),
            space_name: self.text(tags.space_name.or_empty()),
            organization_id: organization_id.and_then(|text| guid(&mut self.organizations, text)),
            organization_name: self.text(tags.organization_name.or_empty()),
            id: id.clone(),
        });
        self.apps.insert(id, Arc::clone(&app));
        Some(app)
    }

    /// Lets go of what nobody else holds any more. A walk over everything, so
    /// it waits until there is a quarter more than at the last one.
    pub(super) fn forget_unused(&mut self) {
        if self.texts.len() / 5 < self.texts_in_use / 4 + 200 {
            return;
        }
        self.endpoints.retain(|_, endpoint| Arc::strong_count(endpoint) > 1);
        self.apps.retain(|_, app| Arc::strong_count(app) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        // Ids do not show who else holds them, the apps do.
        self.spaces = self.apps.values().filter_map(|app| app.space_id.clone()).collect();
        self.organizations =
            self.apps.values().filter_map(|app| app.organization_id.clone()).collect();
        self.texts_in_use = self.texts.len();
    }
}

fn guid<T: FromStr + Clone + Eq + Hash + Borrow<str>>(
    known: &mut HashSet<T>,
    text: &str,
) -> Option<T> {
    if let Some(guid) = known.get(text) {
        return Some(guid.clone());
    }
    let guid: T = text.parse().ok()?;
    known.insert(guid.clone());
    Some(guid)
}
