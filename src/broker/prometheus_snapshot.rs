//! Snapshot of Prometheus instances for queries and scrapes.

use super::{ActiveBinding, LastOperation, prometheus::spec_of};
use crate::{
    domain::{
        AppGuid, InstanceId, OrganizationGuid, PlanId, ServiceId, SpaceGuid,
        prometheus::{Replica, Spec},
    },
    secrets::{Keys, token_hash},
    store::{Names, StoreError, Tx, instances, operations, prometheus, replicas},
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
    pub names: Names,
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

/// Reads all instances. An unreadable row does not hide the others.
pub(super) async fn read(
    tx: &mut Tx,
    keys: &Keys,
    mut bindings: PrometheusBindings,
) -> Result<HashMap<InstanceId, Arc<PrometheusSnapshot>>, StoreError> {
    let rows = readable(prometheus::all(tx).await?);
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let mut specs = HashMap::new();
    for row in rows {
        match spec_of(keys, &row) {
            Ok(spec) => drop(specs.insert(row.instance_id, (spec, row.secret_salt))),
            Err(error) => tracing::error!(%error, "prometheus instance not readable"),
        }
    }
    let mut last: HashMap<_, _> = readable(operations::all(tx).await?)
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
    for instance in readable(instances::of_prometheus(tx).await?) {
        let id = instance.instance_id;
        let Some((spec, salt)) = specs.remove(&id) else { continue };
        let snapshot = PrometheusSnapshot {
            service_id: instance.service_id,
            plan_id: instance.plan_id,
            organization_guid: instance.organization_guid,
            space_guid: instance.space_guid,
            names: instance.names,
            spec,
            operation: last.remove(&id),
            replicas: replicas_by_id.remove(&id).unwrap_or_default(),
            targets: Targets(Arc::new(bindings.0.remove(&id).unwrap_or_default())),
            web_password: keys.web_password(&id, &salt),
            scraper_token_hash: token_hash(keys.scraper_token(&id, &salt).expose_secret()),
            instance_id: id.clone(),
        };
        all.insert(id, Arc::new(snapshot));
    }
    Ok(all)
}

fn readable<T>(rows: Vec<Result<T, StoreError>>) -> Vec<T> {
    let readable = |row: Result<T, StoreError>| {
        row.inspect_err(|error| tracing::error!(%error, "prometheus instance not readable")).ok()
    };
    rows.into_iter().filter_map(readable).collect()
}
