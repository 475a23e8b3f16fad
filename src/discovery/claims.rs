//! What one source says, and since when.
//!
//! A source owns its claims: nothing that another one says or fails to say
//! changes them. Who is right where two contradict is [`merge`](super::merge)'s
//! question, and the times kept here are its evidence.

use super::{document::Entry, endpoint::Endpoint};
use foldhash::HashMap;
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

impl Change {
    fn key(&self) -> (Arc<str>, Option<SocketAddr>) {
        match self {
            Self::Said(entry) => {
                (Arc::clone(&entry.route), entry.endpoint.as_ref().map(|e| e.address))
            }
            Self::Gone { route, address } => (Arc::clone(route), *address),
        }
    }
}

/// The claims of one source, in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<Claim>);

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
    /// Takes a full answer; true if that changed anything.
    ///
    /// What it does not name any more goes at once. Except: a router that was
    /// just restarted starts with an empty table, so an answer that names less
    /// than half of the one before does not count as knowledge that the rest
    /// is gone. That is kept until it is due, or until its address is named
    /// for another instance.
    pub(super) fn hear(&mut self, said: Vec<Entry>, hearing: Hearing) -> bool {
        let is_filling = hearing.may_be_filling && 2 * endpoints(&said) < self.count_endpoints().0;
        let still_kept = hearing.last_answer.filter(|_| is_filling);
        let mut heard = Vec::with_capacity(said.len());
        let mut changed = false;
        // True if that is news: gone, or kept from now on.
        let leave_out = |claim: Claim, heard: &mut Vec<Claim>| {
            let kept = claim.kept.or(still_kept);
            let is_news = claim.kept.is_none();
            if kept.is_some() {
                heard.push(Claim { kept, ..claim });
            }
            is_news
        };
        let mut known = mem::take(&mut self.0).into_iter().peekable();
        for entry in said {
            while let Some(unnamed) = known.next_if(|claim| claim.entry.key() < entry.key()) {
                changed |= leave_out(unnamed, &mut heard);
            }
            let before = known.next_if(|claim| claim.entry.key() == entry.key());
            let same = before.as_ref().filter(|claim| claim.entry == entry);
            changed |= same.is_none_or(|claim| claim.kept.is_some());
            let since = same.map_or(hearing.now, |claim| claim.since);
            heard.push(Claim { entry, since, kept: None });
        }
        for unnamed in known {
            changed |= leave_out(unnamed, &mut heard);
        }
        self.0 = heard;
        self.drop_contradicted() || changed
    }

    /// Takes what changed, step by step; true if anything did.
    pub(super) fn apply(&mut self, changes: Vec<Change>, now: Instant) -> bool {
        // Of several steps about one key the last is what counts.
        let last: BTreeMap<_, _> =
            changes.into_iter().map(|change| (change.key(), change)).collect();
        let mut changed = false;
        let mut applied = Vec::with_capacity(self.0.len() + last.len());
        let mut known = mem::take(&mut self.0).into_iter().peekable();
        for ((route, address), change) in last {
            let key = (&*route, address);
            applied.extend(std::iter::from_fn(|| known.next_if(|c| c.entry.key() < key)));
            let before = known.next_if(|claim| claim.entry.key() == key);
            match (change, before) {
                (Change::Said(entry), Some(before)) if before.entry == entry => {
                    applied.push(before);
                }
                (Change::Said(entry), _) => {
                    changed = true;
                    applied.push(Claim { entry, since: now, kept: None });
                }
                (Change::Gone { .. }, before) => changed |= before.is_some(),
            }
        }
        applied.extend(known);
        self.0 = applied;
        changed
    }

    /// Forgets everything; true if there was anything.
    pub(super) fn clear(&mut self) -> bool {
        !mem::take(&mut self.0).is_empty()
    }

    /// Forgets kept claims that were last named at a time that is `due`; true
    /// if there were any.
    pub(super) fn drop_kept(&mut self, due: impl Fn(Instant) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|claim| !claim.kept.is_some_and(&due));
        self.0.len() < before
    }

    /// When the oldest of the kept claims was last named.
    pub(super) fn oldest_kept(&self) -> Option<Instant> {
        self.0.iter().filter_map(|claim| claim.kept).min()
    }

    pub(super) fn as_slice(&self) -> &[Claim] {
        &self.0
    }

    /// Endpoints that the newest answer named, and those that are kept.
    pub(super) fn count_endpoints(&self) -> (usize, usize) {
        self.0.iter().filter(|claim| claim.entry.endpoint.is_some()).fold(
            (0, 0),
            |(named, kept), claim| match claim.kept {
                None => (named + 1, kept),
                Some(_) => (named, kept + 1),
            },
        )
    }

    /// Drops kept claims whose address the source now names for another
    /// instance; true if there were any.
    fn drop_contradicted(&mut self) -> bool {
        if self.oldest_kept().is_none() {
            return false;
        }
        let named = self.0.iter().filter(|claim| claim.kept.is_none());
        let named: HashMap<SocketAddr, Arc<Endpoint>> = named
            .filter_map(|claim| claim.entry.endpoint.clone())
            .map(|endpoint| (endpoint.address, endpoint))
            .collect();
        let is_contradicted = |claim: &Claim| {
            let Some(endpoint) = &claim.entry.endpoint else { return false };
            named.get(&endpoint.address).is_some_and(|named| named.contradicts(endpoint))
        };
        let before = self.0.len();
        self.0.retain(|claim| claim.kept.is_none() || !is_contradicted(claim));
        self.0.len() < before
    }
}

fn endpoints(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| entry.endpoint.is_some()).count()
}
