use super::*;
use futures_util::FutureExt;

fn outgoing(max: usize) -> Outgoing {
    Outgoing::new(max, OutgoingMetrics::default())
}

/// As many permits as `owner` gets without waiting.
fn all_for(outgoing: &Outgoing, owner: &str) -> Vec<Permit> {
    std::iter::from_fn(|| outgoing.acquire(owner).now_or_never()).collect()
}

#[test]
fn an_owner_never_gets_more_than_are_left_for_all() {
    let outgoing = outgoing(100);
    let first = all_for(&outgoing, "first");
    assert_eq!(first.len(), 50);
    let second = all_for(&outgoing, "second");
    assert_eq!(second.len(), 25);
    let third = all_for(&outgoing, "third");
    assert_eq!(third.len(), 13);
    drop(first);
    assert_eq!(all_for(&outgoing, "third").len(), 25, "it uses 38, and 37 are left");
    drop((second, third));
    assert_eq!(all_for(&outgoing, "first").len(), 50, "nothing is lost");
}

#[tokio::test]
async fn a_free_permit_goes_to_the_owner_that_uses_the_fewest() {
    let outgoing = outgoing(8);
    let mut large = all_for(&outgoing, "large");
    let small = all_for(&outgoing, "small");
    assert_eq!((large.len(), small.len()), (4, 2));
    let (mut of_large, mut of_small) =
        (Box::pin(outgoing.acquire("large")), Box::pin(outgoing.acquire("small")));
    assert!((&mut of_large).now_or_never().is_none());
    assert!((&mut of_small).now_or_never().is_none());
    drop(large.pop());
    assert!((&mut of_large).now_or_never().is_none() && (&mut of_small).now_or_never().is_some());
    drop(small);
}

#[tokio::test]
async fn a_place_in_the_queue_that_is_left_costs_nothing() {
    let outgoing = outgoing(2);
    let held = outgoing.acquire("a").await;
    let mut left_while_waiting = Box::pin(outgoing.acquire("a"));
    assert!((&mut left_while_waiting).now_or_never().is_none());
    drop(left_while_waiting);
    let mut left_with_its_turn = Box::pin(outgoing.acquire("a"));
    assert!((&mut left_with_its_turn).now_or_never().is_none());
    drop(held);
    drop(left_with_its_turn);
    assert_eq!(all_for(&outgoing, "b").len(), 1, "one of two is left for another owner");
    assert_eq!(all_for(&outgoing, "a").len(), 1);
}

#[tokio::test]
async fn idle_connections_are_asked_to_close_when_there_is_no_room() {
    let outgoing = outgoing(1);
    let idle = outgoing.open().await;
    let keeper = outgoing.clone();
    let closing = async move {
        keeper.idle_wanted().await;
        drop(idle);
    };
    let (_opened, ()) = tokio::join!(outgoing.open(), closing);
}
