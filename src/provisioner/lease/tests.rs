use super::*;
use crate::store::testing::Schema;

async fn store_of(schema: &Schema) -> Store {
    Store::open(&schema.url().parse().unwrap(), 4).await.unwrap()
}

fn elsewhere(claimed: Result<(), ClaimError>) -> (String, String) {
    match claimed {
        Err(ClaimError::Elsewhere { other, own }) => (other, own),
        claimed => panic!("{claimed:?}"),
    }
}

/// Ends the term of the lease.
async fn expire(store: &Store) {
    let mut tx = store.begin_write().await.unwrap();
    leases::expire_for_tests(&mut tx, NAME).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_second_location_is_refused_while_the_holder_renews_the_lease() {
    let schema = Schema::create().await;
    let store = store_of(&schema).await;
    let mut first = Lease::new(store.clone(), "process a:/data");
    first.claim().await.unwrap();
    let mut second = Lease::new(store.clone(), "process b:/data");
    let renewed = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(first.acquire().await.unwrap(), LeaseOutcome::Acquired);
        }
    };
    let refused = tokio::select! {
        claimed = second.claim() => elsewhere(claimed),
        () = renewed => unreachable!(),
    };
    assert_eq!(refused, ("process a:/data".to_owned(), "process b:/data".to_owned()));

    // A process at the same location waits for the lease, as in a restart with two ports.
    let mut standby = Lease::new(store.clone(), "process a:/data");
    standby.claim().await.unwrap();
    assert!(!standby.renew().await.unwrap());
    first.release().await.unwrap();
    assert!(standby.renew().await.unwrap());
    standby.release().await.unwrap();
    second.claim().await.unwrap();
    store.close().await;
    schema.drop().await;
}

#[tokio::test]
async fn a_claim_waits_until_the_lease_of_a_killed_process_at_another_location_expires() {
    let schema = Schema::create().await;
    let store = store_of(&schema).await;
    Lease::new(store.clone(), "process a:/data").claim().await.unwrap();
    let mut second = Lease::new(store.clone(), "process b:/data");
    let ends = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        expire(&store).await;
    };
    let (claimed, ()) = tokio::join!(second.claim(), ends);
    claimed.unwrap();
    assert!(second.renew().await.unwrap());
    store.close().await;
    schema.drop().await;
}

#[tokio::test]
async fn a_holder_without_a_location_does_not_prevent_a_start() {
    let schema = Schema::create().await;
    let store = store_of(&schema).await;
    let mut older = Lease::new(store.clone(), "");
    older.holder.home = None;
    older.claim().await.unwrap();
    let mut newer = Lease::new(store.clone(), "process b:/data");
    newer.claim().await.unwrap();
    assert!(!newer.renew().await.unwrap());
    assert_eq!(newer.other_location(), None);
    store.close().await;
    schema.drop().await;
}
