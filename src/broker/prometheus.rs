//! Service instances that are a Prometheus: what is decided at once, and what
//! is ordered.
//!
//! A decision is a row in the store, made in the same transaction as the
//! service instance: what it should be like, and an operation that is in
//! progress. Carrying it out is somebody else's work, who finds that row,
//! whatever was killed in between.

use super::{Broker, BrokerError, error::unsealable};
use crate::{
    domain::{
        InstanceId, OperationKind, OperationState, SpaceGuid,
        prometheus::{Admission, LossOfData, PrometheusPlan, Refusal, Spec, Wishes},
    },
    secrets::{AssociatedData, salt},
    store::{Operation, PrometheusInstance, StoreError, Tx, clock, operations, prometheus},
};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::Notify;

/// Which quotas there are, and who is asked before a Prometheus is ordered.
#[derive(Clone, Debug)]
pub struct Provisioning {
    /// Most instances in all.
    pub max_instances: u64,
    /// Most instances of a space.
    pub max_instances_per_space: u64,
    /// Who says what can be made.
    pub admission: Arc<dyn Admission>,
    /// Tells who makes it that there is no need to wait for the next look.
    pub ordered: Arc<Notify>,
}

/// An order that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Tells it from others on the same instance; begins with the operation's kind.
    pub operation_id: String,
}

/// What a request about a Prometheus comes to.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) spec: Spec,
    pub(super) replicas: u8,
}

impl Broker {
    /// What an instance would be like with a plan and parameters.
    pub(super) fn wanted(
        &self,
        plan: &PrometheusPlan,
        parameters: &Map<String, Value>,
    ) -> Result<Wanted, BrokerError> {
        let spec = Wishes::from_parameters(parameters)?.with(plan)?;
        Ok(Wanted { replicas: spec.replicas, spec })
    }

    /// Asks who would have to make it. Takes longer than a transaction should.
    pub(super) async fn admit(
        &self,
        spec: &Spec,
        before: Option<&Spec>,
    ) -> Result<(), BrokerError> {
        let provisioning = self.0.provisioning.get().ok_or(BrokerError::NoProvisioner)?;
        provisioning.admission.admit(spec, before).await.map_err(BrokerError::Refused)
    }

    /// Orders a new Prometheus, within the quotas.
    pub(super) async fn order(
        &self,
        tx: &mut Tx,
        id: &InstanceId,
        space: &SpaceGuid,
        wanted: &Wanted,
    ) -> Result<Ordered, BrokerError> {
        self.check_room(tx, space, 1, wanted.replicas.into()).await?;
        let owner = AssociatedData::Spec(id.as_str());
        let row = PrometheusInstance {
            instance_id: id.clone(),
            space_guid: space.clone(),
            replicas: wanted.replicas,
            spec: self.seal_spec(owner, &wanted.spec)?,
            secret_salt: salt()?,
        };
        prometheus::put(tx, &row).await?;
        put_operation(tx, id, OperationKind::Provision, None).await
    }

    /// The transaction has locked the quotas, so no other operation changes them meanwhile.
    pub(super) async fn check_room(
        &self,
        tx: &mut Tx,
        space: &SpaceGuid,
        instances: u64,
        replicas: u64,
    ) -> Result<(), BrokerError> {
        let provisioning = self.0.provisioning.get().ok_or(BrokerError::NoProvisioner)?;
        let usage = prometheus::usage(tx, space).await?;
        let no_room = |problem: String| Err(BrokerError::Refused(Refusal::NoRoom(problem)));
        let Provisioning { max_instances, max_instances_per_space, admission, .. } = provisioning;
        if usage.of_space + instances > *max_instances_per_space {
            return no_room(format!(
                "this space has {} Prometheus instances, and may have {max_instances_per_space}; delete one, or ask the operator for more",
                usage.of_space
            ));
        }
        if usage.instances + instances > *max_instances {
            return no_room(format!(
                "there are {} Prometheus instances on this platform, and may be {max_instances}; ask the operator for more",
                usage.instances
            ));
        }
        match admission.capacity() {
            Some(capacity) if usage.replicas + replicas > capacity => no_room(format!(
                "no port is free for another Prometheus: all {capacity} are taken; ask the operator for more"
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn seal_spec(
        &self,
        owner: AssociatedData<'_>,
        spec: &Spec,
    ) -> Result<String, BrokerError> {
        let Ok(Value::Object(map)) = serde_json::to_value(spec) else {
            return Err(unsealable("prometheus_instances.spec").into());
        };
        Ok(self.0.keys.encrypt(owner, &map)?)
    }

    pub(super) fn unseal_spec(&self, row: &PrometheusInstance) -> Result<Spec, StoreError> {
        spec_of(&self.0.keys, row)
    }

    /// Tells who carries it out.
    pub(super) fn ordered(&self) {
        if let Some(provisioning) = self.0.provisioning.get() {
            provisioning.ordered.notify_one();
        }
    }
}

/// What a Prometheus should be like, by the row about it.
pub(super) fn spec_of(
    keys: &crate::secrets::Keys,
    row: &PrometheusInstance,
) -> Result<Spec, StoreError> {
    let map = keys
        .decrypt(AssociatedData::Spec(row.instance_id.as_str()), &row.spec)
        .ok_or_else(|| unsealable("prometheus_instances.spec"))?;
    serde_json::from_value(Value::Object(map)).map_err(|error| StoreError::Corrupt {
        column: "prometheus_instances.spec",
        problem: error.to_string(),
    })
}

/// Writes the order down.
pub(super) async fn put_operation(
    tx: &mut Tx,
    id: &InstanceId,
    kind: OperationKind,
    before: Option<crate::store::PreviousState>,
) -> Result<Ordered, BrokerError> {
    let operation_id = format!("{kind}-{}", uuid::Uuid::new_v4());
    let operation = Operation {
        instance_id: id.clone(),
        operation_id: operation_id.clone(),
        kind,
        state: OperationState::InProgress,
        description: String::new(),
        started_at: clock::now(tx).await?,
        before,
    };
    operations::put(tx, &operation).await?;
    Ok(Ordered { operation_id })
}

impl From<LossOfData> for BrokerError {
    fn from(loss: LossOfData) -> Self {
        Self::Loss(loss)
    }
}
