use super::*;
use futures_util::FutureExt;

fn limiter(max: usize) -> ConnectionLimiter {
    ConnectionLimiter::new(max, ConnectionLimiterMetrics::default())
}

/// All permits that `owner` gets without waiting.
fn all_for(limiter: &ConnectionLimiter, owner: &str) -> Vec<Permit> {
    std::iter::from_fn(|| limiter.acquire(owner).now_or_never()).collect()
}

#[test]
fn an_owner_never_holds_more_permits_than_are_free() {
    let limiter = limiter(100);
    let first = all_for(&limiter, "first");
    assert_eq!(first.len(), 50);
    let second = all_for(&limiter, "second");
    assert_eq!(second.len(), 25);
    let third = all_for(&limiter, "third");
    assert_eq!(third.len(), 13);
    drop(first);
    assert_eq!(all_for(&limiter, "third").len(), 25, "it uses 38, and 37 are left");
    drop((second, third));
    assert_eq!(all_for(&limiter, "first").len(), 50, "all permits were returned");
}

#[tokio::test]
async fn a_free_permit_goes_to_the_owner_with_the_fewest_permits() {
    let limiter = limiter(8);
    let mut large = all_for(&limiter, "large");
    let small = all_for(&limiter, "small");
    assert_eq!((large.len(), small.len()), (4, 2));
    let (mut of_large, mut of_small) =
        (Box::pin(limiter.acquire("large")), Box::pin(limiter.acquire("small")));
    assert!((&mut of_large).now_or_never().is_none());
    assert!((&mut of_small).now_or_never().is_none());
    drop(large.pop());
    assert!((&mut of_large).now_or_never().is_none() && (&mut of_small).now_or_never().is_some());
    drop(small);
}

#[tokio::test]
async fn a_dropped_request_returns_its_permit() {
    let limiter = limiter(2);
    let held = limiter.acquire("a").await;
    let mut dropped_while_queued = Box::pin(limiter.acquire("a"));
    assert!((&mut dropped_while_queued).now_or_never().is_none());
    drop(dropped_while_queued);
    let mut dropped_with_its_permit = Box::pin(limiter.acquire("a"));
    assert!((&mut dropped_with_its_permit).now_or_never().is_none());
    drop(held);
    drop(dropped_with_its_permit);
    assert_eq!(all_for(&limiter, "b").len(), 1, "one of two is left for another owner");
    assert_eq!(all_for(&limiter, "a").len(), 1);
}

#[tokio::test]
async fn pools_are_requested_to_close_idle_connections_at_the_limit() {
    let limiter = limiter(1);
    let idle = limiter.open().await;
    let pool = limiter.clone();
    let closing = async move {
        pool.close_idle_requested().await;
        drop(idle);
    };
    let (_opened, ()) = tokio::join!(limiter.open(), closing);
}
