//! The claims of one source.
//!
//! Reports of other sources do not change them. [`merge`](super::merge) resolves conflicts between
//! sources and uses the times that are recorded here.

use crate::discovery::{
    document::{Entry, EntryKey},
    endpoint::Endpoint,
    report::Change,
};
use foldhash::{HashMap, HashSet};
use std::{collections::BTreeMap, mem, net::SocketAddr, sync::Arc};
use tokio::time::Instant;

/// A route and an endpoint that one source lists.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) entry: Entry,
    /// When the source began to report exactly this entry.
    pub(super) since: Instant,
    /// When the source last listed the entry, if its newest report omits it. The claim is retained
    /// because the source may still be filling its table.
    pub(super) retained_since: Option<Instant>,
}

impl Claim {
    fn into_keyed(self) -> (EntryKey, Self) {
        (self.entry.to_key(), self)
    }
}

/// The claims of one source, ordered by key.
///
/// Methods that change the claims return the changed keys.
#[derive(Debug, Default)]
pub(super) struct Claims {
    claims: BTreeMap<EntryKey, Claim>,
    /// Number of endpoints in the newest report, and of retained endpoints.
    endpoints: (usize, usize),
    /// When the oldest retained claim was last listed.
    oldest_retained: Option<Instant>,
}

/// Context of a full report.
#[derive(Clone, Copy, Debug)]
pub(super) struct FullUpdate {
    /// Time of entries that are new in this report.
    pub(super) now: Instant,
    /// Time of the previous report.
    pub(super) last_answer: Option<Instant>,
    /// Whether the source may have restarted and may not know all routes yet.
    pub(super) may_be_filling: bool,
}

impl Claims {
    /// Applies a full report.
    ///
    /// Claims that the report omits are removed, with one exception. A restarted router begins with
    /// an empty table. If a report contains less than half of the previous endpoints, the omitted
    /// claims are therefore retained until they expire or the source lists their address for
    /// another instance.
    pub(super) fn update(&mut self, entries: Vec<Entry>, update: FullUpdate) -> Vec<EntryKey> {
        let is_filling = update.may_be_filling && 2 * endpoints(&entries) < self.endpoints.0;
        let retain_since = update.last_answer.filter(|_| is_filling);
        let mut claims = Vec::with_capacity(entries.len());
        let mut changed = Vec::new();
        // A claim has changed if it is removed, or retained from now on.
        let leave_out = |claim: Claim, claims: &mut Vec<Claim>, changed: &mut Vec<EntryKey>| {
            if claim.retained_since.is_none() {
                changed.push(claim.entry.to_key());
            }
            let retained_since = claim.retained_since.or(retain_since);
            if retained_since.is_some() {
                claims.push(Claim { retained_since, ..claim });
            }
        };
        let mut known = mem::take(&mut self.claims).into_values().peekable();
        for entry in entries {
            while let Some(unnamed) = known.next_if(|claim| claim.entry.key() < entry.key()) {
                leave_out(unnamed, &mut claims, &mut changed);
            }
            let before = known.next_if(|claim| claim.entry.key() == entry.key());
            let same = before.as_ref().filter(|claim| claim.entry == entry);
            if same.is_none_or(|claim| claim.retained_since.is_some()) {
                changed.push(entry.to_key());
            }
            let since = same.map_or(update.now, |claim| claim.since);
            claims.push(Claim { entry, since, retained_since: None });
        }
        for unnamed in known {
            leave_out(unnamed, &mut claims, &mut changed);
        }
        self.claims = claims.into_iter().map(Claim::into_keyed).collect();
        changed.extend(self.drop_contradicted());
        self.count();
        changed
    }

