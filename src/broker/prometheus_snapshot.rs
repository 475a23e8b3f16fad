//! Snapshot of Prometheus instances for queries and scrapes.

use super::{ActiveBinding, LastOperation};
use crate::{
    domain::{
        AppGuid, InstanceId, InstanceNames, OrganizationGuid, PlanId, ServiceId, SpaceGuid,
        prometheus::{Replica, Spec},
    },
    secrets::{Keys, PrometheusInstance, token_hash},
    store::{StoreError, Tx, operations, prometheus, replicas},
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

/// A Prometheus instance.
#[derive(Clone, Debug)]
pub struct PrometheusSnapshot {
    pub instance_id: InstanceId,
    pub service_id: ServiceId,
    pub plan_id: PlanId,
    pub organization_guid: OrganizationGuid,
    pub space_guid: SpaceGuid,
    /// Names for display.
    pub names: InstanceNames,
    pub spec: Spec,
    /// The last operation.
    pub operation: Option<LastOperation>,
    /// State of the replicas.
    pub replicas: Vec<Replica>,
    /// The bound apps.
    pub targets: Targets,
    /// Basic auth password for requests of Scrapebroker.
    pub web_password: SecretString,
    /// Hash of the token that Prometheus sends to Scrapebroker.
    pub(super) scraper_token_hash: String,
}

/// The apps bound to a Prometheus, with their bindings. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<HashMap<AppGuid, Arc<ActiveBinding>>>);

impl PartialEq for Targets {
    /// Whether both are from the same snapshot.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Targets {}

impl Targets {
    /// The binding of an app.
    pub fn binding_for(&self, app: &str) -> Option<&Arc<ActiveBinding>> {
        self.0.get(app)
    }

    /// The bound apps, in no order.
    pub fn apps(&self) -> impl Iterator<Item = &AppGuid> {
        self.0.keys()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The bindings of each Prometheus.
#[derive(Default)]
pub(super) struct PrometheusBindings(HashMap<InstanceId, HashMap<AppGuid, Arc<ActiveBinding>>>);

impl PrometheusBindings {
    /// Adds a binding, unless a newer one of the same app was added.
    pub(super) fn add(
        &mut self,
        instance: &InstanceId,
        app: &AppGuid,
        options: &Arc<ActiveBinding>,
    ) {
        let apps = self.0.entry(instance.clone()).or_default();
        if let Entry::Vacant(free) = apps.entry(app.clone()) {
            free.insert(Arc::clone(options));
        }
    }
}

/// Reads all instances. Unreadable instances are skipped.
pub(super) async fn read(
    tx: &mut Tx,
    keys: &Keys,
    mut bindings: PrometheusBindings,
) -> Result<HashMap<InstanceId, Arc<PrometheusSnapshot>>, StoreError> {
    let stored = prometheus::all(tx).await?;
    if stored.is_empty() {
        return Ok(HashMap::new());
    }
    let mut last: HashMap<_, _> = operations::all(tx)
        .await?
        .into_iter()
        .map(|it| {
            let last =
                LastOperation { kind: Some(it.kind), state: it.state, description: it.description };
            (it.instance_id, last)
        })
        .collect();
    let mut replicas_by_id: HashMap<InstanceId, Vec<Replica>> = HashMap::new();
    for (id, replica) in replicas::all(tx).await? {
        replicas_by_id.entry(id).or_default().push(replica);
    }
    let mut all = HashMap::new();
    for (service_instance, stored) in stored {
        let id = stored.instance_id.clone();
        let instance = match keys.prometheus_instance(service_instance, &stored) {
            Ok(instance) => instance,
            Err(error) => {
                tracing::error!(instance.id = %id, %error, "prometheus instance not readable");
                continue;
            }
        };
        let PrometheusInstance { service_instance, spec, scraper_token, web_password } = instance;
        let snapshot = PrometheusSnapshot {
            instance_id: id.clone(),
            service_id: service_instance.service_id,
            plan_id: service_instance.plan_id,
            organization_guid: service_instance.organization_guid,
            space_guid: service_instance.space_guid,
            names: service_instance.names,
            spec,
            operation: last.remove(&id),
            replicas: replicas_by_id.remove(&id).unwrap_or_default(),
            targets: Targets(Arc::new(bindings.0.remove(&id).unwrap_or_default())),
            web_password,
            scraper_token_hash: token_hash(scraper_token.expose_secret()),
        };
        all.insert(id, Arc::new(snapshot));
    }
    Ok(all)
}
