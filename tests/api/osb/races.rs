//! Concurrent requests: equal and different PUTs, and PUTs with concurrent DELETEs.

use super::client::*;
use futures_util::future::join_all;

#[actix_web::test]
async fn one_of_fifty_concurrent_equal_puts_is_201() {
    on_both(async |api| {
        let count = |answers: &[BrokerResponse], status: u16| {
            answers.iter().filter(|answer| answer.status == status).count()
        };
        let body = provision();
        let path = instance("i");
        let answers = join_all((0..50).map(|_| api.put(&path, &body))).await;
        assert_eq!((count(&answers, 201), count(&answers, 200)), (1, 49));

        let body = bind("app");
        let path = binding("i", "b");
        let answers = join_all((0..50).map(|_| api.put(&path, &body))).await;
        assert_eq!((count(&answers, 201), count(&answers, 200)), (1, 49));
        assert!(answers.iter().all(|answer| answer.body == answers[0].body));

        let answers = join_all((0..50).map(|_| api.delete(&path))).await;
        assert_eq!((count(&answers, 200), count(&answers, 410)), (1, 49));
    })
    .await;
}

#[actix_web::test]
async fn one_of_several_concurrent_different_puts_succeeds() {
    on_both(async |api| {
        for round in 0..10 {
            let path = instance(&format!("i{round}"));
            let bodies: Vec<_> =
                (0..5).map(|n| with(provision(), "space_guid", format!("{n}").into())).collect();
            let answers = join_all(bodies.iter().map(|body| api.put(&path, body))).await;
            let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
            let winner = statuses.iter().position(|status| *status == 201).unwrap();
            assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 4);
            assert_eq!(api.put(&path, &bodies[winner]).await.status, 200);
        }
    })
    .await;
}

#[actix_web::test]
async fn the_state_after_concurrent_puts_and_deletes_matches_the_responses() {
    on_both(async |api| {
        let (path, body) = (instance("i"), provision());
        let (mut made, mut gone) = (0, 0);
        for _ in 0..20 {
            let (a, b, c, d) = tokio::join!(
                api.put(&path, &body),
                api.delete(&path),
                api.put(&path, &body),
                api.delete(&path)
            );
            made += [&a, &c].iter().filter(|answer| answer.status == 201).count();
            gone += [&b, &d].iter().filter(|answer| answer.status == 200).count();
        }
        let left = usize::from(api.get(&path).await.status == 200);
        assert_eq!(made - gone, left, "made {made}, gone {gone}");
    })
    .await;
}

#[actix_web::test]
async fn a_bind_concurrent_with_the_deprovisioning_leaves_no_orphan() {
    on_both(async |api| {
        for round in 0..10 {
            let (i, b) = (instance("i"), binding("i", &format!("b{round}")));
            api.put(&i, &provision()).await;
            let body = bind("app");
            let (bound, deleted) = tokio::join!(api.put(&b, &body), api.delete(&i));
            assert!([201, 404].contains(&bound.status), "{bound:?}");
            assert_eq!(deleted.status, 200);
            assert_eq!(api.get(&b).await.status, 404);
            assert!(api.broker.binding_table().binding_for("app").is_none());
        }
    })
    .await;
}
