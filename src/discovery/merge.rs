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

use super::{claims::Claim, document::Entry, endpoint::Endpoint};
use foldhash::{HashMap, HashMapExt};
use std::{cmp::Reverse, collections::hash_map::Entry as Slot, sync::Arc};
use tokio::time::Instant;

/// One source's part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice<'a> {
    pub(super) claims: &'a [Claim],
    /// Its last try succeeded.
    pub(super) is_here: bool,
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// In the order of their keys.
    pub(super) entries: Vec<Entry>,
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

/// Puts the claims of all sources together.
pub(super) fn merge(voices: &[Voice<'_>]) -> Merged {
    let (mut winners, differ) = by_key(voices);
    let contradict = drop_outdated(&mut winners);
    let entries = winners.into_iter().map(|winner| winner.claim.entry.clone()).collect();
    Merged { entries, is_disputed: differ || contradict }
}

/// The strongest claim of each route and address, and whether there were
/// others that differ from it.
fn by_key<'a>(voices: &[Voice<'a>]) -> (Vec<Weighed<'a>>, bool) {
    let weigh = |claim: &'a Claim, is_here: bool| Weighed {
        claim,
        weight: (is_here && claim.kept.is_none(), claim.since),
    };
    // One voice has nothing to be compared with.
    if let [voice] = voices {
        let all = voice.claims.iter().map(|claim| weigh(claim, voice.is_here));
        return (all.collect(), false);
    }
    let longest = voices.iter().map(|voice| voice.claims.len()).max().unwrap_or_default();
    let mut winners: Vec<Weighed<'a>> = Vec::with_capacity(longest);
    let mut differ = false;
    let mut rest: Vec<_> =
        voices.iter().map(|voice| (voice.is_here, voice.claims.iter().peekable())).collect();
    loop {
        let heads = rest.iter_mut().filter_map(|(_, claims)| claims.peek().copied());
        let Some(key) = heads.map(|claim| claim.entry.key()).min() else { break };
        let mut best: Option<(Weighed<'a>, Reverse<usize>)> = None;
        for (order, (is_here, claims)) in rest.iter_mut().enumerate() {
            let Some(claim) = claims.next_if(|claim| claim.entry.key() == key) else { continue };
            let this = (weigh(claim, *is_here), Reverse(order));
            best = Some(match best {
                None => this,
                Some(best) => {
                    differ |= best.0.claim.entry != claim.entry;
                    if (this.0.weight, this.1) > (best.0.weight, best.1) { this } else { best }
                }
            });
        }
        winners.extend(best.map(|(weighed, _)| weighed));
    }
    (winners, differ)
}

/// Drops what a weightier claim about the same address contradicts, and tells
/// whether there were contradictions at all.
fn drop_outdated(winners: &mut Vec<Weighed<'_>>) -> bool {
    let mut weightiest: HashMap<_, Weighed<'_>> = HashMap::with_capacity(winners.len());
    let mut contradict = false;
    for winner in winners.iter() {
        let Some(endpoint) = winner.endpoint() else { continue };
        match weightiest.entry(endpoint.address) {
            Slot::Vacant(slot) => drop(slot.insert(*winner)),
            Slot::Occupied(mut slot) => {
                if winner.contradicts(slot.get()) {
                    contradict = true;
                    if winner.weight > slot.get().weight {
                        slot.insert(*winner);
                    }
                }
            }
        }
    }
    if contradict {
        winners.retain(|winner| {
            let best = winner.endpoint().and_then(|endpoint| weightiest.get(&endpoint.address));
            best.is_none_or(|best| !best.contradicts(winner) || best.weight <= winner.weight)
        });
    }
    contradict
}
