//! Prometheus instances: responses while operations are in progress. The provisioner is a fake that
//! tests can pause. Other tests use the real provisioners.

use super::{client::*, fake_provisioner::*};
use crate::stores::on_both_stores;
use scrapebroker::{
    broker::Broker,
    domain::{BindingError, prometheus::Refusal},
    provisioner::{Failure, Reconciler},
    store::Store,
};
use secrecy::SecretString;
use serde_json::json;
use std::time::Duration;
use support::databases::Schema;
use tokio_util::sync::CancellationToken;

#[actix_web::test]
async fn an_instance_is_provisioned_used_and_deprovisioned() {
    on_both_fixtures(async |fixture| {
        fixture.fake_provisioner.set(|it| it.is_paused = true);
        let accepted = fixture.provision("i", STANDARD, json!({"scrape_interval": "5s"})).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        let operation = accepted.body["operation"].as_str().unwrap().to_owned();
        assert!(operation.starts_with("provision-"));
        assert_eq!(accepted.body["dashboard_url"], format!("{BASE_URL}/prometheus/i/"));
        let again = fixture.provision("i", STANDARD, json!({"scrape_interval": "5s"})).await;
        assert_eq!((again.status, &again.body["operation"]), (202, &json!(operation)));
        assert_eq!(fixture.provision("i", SMALL, json!({})).await.status, 409);
        let last = fixture.last("i", &operation).await;
        assert_eq!((last.status, &last.body["state"]), (200, &json!("in progress")));
        assert!(last.header("retry-after").is_some());
        assert_eq!(
            fixture.api.get(&instance("i")).await.status,
            404,
            "the instance does not exist yet"
        );
        let early = fixture.bind("i", "b", STANDARD, Some("app")).await;
        assert_eq!((early.status, &early.body["error"]), (422, &json!("ConcurrencyError")));
        let early = fixture.update("i", None, json!({"retention": "16d"})).await;
        assert_eq!((early.status, &early.body["error"]), (422, &json!("ConcurrencyError")));

        fixture.fake_provisioner.set(|it| it.is_paused = false);
        assert_eq!(fixture.end_of("i").await, "succeeded");
        let again = fixture.provision("i", STANDARD, json!({"scrape_interval": "5s"})).await;
        assert_eq!(again.status, 200);
        let fetched = fixture.api.get(&instance("i")).await;
        assert_eq!(
            (fetched.status, &fetched.body["dashboard_url"]),
            (200, &accepted.body["dashboard_url"])
        );

        let bound = fixture.bind("i", "b", STANDARD, Some("app")).await;
        assert_eq!(bound.status, 201);
        let credentials = &bound.body["credentials"];
        assert_eq!(credentials["url"], format!("{BASE_URL}/prometheus/i"));
        assert_eq!(credentials["username"], "scrapebroker");
        assert!(credentials["password"].as_str().unwrap().starts_with("sbt_"));
        let key = fixture.bind("i", "k", STANDARD, None).await;
        assert_eq!(key.body["credentials"]["url"], credentials["url"]);
        assert_ne!(key.body["credentials"]["password"], credentials["password"]);
        let known = fixture.api.broker.binding_table().prometheus("i").unwrap();
        assert_eq!(known.targets.apps().map(|app| app.as_str()).collect::<Vec<_>>(), ["app"]);
        assert_eq!(
            (known.replicas.len(), known.spec.scrape_interval.to_string()),
            (1, "5s".to_owned())
        );

        fixture.fake_provisioner.set(|it| it.is_paused = true);
        let accepted = fixture.delete("i", true).await;
        assert_eq!(accepted.status, 202);
        let repeated = fixture.delete("i", true).await;
        assert_eq!((repeated.status, &repeated.body), (202, &accepted.body));
        assert_eq!(
            fixture.provision("i", STANDARD, json!({})).await.body["error"],
            "ConcurrencyError"
        );
        let token = SecretString::from(credentials["password"].as_str().unwrap());
        assert!(
            scope_of(&fixture.api.broker, &token).is_none(),
            "credentials are revoked immediately"
        );
        fixture.fake_provisioner.set(|it| it.is_paused = false);
        assert_eq!(fixture.end_of("i").await, "gone");
        assert_eq!(fixture.last("i", "provision-x").await.status, 404);
        assert_eq!(fixture.delete("i", true).await.status, 410);
        assert!(fixture.fake_provisioner.specs().is_empty());
    })
    .await;
}