    /// Applies incremental changes.
    pub(super) fn apply(&mut self, changes: Vec<Change>, now: Instant) -> Vec<EntryKey> {
        let mut changed = Vec::new();
        for change in changes {
            match change {
                Change::Set(entry) => {
                    let key = entry.to_key();
                    if self.claims.get(&key).is_some_and(|claim| claim.entry == entry) {
                        continue;
                    }
                    let is_endpoint = entry.endpoint.is_some();
                    let claim = Claim { entry, since: now, retained_since: None };
                    let before = self.claims.insert(key.clone(), claim);
                    self.endpoints.0 += usize::from(is_endpoint && before.is_none());
                    changed.push(key);
                }
                Change::Removed(key) => {
                    if self.claims.remove(&key).is_some() {
                        self.endpoints.0 -= usize::from(key.1.is_some());
                        changed.push(key);
                    }
                }
            }
        }
        changed
    }

    /// Removes all claims.
    pub(super) fn clear(&mut self) -> Vec<EntryKey> {
        (self.endpoints, self.oldest_retained) = ((0, 0), None);
        mem::take(&mut self.claims).into_keys().collect()
    }

    /// Removes retained claims whose last listing is `due`.
    pub(super) fn drop_retained(&mut self, due: impl Fn(Instant) -> bool) -> Vec<EntryKey> {
        if !self.oldest_retained.is_some_and(&due) {
            return Vec::new();
        }
        let dropped = self.drop_if(|claim| claim.retained_since.is_some_and(&due));
        self.count();
        dropped
    }

    /// When the oldest retained claim was last listed.
    pub(super) fn oldest_retained(&self) -> Option<Instant> {
        self.oldest_retained
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &EntryKey> {
        self.claims.keys()
    }

    pub(super) fn get(&self, key: &EntryKey) -> Option<&Claim> {
        self.claims.get(key)
    }

    /// The claims for a route, ordered by address.
    pub(super) fn under(&self, route: &Arc<str>) -> impl Iterator<Item = &Claim> {
        let claims = self.claims.range((Arc::clone(route), None)..).map(|(_, claim)| claim);
        claims.take_while(move |claim| claim.entry.route == *route)
    }

    /// Number of endpoints in the newest report, and of retained endpoints.
    pub(super) fn count_endpoints(&self) -> (usize, usize) {
        self.endpoints
    }

    /// Number of apps with an endpoint. Iterates over all claims.
    pub(super) fn count_apps(&self) -> usize {
        let endpoints = self.claims.values().filter_map(|claim| claim.entry.endpoint.as_ref());
        endpoints.map(|endpoint| endpoint.app.id.as_str()).collect::<HashSet<_>>().len()
    }

    fn count(&mut self) {
        self.endpoints = (0, 0);
        for claim in self.claims.values().filter(|claim| claim.entry.endpoint.is_some()) {
            match claim.retained_since {
                None => self.endpoints.0 += 1,
                Some(_) => self.endpoints.1 += 1,
            }
        }
        self.oldest_retained = self.claims.values().filter_map(|claim| claim.retained_since).min();
    }

    fn drop_if(&mut self, is_unwanted: impl Fn(&Claim) -> bool) -> Vec<EntryKey> {
        let unwanted = self.claims.iter().filter(|(_, claim)| is_unwanted(claim));
        let unwanted: Vec<EntryKey> = unwanted.map(|(key, _)| key.clone()).collect();
        for key in &unwanted {
            self.claims.remove(key);
        }
        unwanted
    }

    /// Removes retained claims whose address the source now lists for another instance.
    fn drop_contradicted(&mut self) -> Vec<EntryKey> {
        if self.claims.values().all(|claim| claim.retained_since.is_none()) {
            return Vec::new();
        }
        let named = self.claims.values().filter(|claim| claim.retained_since.is_none());
        let named: HashMap<SocketAddr, Arc<Endpoint>> = named
            .filter_map(|claim| claim.entry.endpoint.clone())
            .map(|endpoint| (endpoint.address, endpoint))
            .collect();
        self.drop_if(|claim| {
            let Some(endpoint) = &claim.entry.endpoint else { return false };
            claim.retained_since.is_some()
                && named.get(&endpoint.address).is_some_and(|named| named.contradicts(endpoint))
        })
    }
}

fn endpoints(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| entry.endpoint.is_some()).count()
}
