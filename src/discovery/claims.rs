//! What one source says, and since when.
//!
//! A source owns its claims: nothing that another one says or fails to say
//! changes them. Who is right where two contradict is [`merge`](super::merge)'s
//! question, and the times kept here are its evidence.

use super::{document::Entry, endpoint::Endpoint};
use foldhash::{HashMap, HashSet};
use std::{collections::BTreeMap, mem, net::SocketAddr, sync::Arc};
use tokio::time::Instant;

/// One route and endpoint, as one source says it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) entry: Entry,
    /// When the source first said exactly this.
    pub(super) since: Instant,
    /// When the source last named it, if its newest answer does not: it is
    /// kept because the source seems to be still filling.
    pub(super) kept: Option<Instant>,
}

/// One step of a source that tells what changes, and never everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It says this from now on, whatever it said of the same key before.
    Said(Entry),
    /// It no longer says anything of this key.
    Gone {
        /// The route, as in [`Entry`].
        route: Arc<str>,
        /// None: the route without an endpoint.
        address: Option<SocketAddr>,
    },
}

/// What a claim is about: a route, and an address within it.
pub(super) type Key = (Arc<str>, Option<SocketAddr>);

impl Claim {
    fn into_keyed(self) -> (Key, Self) {
        (key(&self.entry), self)
    }
}

fn key(entry: &Entry) -> Key {
    (Arc::clone(&entry.route), entry.endpoint.as_ref().map(|endpoint| endpoint.address))
}

/// The claims of one source, in the order of their keys.
///
/// Whatever changes them returns the keys that it concerned.
#[derive(Debug, Default)]
pub(super) struct Claims {
    claims: BTreeMap<Key, Claim>,
    /// Endpoints that the newest answer named, and those that are kept.
    endpoints: (usize, usize),
    /// When the oldest of the kept claims was last named.
    oldest_kept: Option<Instant>,
}

/// How a full answer is to be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hearing {
    /// Time of what is new in it.
    pub(super) now: Instant,
    /// Time of the answer before it.
    pub(super) last_answer: Option<Instant>,
    /// Whether the source may have been restarted, so that what it leaves out
    /// may only be not yet known to it.
    pub(super) may_be_filling: bool,
}

impl Claims {
    /// Takes a full answer.
    ///
    /// What it does not name any more goes at once. Except: a router that was
    /// just restarted starts with an empty table, so an answer that names less
    /// than half of the one before does not count as knowledge that the rest
    /// is gone. That is kept until it is due, or until its address is named
    /// for another instance.
    pub(super) fn hear(&mut self, said: Vec<Entry>, hearing: Hearing) -> Vec<Key> {
        let is_filling = hearing.may_be_filling && 2 * endpoints(&said) < self.endpoints.0;
        let still_kept = hearing.last_answer.filter(|_| is_filling);
        let mut heard = Vec::with_capacity(said.len());
        let mut changed = Vec::new();
        // It is news that a claim is gone, or kept from now on.
        let leave_out = |claim: Claim, heard: &mut Vec<Claim>, changed: &mut Vec<Key>| {
            if claim.kept.is_none() {
                changed.push(key(&claim.entry));
            }
            let kept = claim.kept.or(still_kept);
            if kept.is_some() {
                heard.push(Claim { kept, ..claim });
            }
        };
        let mut known = mem::take(&mut self.claims).into_values().peekable();
        for entry in said {
            while let Some(unnamed) = known.next_if(|claim| claim.entry.key() < entry.key()) {
                leave_out(unnamed, &mut heard, &mut changed);
            }
            let before = known.next_if(|claim| claim.entry.key() == entry.key());
            let same = before.as_ref().filter(|claim| claim.entry == entry);
            if same.is_none_or(|claim| claim.kept.is_some()) {
                changed.push(key(&entry));
            }
            let since = same.map_or(hearing.now, |claim| claim.since);
            heard.push(Claim { entry, since, kept: None });
        }
        for unnamed in known {
            leave_out(unnamed, &mut heard, &mut changed);
        }
        self.claims = heard.into_iter().map(Claim::into_keyed).collect();
        changed.extend(self.drop_contradicted());
        self.count();
        changed
    }