fn scope_of(broker: &Broker, token: &SecretString) -> Option<scrapebroker::broker::Scope> {
    use secrecy::ExposeSecret;
    broker.binding_table().scope_of_token(token.expose_secret())
}

#[actix_web::test]
async fn a_platform_without_asynchronous_operations_can_only_delete() {
    on_both_fixtures(async |fixture| {
        let body = json!({
            "service_id": PROMETHEUS, "plan_id": SMALL, "organization_guid": "o", "space_guid": "s",
        });
        let refused = fixture.api.put(&instance("i"), &body).await;
        assert_eq!((refused.status, &refused.body["error"]), (422, &json!("AsyncRequired")));
        fixture.provisioned("i", SMALL).await;
        let refused = fixture
            .api
            .patch(&instance("i"), &json!({"service_id": PROMETHEUS, "plan_id": STANDARD}))
            .await;
        assert_eq!((refused.status, &refused.body["error"]), (422, &json!("AsyncRequired")));
        // Cloud Controller's orphan mitigation does not send accepts_incomplete.
        assert_eq!(fixture.delete("i", false).await.status, 200);
        assert_eq!(fixture.delete("i", false).await.status, 410);
        assert!(fixture.fake_provisioner.specs().is_empty());
    })
    .await;
}

#[actix_web::test]
async fn a_delete_during_a_provision_cancels_it_and_removes_everything() {
    on_both_fixtures(async |fixture| {
        fixture.fake_provisioner.set(|it| it.is_paused = true);
        assert_eq!(fixture.provision("i", SMALL, json!({})).await.status, 202);
        while fixture.fake_provisioner.specs().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(fixture.delete("i", true).await.status, 202);
        fixture.fake_provisioner.set(|it| it.is_paused = false);
        assert_eq!(fixture.end_of("i").await, "gone");
        assert!(fixture.fake_provisioner.specs().is_empty());
        fixture.provisioned("i", SMALL).await;
    })
    .await;
}

#[actix_web::test]
async fn a_failed_provision_removes_everything_and_reports_its_reason() {
    on_both_fixtures(async |fixture| {
        fixture
            .fake_provisioner
            .set(|it| it.failure = Some(Failure::permanent("the moon is in the way")));
        assert_eq!(fixture.provision("i", SMALL, json!({})).await.status, 202);
        assert_eq!(fixture.end_of("i").await, "failed");
        let last = fixture.last("i", "provision-x").await;
        assert_eq!(last.body["description"], "the moon is in the way");
        assert!(
            fixture.fake_provisioner.specs().is_empty(),
            "the partially created instance is removed"
        );
        for (status, answer) in [
            (403, fixture.provision("i", SMALL, json!({})).await),
            (403, fixture.bind("i", "b", SMALL, Some("app")).await),
            (422, fixture.update("i", Some(STANDARD), json!({})).await),
        ] {
            assert_eq!(answer.status, status, "{answer:?}");
            assert!(answer.description().contains("the moon is in the way"), "{answer:?}");
        }
        assert_eq!(fixture.delete("i", false).await.status, 200);
        fixture.fake_provisioner.set(|it| it.failure = None);
        fixture.provisioned("i", SMALL).await;
    })
    .await;
}

#[actix_web::test]
async fn a_transient_failure_is_retried() {
    on_both_fixtures(async |fixture| {
        fixture.fake_provisioner.set(|it| it.failure = Some(Failure::transient("not now")));
        assert_eq!(fixture.provision("i", SMALL, json!({})).await.status, 202);
        while fixture.last("i", "").await.body["description"] != "trying again: not now" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fixture.fake_provisioner.set(|it| it.failure = None);
        assert_eq!(fixture.end_of("i").await, "succeeded");
    })
    .await;
}

