//! Registered endpoints and the time of their last registration.
//!
//! Most of the ten thousand messages per second only refresh a time. Changes are collected as
//! [`Change`]s for the writer. The key is the same as in gorouter: a route and an address.
//!
//! The time is an argument of all functions.

use super::message::{MessageError, Registration};
use crate::discovery::{
    document::Entry,
    endpoint::Endpoint,
    intern::{Interned, Interner},
    report::Change,
};
use foldhash::HashMap;
use std::{mem, net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Maximum number of endpoints, counted once per route. The largest platforms have a fifth of it.
/// More are caused by a bug or an attack.
const MAX_ENDPOINTS: usize = 1_000_000;

/// Lifetime of registrations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// For messages without a threshold.
    pub(super) stale_after: Duration,
    /// Upper limit for the threshold in a message.
    pub(super) max: Duration,
}

#[derive(Debug)]
pub(super) struct Registry {
    thresholds: Thresholds,
    routes: HashMap<Arc<str>, Vec<RegisteredEndpoint>>,
    /// Number of endpoints of all routes, and of those without an app.
    endpoints: usize,
    without_app: usize,
    refused: usize,
    interner: Interner,
    changes: Vec<Change>,
}

/// An endpoint of a route.
#[derive(Debug)]
struct RegisteredEndpoint {
    address: SocketAddr,
    /// None for a platform component, which is never scraped. Its route is stored nevertheless.
    endpoint: Option<Arc<Endpoint>>,
    refreshed: Instant,
    stale_after: Duration,
}