    /// Takes what changed, step by step.
    pub(super) fn apply(&mut self, changes: Vec<Change>, now: Instant) -> Vec<Key> {
        let mut changed = Vec::new();
        for change in changes {
            match change {
                Change::Said(entry) => {
                    let key = key(&entry);
                    if self.claims.get(&key).is_some_and(|claim| claim.entry == entry) {
                        continue;
                    }
                    let is_endpoint = entry.endpoint.is_some();
                    let claim = Claim { entry, since: now, kept: None };
                    let before = self.claims.insert(key.clone(), claim);
                    self.endpoints.0 += usize::from(is_endpoint && before.is_none());
                    changed.push(key);
                }
                Change::Gone { route, address } => {
                    let key = (route, address);
                    if self.claims.remove(&key).is_some() {
                        self.endpoints.0 -= usize::from(address.is_some());
                        changed.push(key);
                    }
                }
            }
        }
        changed
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) -> Vec<Key> {
        (self.endpoints, self.oldest_kept) = ((0, 0), None);
        mem::take(&mut self.claims).into_keys().collect()
    }

    /// Forgets kept claims that were last named at a time that is `due`.
    pub(super) fn drop_kept(&mut self, due: impl Fn(Instant) -> bool) -> Vec<Key> {
        if !self.oldest_kept.is_some_and(&due) {
            return Vec::new();
        }
        let dropped = self.drop_if(|claim| claim.kept.is_some_and(&due));
        self.count();
        dropped
    }

    /// When the oldest of the kept claims was last named.
    pub(super) fn oldest_kept(&self) -> Option<Instant> {
        self.oldest_kept
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.claims.keys()
    }

    /// The claim about `key`.
    pub(super) fn get(&self, key: &Key) -> Option<&Claim> {
        self.claims.get(key)
    }

    /// The claims about a route, in the order of their addresses.
    pub(super) fn under(&self, route: &Arc<str>) -> impl Iterator<Item = &Claim> {
        let claims = self.claims.range((Arc::clone(route), None)..).map(|(_, claim)| claim);
        claims.take_while(move |claim| claim.entry.route == *route)
    }

    /// Endpoints that the newest answer named, and those that are kept.
    pub(super) fn count_endpoints(&self) -> (usize, usize) {
        self.endpoints
    }

    /// Apps that have an endpoint; a walk over everything.
    pub(super) fn count_apps(&self) -> usize {
        let endpoints = self.claims.values().filter_map(|claim| claim.entry.endpoint.as_ref());
        endpoints.map(|endpoint| endpoint.app.id.as_str()).collect::<HashSet<_>>().len()
    }

    fn count(&mut self) {
        self.endpoints = (0, 0);
        for claim in self.claims.values().filter(|claim| claim.entry.endpoint.is_some()) {
            match claim.kept {
                None => self.endpoints.0 += 1,
                Some(_) => self.endpoints.1 += 1,
            }
        }
        self.oldest_kept = self.claims.values().filter_map(|claim| claim.kept).min();
    }

    fn drop_if(&mut self, is_unwanted: impl Fn(&Claim) -> bool) -> Vec<Key> {
        let unwanted = self.claims.iter().filter(|(_, claim)| is_unwanted(claim));
        let unwanted: Vec<Key> = unwanted.map(|(key, _)| key.clone()).collect();
        for key in &unwanted {
            self.claims.remove(key);
        }
        unwanted
    }

    /// Drops kept claims whose address the source now names for another
    /// instance.
    fn drop_contradicted(&mut self) -> Vec<Key> {
        if self.claims.values().all(|claim| claim.kept.is_none()) {
            return Vec::new();
        }
        let named = self.claims.values().filter(|claim| claim.kept.is_none());
        let named: HashMap<SocketAddr, Arc<Endpoint>> = named
            .filter_map(|claim| claim.entry.endpoint.clone())
            .map(|endpoint| (endpoint.address, endpoint))
            .collect();
        self.drop_if(|claim| {
            let Some(endpoint) = &claim.entry.endpoint else { return false };
            claim.kept.is_some()
                && named.get(&endpoint.address).is_some_and(|named| named.contradicts(endpoint))
        })
    }
}

fn endpoints(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| entry.endpoint.is_some()).count()
}
