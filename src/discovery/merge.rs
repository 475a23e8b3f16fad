//! One table out of what all sources say: the union, by route and address.
//!
//! Nothing that one source leaves out takes anything from another: a stale or
//! dead router can neither hide nor delete what a live one says. It can only
//! contradict it, about one address: gorouter never lets TLS endpoints grow
//! old, so a router that missed an `unregister` names an address for an
//! instance that is gone and another one has meanwhile.
//!
//! Who is right is decided by, in this order:
//!
//! 1. A source that is here, and names it now, before one that is away or only
//!    seems to have lost it.
//! 2. The claim that is *newer*: the one that its source began to make last.
//!    The source that changed its mind has learned something; the one that
//!    repeats itself may just have missed it. Which answer arrived last says
//!    nothing, and would make the table flap with every poll.
//! 3. The order of the configuration, the file first.
//!
//! The same route and address has one winner by all three. The same address
//! under different routes loses a claim only by the first two: where they tell
//! nothing, both stay, and the instance's certificate decides.
//!
//! A route is merged by itself, since on a large platform one of two hundred
//! thousand changes at a time. What binds routes together is an address that is
//! claimed under several: when that claim changes, all of them are merged.

use super::{
    claims::{Claim, Claims, Key},
    endpoint::Endpoint,
    index::RouteNews,
};
use foldhash::HashMap;
use std::{cmp::Reverse, collections::BTreeSet, net::SocketAddr, sync::Arc};
use tokio::time::Instant;

/// One source's part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice<'a> {
    pub(super) claims: &'a Claims,
    /// Its last try succeeded.
    pub(super) is_here: bool,
}

/// The routes under which anybody claims an address.
#[derive(Debug, Default)]
pub(super) struct Addresses(HashMap<SocketAddr, Box<[Arc<str>]>>);

impl Addresses {
    /// Notes whether `key` is claimed by anybody, and tells which routes share
    /// its address.
    pub(super) fn note(&mut self, key: &Key, is_claimed: bool) -> &[Arc<str>] {
        let (route, Some(address)) = key else { return &[] };
        let routes = self.0.entry(*address).or_default();
        let known = routes.iter().position(|known| known == route);
        match (known, is_claimed) {
            (None, true) => {
                let mut more = std::mem::take(routes).into_vec();
                more.push(Arc::clone(route));
                more.sort_unstable();
                *routes = more.into();
            }
            (Some(at), false) => {
                let mut fewer = std::mem::take(routes).into_vec();
                fewer.remove(at);
                *routes = fewer.into();
            }
            _ => {}
        }
        if routes.is_empty() {
            self.0.remove(address);
            return &[];
        }
        self.under(*address)
    }

    /// The routes under which `address` is claimed, in byte order.
    fn under(&self, address: SocketAddr) -> &[Arc<str>] {
        self.0.get(&address).map_or(&[], AsRef::as_ref)
    }
}

/// What came out for one route.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) news: RouteNews,
    /// Two claims contradicted each other, so the outcome depends on who is here.
    pub(super) is_disputed: bool,
}

/// How much a claim weighs: named now by a source that is here, and since when.
type Weight = (bool, Instant);

#[derive(Clone, Copy)]
struct Weighed<'a> {
    claim: &'a Claim,
    weight: Weight,
}

impl<'a> Weighed<'a> {
    fn endpoint(&self) -> Option<&'a Arc<Endpoint>> {
        self.claim.entry.endpoint.as_ref()
    }

    fn contradicts(&self, other: &Self) -> bool {
        matches!((self.endpoint(), other.endpoint()), (Some(a), Some(b)) if a.contradicts(b))
    }
}

/// Puts together what all sources claim about a route.
pub(super) fn merge(voices: &[Voice<'_>], addresses: &Addresses, route: &Arc<str>) -> Merged {
    let claimed = voices.iter().flat_map(|voice| voice.claims.under(route));
    let claimed: BTreeSet<Option<SocketAddr>> =
        claimed.map(|claim| claim.entry.endpoint.as_ref().map(|e| e.address)).collect();
    let is_known = !claimed.is_empty();
    let mut is_disputed = false;
    let mut endpoints = Vec::with_capacity(claimed.len());
    for address in claimed.into_iter().flatten() {
        let (winner, differ) = winner(voices, &(Arc::clone(route), Some(address)));
        let Some(winner) = winner else { continue };
        let (is_outdated, contradict) = judge(&winner, voices, addresses.under(address));
        is_disputed |= differ || contradict;
        if !is_outdated {
            endpoints.extend(winner.endpoint().cloned());
        }
    }
    // A route whose every claim is outdated is nobody's any more.
    let stays = is_known && (!endpoints.is_empty() || says_nothing_of_endpoints(voices, route));
    let endpoints = stays.then_some(endpoints);
    Merged { news: RouteNews { route: Arc::clone(route), endpoints }, is_disputed }
}

/// Whether some source says that there is such a route, without any endpoint.
fn says_nothing_of_endpoints(voices: &[Voice<'_>], route: &Arc<str>) -> bool {
    let key = (Arc::clone(route), None);
    voices.iter().any(|voice| voice.claims.get(&key).is_some())
}

/// The strongest claim about a route and address, and whether there are others
/// that differ from it.
fn winner<'a>(voices: &[Voice<'a>], key: &Key) -> (Option<Weighed<'a>>, bool) {
    let mut best: Option<(Weighed<'a>, Reverse<usize>)> = None;
    let mut differ = false;
    for (order, voice) in voices.iter().enumerate() {
        let Some(claim) = voice.claims.get(key) else { continue };
        let weight = (voice.is_here && claim.kept.is_none(), claim.since);
        let this = (Weighed { claim, weight }, Reverse(order));
        best = Some(match best {
            None => this,
            Some(best) => {
                differ |= best.0.claim.entry != claim.entry;
                if (this.0.weight, this.1) > (best.0.weight, best.1) { this } else { best }
            }
        });
    }
    (best.map(|(weighed, _)| weighed), differ)
}

/// Whether a weightier claim about the same address contradicts this one, and
/// whether the claims about it contradict each other at all, or could.
fn judge(claim: &Weighed<'_>, voices: &[Voice<'_>], routes: &[Arc<str>]) -> (bool, bool) {
    let Some(endpoint) = claim.endpoint().filter(|_| routes.len() > 1) else {
        return (false, false);
    };
    let winners =
        routes.iter().map(|route| winner(voices, &(Arc::clone(route), Some(endpoint.address))));
    let mut weightiest: Option<Weighed<'_>> = None;
    let mut contradict = false;
    for (winner, differ) in winners {
        // Another one may win there when somebody comes or goes.
        contradict |= differ;
        let Some(winner) = winner else { continue };
        let Some(best) = &weightiest else {
            weightiest = Some(winner);
            continue;
        };
        if winner.contradicts(best) {
            contradict = true;
            if winner.weight > best.weight {
                weightiest = Some(winner);
            }
        }
    }
    let is_outdated =
        weightiest.is_some_and(|best| best.contradicts(claim) && best.weight > claim.weight);
    (is_outdated, contradict)
}
