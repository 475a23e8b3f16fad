//! A fake provisioner that tests can pause, and a broker that uses it.

use super::client::*;
use crate::stores::on_both_stores;
use futures_util::future::LocalBoxFuture;
use scrapebroker::{
    broker::Provisioning,
    domain::{
        InstanceId,
        prometheus::{ProvisionPolicy, Refusal, Replica, ReplicaState, Spec},
    },
    provisioner::{
        DesiredInstance, Failure, Lease, OwnAddress, Provisioner, Reconciler, ReconcilerSettings,
        RemoteWrites,
    },
    store::Store,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub(crate) const PROMETHEUS: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a02";
pub(crate) const SMALL: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a21";
pub(crate) const STANDARD: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a22";
pub(crate) const HA: &str = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a23";

/// Stores desired instances in memory. Tests can pause it and make it fail or refuse instances.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeProvisioner(pub(crate) Arc<Mutex<FakeState>>);

#[derive(Debug, Default)]
pub(crate) struct FakeState {
    pub(crate) instances: HashMap<InstanceId, Spec>,
    pub(crate) is_paused: bool,
    pub(crate) failure: Option<Failure>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) capacity: Option<u64>,
    pub(crate) applications: HashMap<InstanceId, u32>,
}

impl FakeProvisioner {
    pub(crate) fn set(&self, change: impl FnOnce(&mut FakeState)) {
        change(&mut self.0.lock().unwrap());
    }

    pub(crate) fn specs(&self) -> Vec<Spec> {
        self.0.lock().unwrap().instances.values().cloned().collect()
    }

    async fn wait(&self) {
        while self.0.lock().unwrap().is_paused {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn replicas(spec: &Spec) -> Vec<Replica> {
        let replica = |number| Replica {
            number,
            url: format!("http://127.0.0.1:{}", 19100 + u16::from(number)),
            state: ReplicaState::Ready,
            problem: String::new(),
        };
        (0..spec.replicas).map(replica).collect()
    }
}

impl Provisioner for FakeProvisioner {
    fn apply<'a>(
        &'a self,
        desired: &'a DesiredInstance,
    ) -> LocalBoxFuture<'a, Result<Vec<Replica>, Failure>> {
        Box::pin(async move {
            // The instance exists from the beginning of the operation.
            self.set(|it| {
                drop(it.instances.insert(desired.instance_id.clone(), desired.spec.clone()))
            });
            self.set(|it| *it.applications.entry(desired.instance_id.clone()).or_default() += 1);
            self.wait().await;
            match self.0.lock().unwrap().failure.clone() {
                Some(failure) => Err(failure),
                None => Ok(Self::replicas(&desired.spec)),
            }
        })
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> LocalBoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.wait().await;
            self.set(|it| drop(it.instances.remove(id)));
            Ok(())
        })
    }

    fn observe(&self) -> HashMap<InstanceId, Vec<Replica>> {
        HashMap::new()
    }

    fn stop(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

impl ProvisionPolicy for FakeProvisioner {
    fn validate<'a>(
        &'a self,
        _: &'a Spec,
        _: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async { self.0.lock().unwrap().refusal.clone().map_or(Ok(()), Err) })
    }

    fn capacity(&self) -> Option<u64> {
        self.0.lock().unwrap().capacity
    }
}

