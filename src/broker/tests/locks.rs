//! Transactions of two replicas never deadlock.

use super::*;
use crate::{
    domain::{
        DatabaseUrl, OperationState,
        prometheus::{ProvisionPolicy, Refusal, Spec},
    },
    store::{operations, promfetcher::AppEndpoint, replicas, testing::Schema},
};
use futures_util::future::LocalBoxFuture;
use std::rc::Rc;

const PROMETHEUS: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a02";
const SMALL: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a21";
const STANDARD: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a22";

#[derive(Debug)]
struct AcceptAll;

impl ProvisionPolicy for AcceptAll {
    fn validate<'a>(
        &'a self,
        _: &'a Spec,
        _: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async { Ok(()) })
    }

    fn capacity(&self) -> Option<u64> {
        None
    }
}

async fn replica(store: &Store) -> Broker {
    let broker = broker(store).await;
    let provisioning = Provisioning {
        max_instances: 100_000,
        max_instances_per_space: 100_000,
        policy: Arc::new(AcceptAll),
        operations_changed: Arc::default(),
    };
    broker.enable_provisioning(provisioning, catalog());
    broker
}

fn prometheus(id: &str) -> Provision {
    Provision {
        service_id: PROMETHEUS.parse().unwrap(),
        plan_id: SMALL.parse().unwrap(),
        accepts_incomplete: true,
        ..provision(id)
    }
}

fn changed(id: &str, plan: Option<&str>, parameters: Value) -> Update {
    Update {
        service_id: PROMETHEUS.parse().unwrap(),
        plan_id: plan.map(|plan| plan.parse().unwrap()),
        parameters: map(parameters),
        accepts_incomplete: true,
        ..update(id)
    }
}

/// Records an outcome like the reconciler.
async fn record_outcome(store: &Store, id: &str) -> Result<(), StoreError> {
    let id = instance(id);
    let mut tx = store.begin_write().await?;
    tx.lock(id.as_str()).await?;
    replicas::replace(&mut tx, &id, &[]).await?;
    if let Some(operation) = operations::find(&mut tx, &id).await? {
        operations::update_state(&mut tx, &operation.operation_id, OperationState::Succeeded, "")
            .await?;
    }
    tx.commit().await
}

/// Records the state of replicas like the reconciler.
async fn record_replicas(store: &Store, ids: [&str; 2]) -> Result<(), StoreError> {
    let mut tx = store.begin_write().await?;
    for id in ids {
        replicas::replace(&mut tx, &instance(id), &[]).await?;
    }
    tx.commit().await
}

/// One operation on an existing Prometheus instance, at one replica.
const OPERATIONS: [&str; 9] = [
    "provision",
    "update",
    "change plan",
    "deprovision",
    "bind",
    "unbind",
    "import",
    "record_outcome",
    "record_replicas",
];

/// The error, if it is a deadlock or timeout; other errors are expected.
async fn operate(operation: &str, broker: &Broker, id: &str) -> Option<String> {
    let store = &broker.0.store;
    let bind = Bind {
        service_id: PROMETHEUS.parse().unwrap(),
        plan_id: SMALL.parse().unwrap(),
        ..bind(id, &format!("{id}-new"), "app")
    };
    let error = match operation {
        "provision" => broker.provision(prometheus(&format!("{id}-new"))).await.err(),
        "update" => broker.update(changed(id, None, json!({"retention": "3h"}))).await.err(),
        "change plan" => broker.update(changed(id, Some(STANDARD), json!({}))).await.err(),
        "deprovision" => broker.deprovision(&instance(id)).await.err(),
        "bind" => broker.bind(bind).await.err(),
        "unbind" => broker.unbind(&instance(id), &binding(&format!("{id}-bound"))).await.err(),
        "import" => {
            let endpoint = AppEndpoint {
                guid: format!("{id}-imported"),
                app_guid: "app".to_owned(),
                endpoint: "/metrics".to_owned(),
            };
            broker.import(&[endpoint]).await.err()
        }
        "record_outcome" => record_outcome(store, id).await.err().map(BrokerError::from),
        _ => record_replicas(store, [id, "shared"]).await.err().map(BrokerError::from),
    };
    let error = error.map(|error| format!("{error:?}"))?;
    (error.contains("deadlock") || error.contains("timeout"))
        .then(|| format!("{operation}: {error}"))
}

/// A ready Prometheus instance with a binding.
async fn prepare(broker: &Broker, id: &str) {
    broker.provision(prometheus(id)).await.unwrap();
    record_outcome(&broker.0.store, id).await.unwrap();
    let bind = Bind {
        service_id: PROMETHEUS.parse().unwrap(),
        plan_id: SMALL.parse().unwrap(),
        ..bind(id, &format!("{id}-bound"), "app")
    };
    broker.bind(bind).await.unwrap();
}

/// A connection URL with a short deadlock timeout and an application name that identifies its
/// sessions.
fn url_with_short_deadlock_timeout(schema: &Schema, name: &str) -> DatabaseUrl {
    let url = schema.url();
    format!("{}&options[deadlock_timeout]=20ms&application_name={name}", url).parse().unwrap()
}

/// Waits until a session with this name waits for a lock.
async fn wait_for_waiting_session(store: &Store, name: &str) {
    for _ in 0..1000 {
        if crate::store::testing::waits_for_a_lock(store, name).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn each_operation_acquires_its_locks_in_the_order_of_the_store() {
    let schema = Schema::create().await;
    let name = format!("held-{}", uuid::Uuid::new_v4().simple());
    let store = Store::open(&schema.url().parse().unwrap(), 4).await.unwrap();
    let other = Store::open(&url_with_short_deadlock_timeout(&schema, &name), 4).await.unwrap();
    let broker = replica(&other).await;
    for (number, operation) in OPERATIONS.into_iter().enumerate() {
        let id = format!("i{number}");
        prepare(&broker, &id).await;
        let mut tx = store.begin_write().await.unwrap();
        tx.lock_quotas().await.unwrap();
        let holder = async {
            // The operation waits for the quotas, or needs none of the held locks and has ended.
            tokio::time::timeout(
                std::time::Duration::from_millis(500),
                wait_for_waiting_session(&store, &name),
            )
            .await
            .ok();
            state::bump(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
        };
        let (error, ()) = tokio::join!(operate(operation, &broker, &id), holder);
        assert_eq!(error, None);
    }
    other.close().await;
    store.close().await;
    schema.drop().await;
}

#[tokio::test]
async fn no_two_operations_at_two_replicas_deadlock() {
    let schema = Schema::create().await;
    let mut brokers = Vec::new();
    for _ in 0..2 {
        let store =
            Store::open(&url_with_short_deadlock_timeout(&schema, "pairs"), 4).await.unwrap();
        brokers.push(Rc::new(replica(&store).await));
    }
    prepare(&brokers[0], "shared").await;
    let mut number = 0;
    for (first, one) in OPERATIONS.into_iter().enumerate() {
        for two in OPERATIONS.into_iter().skip(first) {
            for is_same in [true, false] {
                number += 1;
                let ids = [format!("a{number}"), format!("b{number}")];
                prepare(&brokers[0], &ids[0]).await;
                let second = if is_same { &ids[0] } else { &ids[1] };
                if !is_same {
                    prepare(&brokers[1], second).await;
                }
                let errors = tokio::join!(
                    operate(one, &brokers[0], &ids[0]),
                    operate(two, &brokers[1], second)
                );
                assert_eq!(errors, (None, None), "{one} and {two}");
            }
        }
    }
    for broker in &brokers {
        broker.0.store.close().await;
    }
    schema.drop().await;
}
