//! Prometheus instances: validation, quotas and operations.
//!
//! The spec and an operation in progress are stored in the transaction that stores the service
//! instance. The provisioner runs the operation, also after a crash.

use super::{Broker, BrokerError};
use crate::{
    domain::{
        InstanceId, OperationKind, OperationState, SpaceGuid,
        prometheus::{
            DataLoss, PrometheusParams, PrometheusPlan, ProvisionPolicy, Refusal, Spec,
            StoredPrometheus,
        },
    },
    secrets::salt,
    store::{Operation, StoreError, Tx, clock, operations, prometheus},
};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::Notify;

/// Quotas and the connection to the provisioner.
#[derive(Clone, Debug)]
pub struct Provisioning {
    /// Maximum number of instances.
    pub max_instances: u64,
    /// Maximum number of instances per space.
    pub max_instances_per_space: u64,
    /// Validates requested instances.
    pub policy: Arc<dyn ProvisionPolicy>,
    /// Wakes the reconciler after an operation was stored.
    pub operations_changed: Arc<Notify>,
}

/// An operation that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedOperation {
    /// Unique id; it begins with the kind of the operation.
    pub operation_id: String,
}

impl Broker {
    /// Validates an instance with the policy of the provisioner. This takes too long for a
    /// transaction.
    pub(super) async fn validate(
        &self,
        spec: &Spec,
        before: Option<&Spec>,
    ) -> Result<(), BrokerError> {
        let provisioning = self.0.provisioning.get().ok_or(BrokerError::NoProvisioner)?;
        provisioning.policy.validate(spec, before).await.map_err(BrokerError::Refused)
    }

    /// Stores a new instance and its operation, within the quotas.
    pub(super) async fn accept_provision(
        &self,
        tx: &mut Tx,
        id: &InstanceId,
        space: &SpaceGuid,
        spec: &Spec,
    ) -> Result<AcceptedOperation, BrokerError> {
        self.check_quotas(tx, space, 1, spec.replicas.into()).await?;
        let row = StoredPrometheus {
            instance_id: id.clone(),
            space_guid: space.clone(),
            replicas: spec.replicas,
            spec: self.0.keys.encrypt_spec(id, spec)?,
            secret_salt: salt()?,
        };
        prometheus::put(tx, &row).await?;
        put_operation(tx, id, OperationKind::Provision, None).await
    }

    /// The transaction must hold the lock of the quotas.
    pub(super) async fn check_quotas(
        &self,
        tx: &mut Tx,
        space: &SpaceGuid,
        instances: u64,
        replicas: u64,
    ) -> Result<(), BrokerError> {
        let provisioning = self.0.provisioning.get().ok_or(BrokerError::NoProvisioner)?;
        let usage = prometheus::usage(tx, space).await?;
        let quota_exceeded =
            |problem: String| Err(BrokerError::Refused(Refusal::Capacity(problem)));
        let Provisioning { max_instances, max_instances_per_space, policy, .. } = provisioning;
        if usage.of_space + instances > *max_instances_per_space {
            return quota_exceeded(format!(
                "this space has {} Prometheus instances, and may have {max_instances_per_space}; delete one, or ask the operator for more",
                usage.of_space
            ));
        }
        if usage.instances + instances > *max_instances {
            return quota_exceeded(format!(
                "there are {} Prometheus instances on this platform, and may be {max_instances}; ask the operator for more",
                usage.instances
            ));
        }
        match policy.capacity() {
            Some(capacity) if usage.replicas + replicas > capacity => quota_exceeded(format!(
                "no port is free for another Prometheus: all {capacity} are taken; ask the operator for more"
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn decrypt_spec(&self, stored: &StoredPrometheus) -> Result<Spec, StoreError> {
        self.0.keys.decrypt_spec(stored).map_err(|error| StoreError::Corrupt {
            column: "prometheus_instances.spec",
            problem: error.to_string(),
        })
    }

    /// Wakes the reconciler.
    pub(super) fn notify_operations_changed(&self) {
        if let Some(provisioning) = self.0.provisioning.get() {
            provisioning.operations_changed.notify_one();
        }
    }
}

/// Stores an operation in progress.
pub(super) async fn put_operation(
    tx: &mut Tx,
    id: &InstanceId,
    kind: OperationKind,
    before: Option<crate::store::PreviousState>,
) -> Result<AcceptedOperation, BrokerError> {
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
    Ok(AcceptedOperation { operation_id })
}

/// The spec for a plan and parameters of a user.
pub(super) fn requested_spec(
    plan: &PrometheusPlan,
    parameters: &Map<String, Value>,
) -> Result<Spec, BrokerError> {
    Ok(PrometheusParams::from_parameters(parameters)?.resolve(plan)?)
}

impl From<DataLoss> for BrokerError {
    fn from(loss: DataLoss) -> Self {
        Self::Loss(loss)
    }
}
