//! Concurrent requests: equal and different creates and binds, and concurrent deletes.

use super::client::*;
use futures_util::future::join_all;

const M: &str = "/metrics/resources/m";

fn count(answers: &[ServiceResponse], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[actix_web::test]
async fn concurrent_equal_requests_all_succeed_and_one_creates() {
    on_both(async |api| {
        let form = "name=m&team=checkout";
        let answers = join_all((0..20).map(|_| api.post("/metrics/resources", form))).await;
        assert_eq!((count(&answers, 201), count(&answers, 200)), (1, 19));

        let (bind, form) = (format!("{M}/bind-app"), "app-name=shop&app-hosts=h");
        let answers = join_all((0..20).map(|_| api.post(&bind, form))).await;
        assert_eq!((count(&answers, 201), count(&answers, 200)), (1, 19));
        assert!(answers.iter().all(|answer| answer.text == answers[0].text));

        let answers = join_all((0..20).map(|_| api.delete(&bind, form))).await;
        assert_eq!(count(&answers, 200), 20);
        let answers = join_all((0..20).map(|_| api.delete(M, ""))).await;
        assert_eq!(count(&answers, 200), 20);
    })
    .await;
}

#[actix_web::test]
async fn one_of_two_concurrent_different_creates_succeeds() {
    on_both(async |api| {
        for round in 0..5 {
            let forms: Vec<_> = (0..5).map(|n| format!("name=m{round}&team=t{n}")).collect();
            let answers =
                join_all(forms.iter().map(|form| api.post("/metrics/resources", form))).await;
            assert_eq!((count(&answers, 201), count(&answers, 409)), (1, 4));
            let winner = answers.iter().position(|answer| answer.status == 201).unwrap();
            assert_eq!(api.post("/metrics/resources", &forms[winner]).await.status, 200);
        }
    })
    .await;
}

#[actix_web::test]
async fn one_of_two_concurrent_different_binds_remains() {
    on_both(async |api| {
        api.created("m").await;
        for _ in 0..5 {
            let bind = |path: &'static str| {
                let form = format!("app-name=shop&app-hosts=h&parameters.endpoint={path}");
                let api = &api;
                async move { api.post(&format!("{M}/bind-app"), &form).await.status }
            };
            let (a, b) = tokio::join!(bind("/a"), bind("/b"));
            assert!(a < 300 && b < 300, "{a} {b}");
            let endpoint = api.endpoint("tsuru:shop").unwrap();
            assert!(["/a", "/b"].contains(&&*endpoint), "{endpoint}");
            assert_eq!(api.hosts("shop").unwrap(), ["h"]);
            assert_eq!(api.delete(&format!("{M}/bind-app"), "app-name=shop").await.status, 200);
            assert!(api.endpoint("tsuru:shop").is_none());
        }
    })
    .await;
}

#[actix_web::test]
async fn a_bind_concurrent_with_the_delete_of_its_instance_leaves_no_orphan() {
    on_both(async |api| {
        for _ in 0..10 {
            api.created("m").await;
            let bind = format!("{M}/bind-app");
            let (bound, deleted) =
                tokio::join!(api.post(&bind, "app-name=shop&app-hosts=h"), api.delete(M, ""));
            assert!([201, 404].contains(&bound.status), "{bound:?}");
            assert_eq!(deleted.status, 200);
            assert_eq!(api.hosts("shop"), None);
            assert!(api.broker.binding_table().binding_for("tsuru:shop").is_none());
        }
    })
    .await;
}
