//! Finds replicas among the Prometheus instances that the broker made.

use crate::{
    broker::{BindingTable, PrometheusSnapshot},
    domain::{
        InstanceId,
        prometheus::{Replica, ReplicaState, segment},
    },
    query::{Authorization, LocatedReplica, Locator, LocatorError, ProvisionedInstances},
};
use futures_util::future::{LocalBoxFuture, ready};
use std::sync::Arc;
use tokio::sync::watch;

/// Finds the replicas of provisioned instances, each with the credentials of its instance.
///
/// A replica that starts is found as well: it may be ready before the next call, and until then the
/// probes of the pool show that it is not. A replica without a URL does not run.
pub(super) struct ProvisionedLocator {
    table: BindingTable,
    changes: watch::Receiver<()>,
    instances: Instances,
}

enum Instances {
    Configured(ProvisionedInstances),
    /// The instance whose pool this is.
    One(InstanceId),
}

impl ProvisionedLocator {
    /// For a pool of the configuration. The name of a replica is `INSTANCE/NUMBER`.
    pub(super) fn new(table: BindingTable, instances: ProvisionedInstances) -> Self {
        Self { changes: table.changes(), table, instances: Instances::Configured(instances) }
    }

    /// For the pool of an instance. The name of a replica is its number.
    pub(super) fn of_instance(table: BindingTable, instance: InstanceId) -> Self {
        Self { changes: table.changes(), table, instances: Instances::One(instance) }
    }

    fn find(&self) -> Result<Vec<LocatedReplica>, LocatorError> {
        if self.table.age().is_none() {
            return Err(LocatorError("the database has not responded yet".to_owned()));
        }
        let all = self.table.all_prometheus();
        Ok(match &self.instances {
            Instances::One(instance) => {
                all.get(instance).into_iter().flat_map(|it| replicas(it, "")).collect()
            }
            Instances::Configured(instances) => {
                let found = all.values().filter(|it| includes(instances, &it.instance_id));
                found.flat_map(|it| replicas(it, &prefix(&it.instance_id))).collect()
            }
        })
    }
}

impl Locator for ProvisionedLocator {
    fn name(&self) -> String {
        match &self.instances {
            Instances::One(_) => "provisioned".to_owned(),
            Instances::Configured(ProvisionedInstances::All) => "provisioned all".to_owned(),
            Instances::Configured(ProvisionedInstances::Listed(ids)) => {
                let ids: Vec<_> = ids.iter().map(InstanceId::as_str).collect();
                format!("provisioned {}", ids.join(", "))
            }
        }
    }

    fn locate(&mut self) -> LocalBoxFuture<'_, Result<Vec<LocatedReplica>, LocatorError>> {
        Box::pin(ready(self.find()))
    }

    fn changed(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            // The sender lives as long as `table`.
            let _ = self.changes.changed().await;
        })
    }
}

fn includes(instances: &ProvisionedInstances, id: &InstanceId) -> bool {
    match instances {
        ProvisionedInstances::All => true,
        ProvisionedInstances::Listed(ids) => {
            let segment = segment(id);
            ids.iter().any(|listed| listed == id || listed.as_str() == segment)
        }
    }
}

fn prefix(id: &InstanceId) -> String {
    format!("{}/", segment(id))
}

fn replicas<'a>(
    instance: &'a PrometheusSnapshot,
    prefix: &str,
) -> impl Iterator<Item = LocatedReplica> + use<'a> {
    let authorization = Authorization::of_provisioned(&instance.web_password);
    let prefix = prefix.to_owned();
    let runs = instance.replicas.iter().filter(|it| it.state != ReplicaState::Failed);
    runs.filter_map(move |Replica { number, url, .. }| {
        let name = Some(Arc::from(format!("{prefix}{number}")));
        let authorization = authorization.clone();
        Some(LocatedReplica { url: url.parse().ok()?, name, authorization })
    })
}
