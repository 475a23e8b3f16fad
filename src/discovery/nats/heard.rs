//! What was heard on the bus, and when last.
//!
//! Ten thousand messages a second say nothing new: they only touch a time
//! here. What is new, or gone, is gathered as [`Change`]s for the writer.
//! Keyed as gorouter keys it: the address within a route.
//!
//! Pure but for memory: time comes in as an argument.

use super::message::{MessageError, Registration};
use crate::discovery::{
    claims::Change,
    document::Entry,
    endpoint::Endpoint,
    intern::{Interner, Read},
};
use foldhash::HashMap;
use std::{mem, net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Most endpoints that are kept, each counted once a route: five times as many
/// as the largest platforms have. More are somebody's mistake or malice.
const MAX_ENDPOINTS: usize = 1_000_000;

/// How long what was heard counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// Of a message that does not tell.
    pub(super) stale_after: Duration,
    /// The longest that a message may ask for.
    pub(super) longest: Duration,
}

/// Everything that counts.
#[derive(Debug)]
pub(super) struct Heard {
    thresholds: Thresholds,
    routes: HashMap<Arc<str>, Vec<Slot>>,
    /// Slots of all routes, and how many of them belong to no app.
    slots: usize,
    without_app: usize,
    refused: usize,
    interner: Interner,
    changes: Vec<Change>,
}

/// An endpoint under a route.
#[derive(Debug)]
struct Slot {
    address: SocketAddr,
    /// None: a component of the platform, which is never scraped. Its route
    /// must be known all the same.
    endpoint: Option<Arc<Endpoint>>,
    heard: Instant,
    stale_after: Duration,
}