#[actix_web::test]
async fn an_update_succeeds_or_restores_the_previous_state() {
    on_both_fixtures(async |fixture| {
        fixture.provisioned("i", STANDARD).await;
        let accepted = fixture.update("i", Some(HA), json!({"scrape_interval": "1s"})).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        assert!(accepted.body["operation"].as_str().unwrap().starts_with("update-"));
        assert_eq!(fixture.end_of("i").await, "succeeded");
        let spec = fixture.fake_provisioner.specs().remove(0);
        assert_eq!((spec.replicas, spec.scrape_interval.to_string()), (2, "1s".to_owned()));
        assert_eq!(fixture.update("i", Some(HA), json!({})).await.status, 200, "nothing changes");

        fixture.fake_provisioner.set(|it| it.failure = Some(Failure::permanent("no")));
        assert_eq!(fixture.update("i", None, json!({"scrape_interval": "2s"})).await.status, 202);
        assert_eq!(fixture.end_of("i").await, "failed");
        let last = fixture.last("i", "update-x").await;
        assert_eq!(last.body["description"], "no; the instance stays as it was");
        assert_eq!(last.body["instance_usable"], true);
        fixture.fake_provisioner.set(|it| it.failure = None);
        let fetched = fixture.api.get(&instance("i")).await;
        assert_eq!(fetched.body["parameters"], json!({"scrape_interval": "1s"}));
        for _ in 0..500 {
            if fixture.fake_provisioner.specs()[0].scrape_interval.to_string() == "1s" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(
            fixture.fake_provisioner.specs()[0].scrape_interval.to_string(),
            "1s",
            "the previous state is restored"
        );
        assert_eq!(fixture.bind("i", "b", HA, Some("app")).await.status, 201);
    })
    .await;
}

#[actix_web::test]
async fn a_change_that_loses_samples_is_refused_with_the_reason() {
    on_both_fixtures(async |fixture| {
        fixture.provisioned("i", HA).await;
        for (plan, parameters, words) in [
            (SMALL, json!({}), "keeps samples in memory"),
            (STANDARD, json!({}), "1 replicas instead of 2"),
        ] {
            let refused = fixture.update("i", Some(plan), parameters).await;
            assert_eq!(refused.status, 422, "{refused:?}");
            assert_eq!(refused.body["update_repeatable"], false);
            assert!(refused.description().contains(words), "{refused:?}");
        }
        let fetched = fixture.api.get(&instance("i")).await;
        assert_eq!(fetched.body["plan_id"], HA);
        assert_eq!(fixture.update("i", None, json!({"retention": "1d"})).await.status, 202);
    })
    .await;
}

#[actix_web::test]
async fn refused_requests_store_nothing() {
    on_both_fixtures(async |fixture| {
        for (parameters, words) in [
            (json!({"scrape_interval": "500ms"}), "must be from 1s to 5m"),
            (json!({"retention": "1y"}), "must be from 10m to 6h"),
            (json!({"rules": 5}), "rules"),
            (json!({"alertmanager_url": "x"}), "alertmanager_url"),
            (json!({"scrape_intervall": "1s"}), "scrape_intervall"),
        ] {
            let refused = fixture.provision("i", SMALL, parameters).await;
            assert_eq!(refused.status, 400, "{refused:?}");
            assert!(refused.description().contains(words), "{refused:?}");
        }
        let wrong = BindingError { field: "rules".to_owned(), problem: "do not parse".to_owned() };
        fixture.fake_provisioner.set(|it| it.refusal = Some(Refusal::Parameter(wrong)));
        assert_eq!(fixture.provision("i", SMALL, json!({"rules": "x"})).await.status, 400);
        fixture
            .fake_provisioner
            .set(|it| it.refusal = Some(Refusal::Capacity("the disk is full".to_owned())));
        let refused = fixture.provision("i", SMALL, json!({})).await;
        assert_eq!((refused.status, refused.description()), (403, "the disk is full"));
        fixture.fake_provisioner.set(|it| (it.refusal, it.capacity) = (None, Some(1)));
        let refused = fixture.provision("i", HA, json!({})).await;
        assert_eq!(refused.status, 403);
        assert!(refused.description().contains("no port is free"), "{refused:?}");
        fixture.fake_provisioner.set(|it| it.capacity = None);
        fixture.provisioned("i", SMALL).await;
        fixture.provisioned("j", SMALL).await;
        let refused = fixture.provision("k", SMALL, json!({})).await;
        assert_eq!(refused.status, 403);
        assert!(refused.description().contains("may have 2"), "{refused:?}");
        assert_eq!(fixture.delete("k", true).await.status, 410, "no instance was stored");
        assert_eq!(fixture.delete("i", false).await.status, 200);
        fixture.provisioned("k", SMALL).await;
    })
    .await;
}

#[actix_web::test]
async fn two_concurrent_provisions_create_one_instance_and_one_operation() {
    on_both_fixtures(async |fixture| {
        fixture.fake_provisioner.set(|it| it.is_paused = true);
        let requests = (0..20).map(|_| fixture.provision("i", SMALL, json!({})));
        let answers = futures_util::future::join_all(requests).await;
        let operation = answers[0].body["operation"].clone();
        for answer in answers {
            assert_eq!((answer.status, &answer.body["operation"]), (202, &operation));
        }
        fixture.fake_provisioner.set(|it| it.is_paused = false);
        assert_eq!(fixture.end_of("i").await, "succeeded");
        let applications =
            fixture.fake_provisioner.0.lock().unwrap().applications.values().copied().max();
        assert_eq!(applications, Some(1), "the instance was applied once");
    })
    .await;
}

/// Polls the reconciler and drops it after this number of polls.
async fn run_until(reconciler: Reconciler, polls: usize) {
    let mut running = Box::pin(reconciler.run(CancellationToken::new()));
    let mut polled = 0;
    std::future::poll_fn(|context| {
        polled += 1;
        match running.as_mut().poll(context).is_ready() || polled > polls {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

#[actix_web::test]
async fn operations_complete_after_a_kill_of_the_reconciler_at_any_step() {
    on_both_stores(async |store| {
        let api = Api::start(&store).await;
        let mut fixture = Fixture::with(api, &store, FakeProvisioner::default());
        // On PostgreSQL the lease of the killed reconciler has to expire each time.
        let kills = if store.file().is_some() { 0..14 } else { 7..8 };
        for polls in kills {
            let id = format!("i{polls}");
            assert_eq!(fixture.provision(&id, STANDARD, json!({})).await.status, 202);
            run_until(fixture.reconciler(), polls).await;
            fixture.start_reconciler();
            assert_eq!(fixture.end_of(&id).await, "succeeded", "{polls}");
            fixture.stop_reconciler().await;

            assert_eq!(
                fixture.update(&id, None, json!({"scrape_interval": "2s"})).await.status,
                202
            );
            run_until(fixture.reconciler(), polls).await;
            fixture.start_reconciler();
            assert_eq!(fixture.end_of(&id).await, "succeeded", "{polls}");
            assert_eq!(fixture.fake_provisioner.specs()[0].scrape_interval.to_string(), "2s");
            fixture.stop_reconciler().await;

            assert_eq!(fixture.delete(&id, true).await.status, 202);
            run_until(fixture.reconciler(), polls).await;
            fixture.start_reconciler();
            assert_eq!(fixture.end_of(&id).await, "gone", "{polls}");
            assert!(fixture.fake_provisioner.specs().is_empty(), "{polls}");
            fixture.stop_reconciler().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn one_replica_is_the_leader_and_another_takes_over() {
    let schema = Schema::create().await;
    let store = Store::open(&schema.url(None).parse().unwrap(), 4).await.unwrap();
    let mut first = Fixture::open(&store).await;
    first.provisioned("i", SMALL).await;
    let second = FakeProvisioner::default();
    let other = Fixture::with(Api::start(&store).await, &store, second.clone());
    let shutdown = CancellationToken::new();
    let waiting = tokio::task::spawn_local(other.reconciler().run(shutdown.clone()));
    first.provisioned("j", SMALL).await;
    assert!(second.specs().is_empty(), "the second reconciler waits");
    first.stop_reconciler().await;
    while second.specs().len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shutdown.cancel();
    waiting.await.unwrap();
    store.close().await;
    schema.drop().await;
}

#[actix_web::test]
async fn without_a_provisioner_the_service_is_not_offered() {
    on_sqlite(async |api| {
        let services = api.get("/v2/catalog").await.body;
        let names: Vec<_> = services["services"]
            .as_array()
            .unwrap()
            .iter()
            .map(|service| service["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["metrics", "events"]);
        let body = json!({
            "service_id": PROMETHEUS, "plan_id": SMALL, "organization_guid": "o", "space_guid": "s",
        });
        assert_eq!(api.put(&accepting_incomplete(&instance("i")), &body).await.status, 400);
    })
    .await;
}