impl Registry {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            routes: HashMap::default(),
            endpoints: 0,
            without_app: 0,
            refused: 0,
            interner: Interner::default(),
            changes: Vec::new(),
        }
    }

    /// Counts rejected messages.
    pub(super) fn refuse(&mut self, count: usize) {
        self.refused += count;
    }

    /// Number of rejected messages.
    pub(super) fn refused(&self) -> usize {
        self.refused
    }

    /// Number of endpoints of platform components, counted once per route.
    pub(super) fn without_app(&self) -> usize {
        self.without_app
    }

    /// Processes a `router.register` message.
    ///
    /// # Errors
    /// The app id is invalid, or the maximum number of endpoints is reached.
    pub(super) fn register(
        &mut self,
        registration: &Registration<'_>,
        now: Instant,
    ) -> Result<(), MessageError> {
        let own = registration.stale_threshold.map(|own| own.min(self.thresholds.max));
        let stale_after = own.unwrap_or(self.thresholds.stale_after);
        for route in &registration.routes {
            let known = self.routes.get_mut(&**route);
            let known = known.and_then(|endpoints| {
                endpoints.iter_mut().find(|s| s.address == registration.address)
            });
            if let Some(registered) = known
                && is_unchanged(registration, registered.endpoint.as_deref())
            {
                (registered.refreshed, registered.stale_after) = (now, stale_after);
                continue;
            }
            let endpoint =
                match self.interner.endpoint_at(registration.address, &registration.endpoint) {
                    Interned::Endpoint(endpoint) => Some(endpoint),
                    Interned::WithoutApp => None,
                    Interned::Unusable(_) => return Err(MessageError::AppId),
                };
            let registered = RegisteredEndpoint {
                address: registration.address,
                endpoint,
                refreshed: now,
                stale_after,
            };
            self.set(route, registered)?;
        }
        Ok(())
    }

    /// Processes a `router.unregister` message.
    pub(super) fn unregister(&mut self, registration: &Registration<'_>) {
        for route in &registration.routes {
            let Some(endpoints) = self.routes.get_mut(&**route) else { continue };
            let Some(at) =
                endpoints.iter().position(|registered| registered.address == registration.address)
            else {
                continue;
            };
            let removed = endpoints.swap_remove(at);
            let is_last_without_app =
                endpoints.iter().all(|registered| registered.endpoint.is_some());
            let is_empty = endpoints.is_empty();
            self.endpoints -= 1;
            self.without_app -= usize::from(removed.endpoint.is_none());
            let Some((route, _)) = self.routes.get_key_value(&**route) else { continue };
            let route = Arc::clone(route);
            self.changes.extend(removal(&route, &removed, is_last_without_app));
            if is_empty {
                self.routes.remove(&route);
            }
        }
    }

    /// Removes endpoints that were not registered again in time.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_due = |registered: &mut RegisteredEndpoint| {
            now.saturating_duration_since(registered.refreshed) >= registered.stale_after
        };
        let Self { routes, endpoints: count, without_app, changes, .. } = self;
        routes.retain(|route, endpoints| {
            // Usually nothing has expired, and nothing is moved.
            while let Some(at) = endpoints.iter_mut().position(is_due) {
                let removed = endpoints.swap_remove(at);
                *count -= 1;
                *without_app -= usize::from(removed.endpoint.is_none());
                let is_last_without_app =
                    endpoints.iter().all(|registered| registered.endpoint.is_some());
                changes.extend(removal(route, &removed, is_last_without_app));
            }
            !endpoints.is_empty()
        });
        self.interner.drop_unused();
    }

    /// Restarts the lifetime of all endpoints after a reconnect.
    pub(super) fn refresh_all(&mut self, now: Instant) {
        self.routes.values_mut().flatten().for_each(|registered| registered.refreshed = now);
    }

    /// Removes all endpoints.
    pub(super) fn clear(&mut self) {
        for (route, endpoints) in mem::take(&mut self.routes) {
            self.changes
                .extend(endpoints.iter().flat_map(|registered| removal(&route, registered, true)));
        }
        (self.endpoints, self.without_app) = (0, 0);
        self.interner = Interner::default();
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Returns the changes since the last call, in order.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        mem::take(&mut self.changes)
    }

    /// Inserts or replaces an endpoint of a route.
    fn set(&mut self, route: &str, registered: RegisteredEndpoint) -> Result<(), MessageError> {
        let before = self.routes.get_key_value(route);
        let is_known = before.is_some_and(|(_, endpoints)| {
            endpoints.iter().any(|before| before.address == registered.address)
        });
        if !is_known && self.endpoints >= MAX_ENDPOINTS {
            return Err(MessageError::Full);
        }
        let route = before.map_or_else(|| route.into(), |(route, _)| Arc::clone(route));
        self.without_app += usize::from(registered.endpoint.is_none());
        let entry = Entry { route: Arc::clone(&route), endpoint: registered.endpoint.clone() };
        let endpoints = self.routes.entry(Arc::clone(&route)).or_default();
        let known = endpoints.iter().position(|before| before.address == registered.address);
        match known.and_then(|at| endpoints.get_mut(at)) {
            Some(known) => {
                let before = mem::replace(known, registered);
                self.without_app -= usize::from(before.endpoint.is_none());
                // The key contains the endpoint's address only if there is an endpoint.
                if before.endpoint.is_some() != entry.endpoint.is_some() {
                    let is_last = endpoints.iter().all(|registered| registered.endpoint.is_some());
                    self.changes.extend(removal(&route, &before, is_last));
                }
            }
            None => {
                // Saves memory: there are many routes, and most have one instance.
                if endpoints.is_empty() {
                    endpoints.reserve_exact(1);
                }
                endpoints.push(registered);
                self.endpoints += 1;
            }
        }
        self.changes.push(Change::Set(entry));
        Ok(())
    }
}

/// The change that removes an endpoint from the table. All platform components of a route share one
/// entry, which is removed with the last of them.
fn removal(
    route: &Arc<str>,
    removed: &RegisteredEndpoint,
    is_last_without_app: bool,
) -> Option<Change> {
    let address = removed.endpoint.as_ref().map(|endpoint| endpoint.address);
    (address.is_some() || is_last_without_app)
        .then(|| Change::Removed((Arc::clone(route), address)))
}

fn is_unchanged(registration: &Registration<'_>, known: Option<&Endpoint>) -> bool {
    match known {
        Some(known) => registration.endpoint.describes(known),
        None => registration.endpoint.tags.app_id.text().is_none(),
    }
}

#[cfg(test)]
mod tests;