impl Heard {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            routes: HashMap::default(),
            slots: 0,
            without_app: 0,
            refused: 0,
            interner: Interner::default(),
            changes: Vec::new(),
        }
    }

    /// Counts messages that were of no use.
    pub(super) fn refuse(&mut self, count: usize) {
        self.refused += count;
    }

    /// Messages that were of no use.
    pub(super) fn refused(&self) -> usize {
        self.refused
    }

    /// Endpoints of platform components, each once a route.
    pub(super) fn without_app(&self) -> usize {
        self.without_app
    }

    /// Takes a `router.register`.
    ///
    /// # Errors
    /// When the app's id is none, or there is no room for more.
    pub(super) fn register(
        &mut self,
        said: &Registration<'_>,
        now: Instant,
    ) -> Result<(), MessageError> {
        let own = said.stale_threshold.map(|own| own.min(self.thresholds.longest));
        let stale_after = own.unwrap_or(self.thresholds.stale_after);
        for route in &said.routes {
            let known = self.routes.get_mut(&**route);
            let known =
                known.and_then(|slots| slots.iter_mut().find(|s| s.address == said.address));
            if let Some(slot) = known
                && says_the_same(said, slot.endpoint.as_deref())
            {
                (slot.heard, slot.stale_after) = (now, stale_after);
                continue;
            }
            let endpoint = match self.interner.endpoint_at(said.address, &said.endpoint) {
                Read::Endpoint(endpoint) => Some(endpoint),
                Read::WithoutApp => None,
                Read::Unusable(_) => return Err(MessageError::AppId),
            };
            let slot = Slot { address: said.address, endpoint, heard: now, stale_after };
            self.set(route, slot)?;
        }
        Ok(())
    }

    /// Takes a `router.unregister`.
    pub(super) fn unregister(&mut self, said: &Registration<'_>) {
        for route in &said.routes {
            let Some(slots) = self.routes.get_mut(&**route) else { continue };
            let Some(at) = slots.iter().position(|slot| slot.address == said.address) else {
                continue;
            };
            let gone = slots.swap_remove(at);
            let is_last_without_app = slots.iter().all(|slot| slot.endpoint.is_some());
            let is_empty = slots.is_empty();
            self.slots -= 1;
            self.without_app -= usize::from(gone.endpoint.is_none());
            let Some((route, _)) = self.routes.get_key_value(&**route) else { continue };
            let route = Arc::clone(route);
            self.changes.extend(leaves(&route, &gone, is_last_without_app));
            if is_empty {
                self.routes.remove(&route);
            }
        }
    }

    /// Forgets what was not repeated in time.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_due =
            |slot: &mut Slot| now.saturating_duration_since(slot.heard) >= slot.stale_after;
        let Self { routes, slots: count, without_app, changes, .. } = self;
        routes.retain(|route, slots| {
            // Nearly always there is nothing to do, and nothing is moved.
            while let Some(at) = slots.iter_mut().position(is_due) {
                let gone = slots.swap_remove(at);
                *count -= 1;
                *without_app -= usize::from(gone.endpoint.is_none());
                let is_last_without_app = slots.iter().all(|slot| slot.endpoint.is_some());
                changes.extend(leaves(route, &gone, is_last_without_app));
            }
            !slots.is_empty()
        });
        self.interner.forget_unused();
    }

    /// Counts everything as just heard: nobody could be heard until now.
    pub(super) fn freshen(&mut self, now: Instant) {
        self.routes.values_mut().flatten().for_each(|slot| slot.heard = now);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        for (route, slots) in mem::take(&mut self.routes) {
            self.changes.extend(slots.iter().flat_map(|slot| leaves(&route, slot, true)));
        }
        (self.slots, self.without_app) = (0, 0);
        self.interner = Interner::default();
    }

    /// Whether anything is new or gone since it was last taken.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// What is new or gone since this was last asked, in the order in which it
    /// became so.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        mem::take(&mut self.changes)
    }

    /// Puts an endpoint that is new, or has changed, under its route.
    fn set(&mut self, route: &str, slot: Slot) -> Result<(), MessageError> {
        let before = self.routes.get_key_value(route);
        let is_known = before
            .is_some_and(|(_, slots)| slots.iter().any(|before| before.address == slot.address));
        if !is_known && self.slots >= MAX_ENDPOINTS {
            return Err(MessageError::Full);
        }
        let route = before.map_or_else(|| route.into(), |(route, _)| Arc::clone(route));
        self.without_app += usize::from(slot.endpoint.is_none());
        let entry = Entry { route: Arc::clone(&route), endpoint: slot.endpoint.clone() };
        let slots = self.routes.entry(Arc::clone(&route)).or_default();
        let known = slots.iter().position(|before| before.address == slot.address);
        match known.and_then(|at| slots.get_mut(at)) {
            Some(known) => {
                let before = mem::replace(known, slot);
                self.without_app -= usize::from(before.endpoint.is_none());
                // The key of an entry is its endpoint's address, if it has one.
                if before.endpoint.is_some() != entry.endpoint.is_some() {
                    let is_last = slots.iter().all(|slot| slot.endpoint.is_some());
                    self.changes.extend(leaves(&route, &before, is_last));
                }
            }
            None => {
                // Most routes have one instance, and there are many routes.
                if slots.is_empty() {
                    slots.reserve_exact(1);
                }
                slots.push(slot);
                self.slots += 1;
            }
        }
        self.changes.push(Change::Said(entry));
        Ok(())
    }
}

/// What the table loses with `gone`. Components of the platform stand there
/// for their route only, all together once.
fn leaves(route: &Arc<str>, gone: &Slot, is_last_without_app: bool) -> Option<Change> {
    let address = gone.endpoint.as_ref().map(|endpoint| endpoint.address);
    (address.is_some() || is_last_without_app)
        .then(|| Change::Gone { route: Arc::clone(route), address })
}

fn says_the_same(said: &Registration<'_>, known: Option<&Endpoint>) -> bool {
    match known {
        Some(known) => said.endpoint.describes(known),
        None => said.endpoint.tags.app_id.text().is_none(),
    }
}

#[cfg(test)]
mod tests;
