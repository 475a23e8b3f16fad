//! Merges the claims of all sources: the union by route and address.
//!
//! An endpoint that one source omits stays if another source lists it: a stale or dead router hides
//! no routes. Sources can only contradict each other about an address. gorouter does not expire TLS
//! endpoints, so a router that missed an `unregister` lists an address for a deleted instance,
//! although another instance uses the address now.
//!
//! A conflict is resolved by these rules, in this order:
//!
//! 1. A claim that an available source lists now wins over a claim of an unavailable source and
//!    over a retained claim.
//! 2. The *newer* claim wins: the one that its source began to report later. A source that changes
//!    its report has learned something, while a source that repeats its report may have missed a
//!    change. The time of the last report must not count, because the table would alternate with
//!    every poll.
//! 3. The order of the configuration, the file first.
//!
//! For the same route and address, all three rules apply. For the same address under different
//! routes, only the first two apply: if they do not decide, both claims stay, and the instance's
//! certificate decides.
//!
//! Routes are merged one by one, because on a large platform one of two hundred thousand routes
//! changes at a time. If the claims for an address change, all routes with that address are merged
//! again.

use super::{
    claims::{Claim, Claims},
    index::RouteUpdate,
};
use crate::discovery::{document::EntryKey, endpoint::Endpoint};
use foldhash::HashMap;
use std::{cmp::Reverse, collections::BTreeSet, net::SocketAddr, sync::Arc};
use tokio::time::Instant;

/// The claims of a source and whether it is available.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceClaims<'a> {
    pub(super) claims: &'a Claims,
    /// Its last poll succeeded.
    pub(super) is_up: bool,
}

/// The routes under which each address is claimed.
#[derive(Debug, Default)]
pub(super) struct Addresses(HashMap<SocketAddr, Box<[Arc<str>]>>);

impl Addresses {
    /// Records whether any source claims `key`. Returns the routes with the same address.
    pub(super) fn record(&mut self, key: &EntryKey, is_claimed: bool) -> &[Arc<str>] {
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

    /// The routes under which `address` is claimed, ordered by bytes.
    fn under(&self, address: SocketAddr) -> &[Arc<str>] {
        self.0.get(&address).map_or(&[], AsRef::as_ref)
    }
}

/// The merged endpoints of one route.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) update: RouteUpdate,
    /// Claims contradicted each other, so the result depends on which sources are available.
    pub(super) is_disputed: bool,
}

/// Whether an available source lists the claim now, and since when the source reports it.
type Rank = (bool, Instant);

#[derive(Clone, Copy)]
struct RankedClaim<'a> {
    claim: &'a Claim,
    rank: Rank,
}

impl<'a> RankedClaim<'a> {
    fn endpoint(&self) -> Option<&'a Arc<Endpoint>> {
        self.claim.entry.endpoint.as_ref()
    }

    fn contradicts(&self, other: &Self) -> bool {
        matches!((self.endpoint(), other.endpoint()), (Some(a), Some(b)) if a.contradicts(b))
    }
}

/// Merges the claims of all sources for a route.
pub(super) fn merge(
    sources: &[SourceClaims<'_>],
    addresses: &Addresses,
    route: &Arc<str>,
) -> Merged {
    let claimed = sources.iter().flat_map(|source| source.claims.under(route));
    let claimed: BTreeSet<Option<SocketAddr>> =
        claimed.map(|claim| claim.entry.endpoint.as_ref().map(|e| e.address)).collect();
    let is_known = !claimed.is_empty();
    let mut is_disputed = false;
    let mut endpoints = Vec::with_capacity(claimed.len());
    for address in claimed.into_iter().flatten() {
        let (winner, differ) = winner(sources, &(Arc::clone(route), Some(address)));
        let Some(winner) = winner else { continue };
        let (is_outdated, contradict) =
            resolve_conflict(&winner, sources, addresses.under(address));
        is_disputed |= differ || contradict;
        if !is_outdated {
            endpoints.extend(winner.endpoint().cloned());
        }
    }
    // A route without any valid claim is removed.
    let stays = is_known && (!endpoints.is_empty() || has_route_without_endpoint(sources, route));
    let endpoints = stays.then_some(endpoints);
    Merged { update: RouteUpdate { route: Arc::clone(route), endpoints }, is_disputed }
}

/// Whether a source lists the route without an endpoint.
fn has_route_without_endpoint(sources: &[SourceClaims<'_>], route: &Arc<str>) -> bool {
    let key = (Arc::clone(route), None);
    sources.iter().any(|source| source.claims.get(&key).is_some())
}

/// The highest-ranked claim for a route and address, and whether other claims differ from it.
fn winner<'a>(sources: &[SourceClaims<'a>], key: &EntryKey) -> (Option<RankedClaim<'a>>, bool) {
    let mut best: Option<(RankedClaim<'a>, Reverse<usize>)> = None;
    let mut differ = false;
    for (order, source) in sources.iter().enumerate() {
        let Some(claim) = source.claims.get(key) else { continue };
        let rank = (source.is_up && claim.retained_since.is_none(), claim.since);
        let this = (RankedClaim { claim, rank }, Reverse(order));
        best = Some(match best {
            None => this,
            Some(best) => {
                differ |= best.0.claim.entry != claim.entry;
                if (this.0.rank, this.1) > (best.0.rank, best.1) { this } else { best }
            }
        });
    }
    (best.map(|(ranked, _)| ranked), differ)
}

/// Returns whether a higher-ranked claim for the same address contradicts this one, and whether the
/// claims for the address contradict each other.
fn resolve_conflict(
    claim: &RankedClaim<'_>,
    sources: &[SourceClaims<'_>],
    routes: &[Arc<str>],
) -> (bool, bool) {
    let Some(endpoint) = claim.endpoint().filter(|_| routes.len() > 1) else {
        return (false, false);
    };
    let winners =
        routes.iter().map(|route| winner(sources, &(Arc::clone(route), Some(endpoint.address))));
    let mut best: Option<RankedClaim<'_>> = None;
    let mut contradict = false;
    for (winner, differ) in winners {
        // Another claim may win there when a source becomes available or unavailable.
        contradict |= differ;
        let Some(winner) = winner else { continue };
        let Some(current) = &best else {
            best = Some(winner);
            continue;
        };
        if winner.contradicts(current) {
            contradict = true;
            if winner.rank > current.rank {
                best = Some(winner);
            }
        }
    }
    let is_outdated = best.is_some_and(|best| best.contradicts(claim) && best.rank > claim.rank);
    (is_outdated, contradict)
}
