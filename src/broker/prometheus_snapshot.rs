//! Every Prometheus, as those see it who ask it or whom it asks.

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

/// A service instance that is a Prometheus.
#[derive(Clone, Debug)]
pub struct PrometheusSnapshot {
    /// Its id.
    pub instance_id: InstanceId,
    /// Its service.
    pub service_id: ServiceId,
    /// Its plan.
    pub plan_id: PlanId,
    /// The organization it belongs to.
    pub organization_guid: OrganizationGuid,
    /// The space it belongs to.
    pub space_guid: SpaceGuid,
    /// What people call it.
    pub names: Names,
    /// What it should be like.
    pub spec: Spec,
    /// What was last done about it.
    pub operation: Option<LastOperation>,
    /// What there is.
    pub replicas: Vec<Replica>,
    /// The apps that are bound to it.
    pub targets: Targets,
    /// With this we, and nobody else, ask it.
    pub web_password: SecretString,
    /// Hash of the token with which it asks us.
    pub(super) scraper_token_hash: String,
}

/// The apps that are bound to a Prometheus, and how it scrapes each; clones
/// share them.
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
    /// How an app is scraped, if it is bound.
    pub fn binding_for(&self, app: &str) -> Option<&Arc<ActiveBinding>> {
        self.0.get(app)
    }

    /// The bound apps, in no order.
    pub fn apps(&self) -> impl Iterator<Item = &AppGuid> {
        self.0.keys()
    }

    /// How many apps are bound.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no app is bound.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The bindings of each Prometheus, the newest first.
#[derive(Default)]
pub(super) struct Bindings(HashMap<InstanceId, HashMap<AppGuid, Arc<ActiveBinding>>>);

impl Bindings {
    /// Notes a binding, unless a newer one of the same app was noted.
    pub(super) fn note(
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

/// Reads them all. One that cannot be read does not hide the others.
pub(super) async fn read(
    tx: &mut Tx,
    keys: &Keys,
    mut bindings: Bindings,
) -> Result<HashMap<InstanceId, Arc<PrometheusSnapshot>>, StoreError> {
    let wanted = readable(prometheus::all(tx).await?);
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let mut specs = HashMap::new();
    for row in wanted {
        match spec_of(keys, &row) {
            Ok(spec) => drop(specs.insert(row.instance_id, (spec, row.secret_salt))),
            Err(error) => tracing::error!(%error, "a Prometheus is not in force"),
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
    let mut there: HashMap<InstanceId, Vec<Replica>> = HashMap::new();
    for (id, replica) in replicas::all(tx).await? {
        there.entry(id).or_default().push(replica);
    }
    let mut all = HashMap::new();
    for instance in readable(instances::of_prometheus(tx).await?) {
        let id = instance.instance_id;
        let Some((spec, salt)) = specs.remove(&id) else { continue };
        let one = PrometheusSnapshot {
            service_id: instance.service_id,
            plan_id: instance.plan_id,
            organization_guid: instance.organization_guid,
            space_guid: instance.space_guid,
            names: instance.names,
            spec,
            operation: last.remove(&id),
            replicas: there.remove(&id).unwrap_or_default(),
            targets: Targets(Arc::new(bindings.0.remove(&id).unwrap_or_default())),
            web_password: keys.web_password(&id, &salt),
            scraper_token_hash: token_hash(keys.scraper_token(&id, &salt).expose_secret()),
            instance_id: id.clone(),
        };
        all.insert(id, Arc::new(one));
    }
    Ok(all)
}

fn readable<T>(rows: Vec<Result<T, StoreError>>) -> Vec<T> {
    let readable = |row: Result<T, StoreError>| {
        row.inspect_err(|error| tracing::error!(%error, "a Prometheus is not in force")).ok()
    };
    rows.into_iter().filter_map(readable).collect()
}
