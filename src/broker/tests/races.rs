//! Concurrent requests for the same instance or binding, at one and at two replicas.

use super::*;

#[tokio::test]
async fn one_of_many_concurrent_equal_requests_creates() {
    on_both(async |store| {
        // Two brokers with one store behave like two replicas: they share only the database.
        let replicas = [broker(&store).await, broker(&store).await];
        let provisioned = join_all(
            (0..50).map(async |n: usize| replicas[n % 2].provision(provision("i")).await.unwrap()),
        )
        .await;
        let created = |outcome: &&Provisioned| **outcome == Provisioned::Created;
        assert_eq!(provisioned.iter().filter(created).count(), 1);

        let bound = join_all(
            (0..50)
                .map(async |n: usize| replicas[n % 2].bind(bind("i", "b", "app")).await.unwrap()),
        )
        .await;
        let created = |outcome: &&Bound| matches!(outcome, Bound::Created(_));
        assert_eq!(bound.iter().filter(created).count(), 1);

        // Two instances request the same binding id concurrently: one gets it, the other gets a
        // conflict.
        replicas[0].provision(provision("j")).await.unwrap();
        let [first, second] = &replicas;
        let (a, b) = tokio::join!(
            first.bind(bind("i", "contested", "app")),
            second.bind(bind("j", "contested", "app"))
        );
        let outcomes = [a, b].map(|outcome| outcome.err().map(|error| name(&error)));
        assert!(outcomes.contains(&None), "{outcomes:?}");
        assert!(outcomes.contains(&Some("BindingConflict".to_owned())), "{outcomes:?}");
    })
    .await;
}

#[tokio::test]
async fn a_delete_that_arrives_during_a_put_finds_its_instance() {
    on_both(async |store| {
        let (broker, id) = (broker(&store).await, instance("i"));
        for _ in 0..20 {
            // Polled in this order, so that the DELETE arrives during the PUT.
            let (put, deleted) = tokio::join!(
                biased;
                broker.provision(provision("i")),
                broker.deprovision(&id)
            );
            assert_eq!(put.unwrap(), Provisioned::Created);
            deleted.unwrap();
        }
        let deleted = broker.fetch(&instance("i")).await.unwrap_err();
        assert!(matches!(deleted, BrokerError::InstanceUnknown), "{deleted:?}");
    })
    .await;
}

#[tokio::test]
async fn the_state_after_puts_and_deletes_of_two_replicas_matches_their_outcomes() {
    on_both(async |store| {
        let replicas = [broker(&store).await, broker(&store).await];
        let (mut created, mut deleted) = (0, 0);
        for _ in 0..20 {
            let answers = join_all((0..4).map(async |n: usize| {
                let broker = &replicas[n % 2];
                match n < 2 {
                    true => {
                        let outcome = broker.provision(provision("i")).await.unwrap();
                        i32::from(outcome == Provisioned::Created)
                    }
                    false => match broker.deprovision(&instance("i")).await {
                        Ok(_) => -1,
                        Err(BrokerError::InstanceGone) => 0,
                        Err(error) => panic!("{error:?}"),
                    },
                }
            }))
            .await;
            created += answers.iter().filter(|answer| **answer == 1).count();
            deleted += answers.iter().filter(|answer| **answer == -1).count();
        }
        let remaining = usize::from(replicas[0].fetch(&instance("i")).await.is_ok());
        assert_eq!(created - deleted, remaining, "created {created}, deleted {deleted}");
    })
    .await;
}
