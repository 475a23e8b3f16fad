//! Prometheus instances, whose operations take longer than a request. The tests write the database
//! rows that the reconciler would write.

use super::client::*;
use crate::stores::on_both_stores;
use futures_util::future::LocalBoxFuture;
use scrapebroker::{
    broker::{Provisioning, Scope},
    domain::{
        Catalog, InstanceId, OperationState,
        prometheus::{ProvisionPolicy, Refusal, Replica, ReplicaState, Spec},
    },
    store::{Store, instances, operations, replicas},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const RESOURCES: &str = "/prometheus/resources";
const P: &str = "/prometheus/resources/p";

/// Accepts every instance except one with the rules "broken".
#[derive(Debug)]
struct AcceptingPolicy;

impl ProvisionPolicy for AcceptingPolicy {
    fn validate<'a>(
        &'a self,
        spec: &'a Spec,
        _before: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>> {
        let broken = spec.rules.as_deref() == Some("broken");
        let refusal = Refusal::Capacity("the rules are broken".to_owned());
        Box::pin(async move { if broken { Err(refusal) } else { Ok(()) } })
    }

    fn capacity(&self) -> Option<u64> {
        None
    }
}

fn prometheus_catalog() -> Catalog {
    let mut document = catalog().document().clone();
    let schema = json!({
        "$schema": "http://json-schema.org/draft-04/schema#", "type": "object",
        "properties": {"retention": {"type": "string"}, "rules": {"type": "string"}},
    });
    let plan = |name: &str, retention: &str| {
        json!({
            "id": format!("prometheus-{name}"), "name": name, "description": name,
            "plan_updateable": true,
            "metadata": {"prometheus": {
                "retention": {"min": "1h", "default": retention, "max": "30d"},
                "scrape_interval": {"min": "1s", "default": "15s", "max": "5m"},
                "storage": "disk", "memory_limit": "256MiB",
            }},
            "schemas": {"service_instance": {
                "create": {"parameters": schema}, "update": {"parameters": schema},
            }},
        })
    };
    let service = json!({
        "id": "prometheus", "name": "prometheus", "description": "a Prometheus", "bindable": true,
        "plans": [plan("small", "6h"), plan("standard", "15d")],
    });
    document["services"].as_array_mut().unwrap().push(service);
    Catalog::parse(&document, BASE_URL).unwrap()
}

/// The API, and direct access to its database.
struct Fixture {
    api: Api,
    store: Store,
    id: InstanceId,
}

impl Fixture {
    /// Records the outcome of the last operation like the reconciler.
    async fn record_outcome(&self, state: OperationState, description: &str, replicas: &[Replica]) {
        let mut tx = self.store.begin_write().await.unwrap();
        let operation = operations::find(&mut tx, &self.id).await.unwrap().unwrap();
        let noted =
            operations::update_state(&mut tx, &operation.operation_id, state, description).await;
        assert!(noted.unwrap(), "the operation was in progress");
        replicas::replace(&mut tx, &self.id, replicas).await.unwrap();
        tx.commit().await.unwrap();
        let known = || self.api.broker.binding_table().prometheus("tsuru:prometheus:p");
        while known().is_none_or(|known| known.replicas != replicas) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn status(&self) -> (u16, String) {
        let status = self.api.get(&format!("{P}/status")).await;
        (status.status, status.text)
    }

    async fn info(&self, label: &str) -> String {
        let info = self.api.get(P).await.json();
        let lines = info.as_array().unwrap();
        assert!(lines.iter().all(|line| line["label"].is_string() && line["value"].is_string()));
        let line = lines.iter().find(|line| line["label"] == label);
        line.map(|line| line["value"].as_str().unwrap().to_owned()).unwrap_or_default()
    }
}

fn replica(state: ReplicaState, problem: &str) -> Replica {
    Replica { number: 0, url: "http://127.0.0.1:1".to_owned(), state, problem: problem.to_owned() }
}

async fn on_both_fixtures(test: impl AsyncFn(Fixture)) {
    on_both_stores(async |store| {
        let api = Api::start(&store).await;
        let provisioning = Provisioning {
            max_instances: 9,
            max_instances_per_space: 2,
            policy: Arc::new(AcceptingPolicy),
            operations_changed: Arc::default(),
        };
        api.broker.enable_provisioning(provisioning, prometheus_catalog());
        let stop = CancellationToken::new();
        let keeping = api.broker.clone().keep_current(Duration::from_millis(20), stop.clone());
        let keeping = actix_web::rt::spawn(keeping);
        test(Fixture { api, store, id: "tsuru:prometheus:p".parse().unwrap() }).await;
        stop.cancel();
        keeping.await.unwrap();
    })
    .await;
}

#[actix_web::test]
async fn an_instance_is_pending_until_it_is_ready_and_can_then_be_bound() {
    on_both_fixtures(async |fixture| {
        let api = &fixture.api;
        let form = "name=p&team=checkout&parameters.retention=12h";
        assert_eq!(api.post(RESOURCES, form).await.status, 202);
        assert_eq!(
            api.post(RESOURCES, form).await.status,
            202,
            "a repeated create is still pending"
        );
        let other = api.post(RESOURCES, "name=p&team=checkout").await;
        assert_eq!(other.status, 409, "{}", other.text);
        assert_eq!(fixture.status().await, (202, "being created".to_owned()));
        assert_eq!(fixture.info("State").await, "being created");
        for (method, path) in [("POST", "bind-app"), ("POST", "bind"), ("PUT", "binds/jobs/j")] {
            let early = api.form(method, &format!("{P}/{path}"), "app-name=shop").await;
            assert_eq!(
                (early.status, &*early.text),
                (412, "the service instance is not ready yet")
            );
        }
        fixture
            .record_outcome(OperationState::Succeeded, "", &[replica(ReplicaState::Ready, "")])
            .await;
        assert_eq!(fixture.status().await, (204, String::new()));
        assert_eq!(
            api.post(RESOURCES, form).await.status,
            200,
            "a repeated create of a ready instance succeeds"
        );
        for (label, value) in [
            ("URL", "https://metrics.example.com/prometheus/tsuru%3Aprometheus%3Ap"),
            ("Plan", ""),
            ("State", "ready"),
            ("Retention", "12h"),
            ("Targets up / all", "0 / 0"),
            ("Last error", "none"),
        ] {
            assert_eq!(fixture.info(label).await, value, "{label}");
        }
        let bound = api.post(&format!("{P}/bind-app"), "app-name=shop&app-hosts=h").await;
        assert_eq!(bound.status, 201, "{}", bound.text);
        assert_eq!(
            bound.variable("PROMETHEUS_URL"),
            "https://metrics.example.com/prometheus/tsuru%3Aprometheus%3Ap"
        );
        assert!(!bound.variable("PROMETHEUS_USERNAME").is_empty());
        let scope =
            api.broker.binding_table().scope_of_token(&bound.variable("PROMETHEUS_PASSWORD"));
        assert_eq!(scope, Some(Scope::Query(fixture.id.clone())));
        assert_eq!(
            bound.variable("METRICS_URL"),
            "https://metrics.example.com/v1/apps/tsuru:shop/metrics"
        );
        let prometheus = api.broker.binding_table().prometheus("tsuru:prometheus:p").unwrap();
        assert!(prometheus.targets.binding_for("tsuru:shop").is_some());
        assert_eq!(api.hosts("shop").unwrap(), ["h"]);
        let job = api.put(&format!("{P}/binds/jobs/nightly"), "").await;
        assert_eq!(job.status, 201);
        let names: Vec<_> = job.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["PROMETHEUS_PASSWORD", "PROMETHEUS_URL", "PROMETHEUS_USERNAME"]);
    })
    .await;
}

#[actix_web::test]
async fn a_failed_instance_is_down_with_a_reason() {
    on_both_fixtures(async |fixture| {
        let api = &fixture.api;
        assert_eq!(api.post(RESOURCES, "name=p&team=checkout").await.status, 202);
        fixture.record_outcome(OperationState::Failed, "no binary", &[]).await;
        assert_eq!(fixture.status().await, (500, "could not be created: no binary".to_owned()));
        assert_eq!(fixture.info("Last error").await, "no binary");
        let again = api.post(RESOURCES, "name=p&team=checkout").await;
        assert_eq!(again.status, 422);
        assert!(again.text.contains("no binary"), "{}", again.text);
        let bind = api.post(&format!("{P}/bind-app"), "app-name=shop").await;
        assert_eq!(bind.status, 422);
        assert!(bind.text.contains("can only be deleted: no binary"), "{}", bind.text);
    })
    .await;
}

#[actix_web::test]
async fn an_instance_without_ready_replicas_is_down_after_a_failure() {
    on_both_fixtures(async |fixture| {
        let failed = || replica(ReplicaState::Failed, "it took too much memory");
        fixture.api.post(RESOURCES, "name=p&team=checkout").await;
        fixture.record_outcome(OperationState::Succeeded, "", &[failed()]).await;
        assert_eq!(fixture.status().await, (500, "failed: it took too much memory".to_owned()));
        assert_eq!(fixture.info("Last error").await, "it took too much memory");
    })
    .await;
}

#[actix_web::test]
async fn an_instance_is_pending_during_an_update_and_a_delete_waits_for_its_end() {
    on_both_fixtures(async |fixture| {
        let api = &fixture.api;
        api.post(RESOURCES, "name=p&team=checkout").await;
        let early = api.put(P, "plan=standard").await;
        assert_eq!(early.status, 422, "{}", early.text);
        fixture
            .record_outcome(OperationState::Succeeded, "", &[replica(ReplicaState::Ready, "")])
            .await;
        assert_eq!(
            api.put(P, "plan=small&team=checkout").await.status,
            200,
            "an update without changes succeeds"
        );
        let update = api.put(P, "plan=standard&team=checkout").await;
        assert_eq!(update.status, 202, "{}", update.text);
        assert_eq!(fixture.status().await, (202, "being changed".to_owned()));
        fixture
            .record_outcome(OperationState::Succeeded, "", &[replica(ReplicaState::Ready, "")])
            .await;
        assert_eq!(fixture.info("Retention").await, "15d");
        let shorter = api.put(P, "plan=small&team=checkout").await;
        assert_eq!(shorter.status, 422);
        assert!(shorter.text.contains("would be lost"), "{}", shorter.text);

        let removed = async {
            while fixture.status().await.1 != "being removed" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let bind = api.post(&format!("{P}/bind-app"), "app-name=shop").await;
            assert_eq!(bind.status, 422, "{}", bind.text);
            let mut tx = fixture.store.begin_write().await.unwrap();
            instances::delete(&mut tx, &fixture.id).await.unwrap();
            tx.commit().await.unwrap();
        };
        let (deleted, again, ()) = tokio::join!(api.delete(P, ""), api.delete(P, ""), removed);
        assert_eq!((deleted.status, again.status), (200, 200));
        assert_eq!(api.delete(P, "").await.status, 200);
        assert_eq!(api.get(P).await.status, 404);
    })
    .await;
}

#[actix_web::test]
async fn a_failed_removal_keeps_the_instance_in_tsuru() {
    on_both_fixtures(async |fixture| {
        let api = &fixture.api;
        api.post(RESOURCES, "name=p&team=checkout").await;
        fixture
            .record_outcome(OperationState::Succeeded, "", &[replica(ReplicaState::Ready, "")])
            .await;
        let failing = async {
            while fixture.status().await.1 != "being removed" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            fixture.record_outcome(OperationState::Failed, "the disk is gone", &[]).await;
        };
        let (deleted, ()) = tokio::join!(api.delete(P, ""), failing);
        assert!(deleted.status >= 400 && deleted.status != 404, "{}", deleted.status);
        assert!(deleted.text.contains("the disk is gone"), "{}", deleted.text);
        assert_eq!(fixture.status().await.0, 500);
    })
    .await;
}

#[actix_web::test]
async fn an_impossible_instance_is_refused_before_it_is_created() {
    on_both_fixtures(async |fixture| {
        let api = &fixture.api;
        for (form, words) in [
            ("name=p&team=t&parameters.retention=90d", "from 1h to 30d"),
            ("name=p&team=t&parameters.rules=broken", "the rules are broken"),
            ("name=p&team=t&parameters.metrics_path=/x", "metrics_path is unknown"),
        ] {
            let answer = api.post(RESOURCES, form).await;
            assert!([400, 422].contains(&answer.status), "{form} {}", answer.status);
            assert!(answer.text.contains(words), "{form} {}", answer.text);
        }
        assert_eq!(api.get(P).await.status, 404);
        for name in ["a1", "a2"] {
            let form = format!("name={name}&team=t");
            assert_eq!(api.post(RESOURCES, &form).await.status, 202);
        }
        let third = api.post(RESOURCES, "name=a3&team=t").await;
        assert_eq!(third.status, 422);
        assert!(third.text.contains("may have 2"), "{}", third.text);
        assert_eq!(api.post(RESOURCES, "name=b1&team=other").await.status, 202);
        let plans = api.get(&format!("{RESOURCES}/plans")).await.json();
        let names: Vec<_> =
            plans.as_array().unwrap().iter().map(|plan| plan["name"].clone()).collect();
        assert_eq!(Value::from(names), json!(["small", "standard"]));
    })
    .await;
}

#[actix_web::test]
async fn a_removed_parameter_is_reset_and_a_refused_one_does_not_block_the_others() {
    on_both_fixtures(async |fixture| {
        let api = &fixture.api;
        let spec =
            || api.broker.binding_table().prometheus("tsuru:prometheus:p").unwrap().spec.clone();
        let ready = async || {
            let replicas = [replica(ReplicaState::Ready, "")];
            fixture.record_outcome(OperationState::Succeeded, "", &replicas).await;
        };
        let made =
            "name=p&team=checkout&parameters.retention=12h&parameters.rules=groups%3A%20%5B%5D";
        assert_eq!(api.post(RESOURCES, made).await.status, 202);
        // A new description during the provision changes nothing.
        let same = "plan=small&team=checkout&description=d&parameters.retention=12h\
                    &parameters.rules=groups%3A%20%5B%5D";
        assert_eq!(api.put(P, same).await.status, 200);
        ready().await;
        assert_eq!(api.put(P, same).await.status, 200);
        assert_eq!(spec().rules.as_deref(), Some("groups: []"));

        // This is the request of `tsuru service-instance-update --remove-param rules`.
        let without = "plan=small&team=checkout&parameters.retention=12h";
        assert_eq!(api.put(P, without).await.status, 202);
        ready().await;
        assert_eq!((spec().rules.clone(), spec().retention.to_string()), (None, "12h".to_owned()));

        // The default retention is shorter. The user must set a shorter retention explicitly.
        let shorter = api.put(P, "plan=small&team=checkout&parameters.=").await;
        assert_eq!(shorter.status, 422);
        assert!(shorter.text.contains("would be lost"), "{}", shorter.text);
        assert_eq!(api.put(P, "plan=small&team=checkout&description=d").await.status, 200);
        assert_eq!(spec().retention.to_string(), "12h", "the retention is unchanged");

        let broken = "plan=small&team=checkout&parameters.retention=12h&parameters.rules=broken";
        let refused = api.put(P, broken).await;
        assert_eq!(refused.status, 422);
        assert!(
            refused.text.starts_with("the rules are broken; nothing of this"),
            "{}",
            refused.text
        );
        assert_eq!(fixture.info("Refused, not active").await, "parameter rules");
        let longer = broken.replace("12h", "20h");
        let update = api.put(P, &longer).await;
        assert_eq!(update.status, 202, "{}", update.text);
        ready().await;
        assert_eq!((spec().rules.clone(), spec().retention.to_string()), (None, "20h".to_owned()));

        // Now the instance counts towards the quota of the new team.
        assert_eq!(api.put(P, &longer.replace("checkout", "payments")).await.status, 200);
        let prometheus = api.broker.binding_table().prometheus("tsuru:prometheus:p").unwrap();
        assert_eq!(prometheus.space_guid.as_str(), "tsuru:payments/");
        for name in ["a1", "a2"] {
            let made = api.post(RESOURCES, &format!("name={name}&team=checkout")).await;
            assert_eq!(made.status, 202, "{}", made.text);
        }
        let failing = async {
            while fixture.status().await.1 != "being removed" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let mut tx = fixture.store.begin_write().await.unwrap();
            instances::delete(&mut tx, &fixture.id).await.unwrap();
            tx.commit().await.unwrap();
        };
        let (deleted, ()) = tokio::join!(api.delete(P, ""), failing);
        assert_eq!(deleted.status, 200, "refused parameters are removed with the instance");
    })
    .await;
}
