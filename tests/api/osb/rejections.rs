//! Refusals in the form that Cloud Controller expects. It regards a 422 response to a PUT without a
//! standard error code as invalid. Then its orphan mitigation deletes the instance or binding.

use super::{client::*, fake_provisioner::*};
use crate::stores::on_sqlite_store;
use scrapebroker::{domain::prometheus::Refusal, provisioner::Failure};
use serde_json::json;

/// Asserts a refusal that does not trigger orphan mitigation of Cloud Controller.
fn assert_rejected(answer: &BrokerResponse, words: &str) {
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(answer.body.get("error"), None, "{answer:?}");
    assert!(answer.description().contains(words), "{answer:?}");
}

#[actix_web::test]
async fn a_refused_put_is_never_422_without_an_error_code() {
    on_both_fixtures(async |fixture| {
        fixture
            .fake_provisioner
            .set(|it| it.refusal = Some(Refusal::Capacity("the disk is full".to_owned())));
        let full = fixture.provision("i", SMALL, json!({})).await;
        assert_rejected(&full, "the disk is full");
        fixture.fake_provisioner.set(|it| (it.refusal, it.capacity) = (None, Some(1)));
        assert_rejected(&fixture.provision("i", HA, json!({})).await, "no port is free");
        fixture.fake_provisioner.set(|it| it.capacity = None);
        fixture.fake_provisioner.set(|it| it.failure = Some(Failure::permanent("no luck")));
        assert_eq!(fixture.provision("failed", SMALL, json!({})).await.status, 202);
        assert_eq!(fixture.end_of("failed").await, "failed");
        fixture.fake_provisioner.set(|it| it.failure = None);
        assert_rejected(&fixture.provision("failed", SMALL, json!({})).await, "no luck");
        assert_rejected(&fixture.bind("failed", "b", SMALL, Some("app")).await, "no luck");
        let update = fixture.update("failed", Some(STANDARD), json!({})).await;
        assert_eq!(update.status, 422, "a refused PATCH may be 422: {update:?}");
        fixture.provisioned("i", SMALL).await;
        assert_rejected(&fixture.provision("j", SMALL, json!({})).await, "may have 2");
        assert_eq!(fixture.delete("j", true).await.status, 410, "the instance was not stored");
    })
    .await;
}

#[actix_web::test]
async fn async_required_has_the_description_of_the_specification() {
    on_both_fixtures(async |fixture| {
        let body = json!({
            "service_id": PROMETHEUS, "plan_id": SMALL, "organization_guid": "o", "space_guid": "s",
        });
        let refused = fixture.api.put(&instance("i"), &body).await;
        fixture.provisioned("i", SMALL).await;
        let update = json!({"service_id": PROMETHEUS, "plan_id": STANDARD});
        for refused in [refused, fixture.api.patch(&instance("i"), &update).await] {
            let expected = json!({
                "error": "AsyncRequired",
                "description":
                    "This service plan requires client support for asynchronous service operations.",
            });
            assert_eq!((refused.status, &refused.body), (422, &expected));
        }
    })
    .await;
}

#[actix_web::test]
async fn a_bind_with_the_old_plan_is_refused_during_and_after_a_plan_change() {
    on_both_fixtures(async |fixture| {
        fixture.provisioned("i", STANDARD).await;
        let bound = fixture.bind("i", "before", STANDARD, Some("app")).await;
        fixture.fake_provisioner.set(|it| it.is_paused = true);
        assert_eq!(fixture.update("i", Some(HA), json!({})).await.status, 202);
        for app in [Some("app"), None] {
            let early = fixture.bind("i", "b", STANDARD, app).await;
            assert_eq!((early.status, &early.body["error"]), (422, &json!("ConcurrencyError")));
        }
        let again = fixture.bind("i", "before", STANDARD, Some("app")).await;
        assert_eq!((again.status, again.body), (200, bound.body));
        assert_eq!(
            fixture.bind("i", "b", SMALL, None).await.status,
            400,
            "the instance never had this plan"
        );
        fixture.fake_provisioner.set(|it| it.is_paused = false);
        assert_eq!(fixture.end_of("i").await, "succeeded");
        assert_eq!(fixture.bind("i", "b", STANDARD, Some("app")).await.status, 400);
        assert_eq!(fixture.bind("i", "b", HA, Some("app")).await.status, 201);
    })
    .await;
}

#[actix_web::test]
async fn an_unknown_instance_of_a_prometheus_plan_is_not_adopted() {
    on_both_fixtures(async |fixture| {
        fixture.api.broker.adopt_unknown_instances(true);
        let context = json!({"organization_guid": "o", "space_guid": "s"});
        let bind = json!({
            "service_id": PROMETHEUS, "plan_id": SMALL, "context": context,
            "bind_resource": {"app_guid": "app", "space_guid": "s"},
        });
        assert_eq!(fixture.api.put(&binding("i", "b"), &bind).await.status, 404);
        let before = json!({"plan_id": SMALL, "organization_id": "o", "space_id": "s"});
        for body in [
            json!({"service_id": PROMETHEUS, "plan_id": STANDARD, "previous_values": before}),
            json!({"service_id": PROMETHEUS, "plan_id": SMALL, "context": context}),
        ] {
            let answer = fixture.api.patch(&accepting_incomplete(&instance("i")), &body).await;
            assert_eq!(answer.status, 404, "{body} {answer:?}");
        }
        assert_eq!(fixture.api.get(&instance("i")).await.status, 404);
        fixture.provisioned("i", SMALL).await;
    })
    .await;
}

const EVENTS_PLAN: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a31";

#[actix_web::test]
async fn every_plan_in_the_catalog_has_all_flags() {
    on_sqlite_store(async |store| {
        let fixture = Fixture::open(&store).await;
        let catalog = fixture.api.get("/v2/catalog").await.body;
        let services = catalog["services"].as_array().unwrap();
        let plans = services.iter().flat_map(|service| service["plans"].as_array().unwrap());
        let mut count = 0;
        for plan in plans {
            for flag in ["free", "bindable", "plan_updateable"] {
                assert!(plan[flag].is_boolean(), "{flag} {plan}");
            }
            let is_fixed = [FIXED_PLAN, EVENTS_PLAN].contains(&plan["id"].as_str().unwrap());
            assert_eq!((&plan["bindable"], &plan["free"]), (&json!(true), &json!(true)), "{plan}");
            assert_eq!(plan["plan_updateable"], !is_fixed, "{plan}");
            count += 1;
        }
        assert_eq!(count, 7);
    })
    .await;
}