/// A broker with a fake provisioner.
pub(crate) struct Fixture {
    pub(crate) api: Api,
    pub(crate) fake_provisioner: FakeProvisioner,
    pub(crate) store: Store,
    pub(crate) operations_changed: Arc<Notify>,
    pub(crate) running: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Fixture {
    pub(crate) async fn open(store: &Store) -> Self {
        let api = Api::start(store).await;
        let mut fixture = Self::with(api, store, FakeProvisioner::default());
        fixture.start_reconciler();
        fixture
    }

    pub(crate) fn with(api: Api, store: &Store, fake_provisioner: FakeProvisioner) -> Self {
        let operations_changed = Arc::new(Notify::new());
        let provisioning = Provisioning {
            max_instances: 4,
            max_instances_per_space: 2,
            policy: Arc::new(fake_provisioner.clone()),
            operations_changed: Arc::clone(&operations_changed),
        };
        api.broker.enable_provisioning(provisioning, catalog());
        Self { api, fake_provisioner, store: store.clone(), operations_changed, running: None }
    }

    pub(crate) fn reconciler(&self) -> Reconciler {
        let own = OwnAddress {
            base_url: BASE_URL.parse().unwrap(),
            scrape_url: BASE_URL.parse().unwrap(),
        };
        let settings = ReconcilerSettings {
            remote_writes: RemoteWrites::new(),
            own,
            operation_timeout: Duration::from_secs(20),
        };
        let (keys, operations_changed) =
            (self.api.broker.keys(), Arc::clone(&self.operations_changed));
        let lease = Lease::new(self.store.clone(), "fake_provisioner");
        Reconciler::new(
            lease,
            keys,
            Rc::new(self.fake_provisioner.clone()),
            settings,
            operations_changed,
        )
    }

    pub(crate) fn start_reconciler(&mut self) {
        let shutdown = CancellationToken::new();
        let task = tokio::task::spawn_local(self.reconciler().run(shutdown.clone()));
        self.running = Some((shutdown, task));
    }

    pub(crate) async fn stop_reconciler(&mut self) {
        if let Some((shutdown, task)) = self.running.take() {
            shutdown.cancel();
            task.await.unwrap();
        }
    }

    pub(crate) async fn provision(
        &self,
        id: &str,
        plan: &str,
        parameters: Value,
    ) -> BrokerResponse {
        let body = json!({
            "service_id": PROMETHEUS, "plan_id": plan, "organization_guid": "o", "space_guid": "s",
            "parameters": parameters,
        });
        self.api.put(&accepting_incomplete(&instance(id)), &body).await
    }

    pub(crate) async fn update(
        &self,
        id: &str,
        plan: Option<&str>,
        parameters: Value,
    ) -> BrokerResponse {
        let mut body = json!({"service_id": PROMETHEUS, "parameters": parameters});
        if let Some(plan) = plan {
            body["plan_id"] = json!(plan);
        }
        self.api.patch(&accepting_incomplete(&instance(id)), &body).await
    }

    pub(crate) async fn delete(&self, id: &str, accepts_incomplete: bool) -> BrokerResponse {
        let path = format!(
            "{}?accepts_incomplete={accepts_incomplete}&plan_id={SMALL}&service_id={PROMETHEUS}",
            instance(id)
        );
        send_request(self.api.request("DELETE", &path), None).await
    }

    pub(crate) async fn bind(
        &self,
        id: &str,
        binding_id: &str,
        plan: &str,
        app: Option<&str>,
    ) -> BrokerResponse {
        let resource = app.map_or(json!({}), |app| json!({"app_guid": app}));
        let body = json!({"service_id": PROMETHEUS, "plan_id": plan, "bind_resource": resource});
        self.api.put(&binding(id, binding_id), &body).await
    }

    pub(crate) async fn last(&self, id: &str, operation: &str) -> BrokerResponse {
        self.api.get(&format!("{}/last_operation?operation={operation}", instance(id))).await
    }

    /// Waits for the end of the last operation. Returns its state, or "gone".
    pub(crate) async fn end_of(&self, id: &str) -> Value {
        for _ in 0..3000 {
            let last = self.last(id, "deprovision-x").await;
            if last.status == 410 || last.body["state"] != "in progress" {
                return match last.status {
                    410 => json!("gone"),
                    _ => last.body["state"].clone(),
                };
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the operation on {id} has not ended in time");
    }

    pub(crate) async fn provisioned(&self, id: &str, plan: &str) {
        assert_eq!(self.provision(id, plan, json!({})).await.status, 202);
        assert_eq!(self.end_of(id).await, "succeeded");
    }
}

pub(crate) fn accepting_incomplete(path: &str) -> String {
    format!("{path}?accepts_incomplete=true")
}

pub(crate) async fn on_both_fixtures(test: impl AsyncFn(Fixture)) {
    on_both_stores(async |store| test(Fixture::open(&store).await).await).await;
}
