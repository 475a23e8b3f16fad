//! Service instances: provision, fetch, deprovision.

use super::{
    Broker, BrokerError, UsesQuotas, check_maintenance,
    error::cannot_decrypt,
    find_plan,
    prometheus::{AcceptedOperation, put_operation, requested_spec},
};
use crate::{
    domain::{
        InstanceId, InstanceNames, OperationKind, OperationState, OrganizationGuid,
        ParameterSchema, Plan, PlanId, ServiceId, ServiceInstance, SpaceGuid,
        prometheus::{PrometheusParams, Spec},
    },
    secrets::AssociatedData,
    store::{Tx, bindings, instances, operations, prometheus},
};
use serde_json::{Map, Value};
use std::time::Duration;

/// A request for a service instance.
///
/// Not `Debug`: its parameters may be secrets.
#[derive(Clone)]
pub struct Provision {
    pub instance_id: InstanceId,
    pub service_id: ServiceId,
    pub plan_id: PlanId,
    pub organization_guid: OrganizationGuid,
    pub space_guid: SpaceGuid,
    /// Names for display.
    pub names: InstanceNames,
    /// The user's parameters; empty when there are none.
    pub parameters: Map<String, Value>,
    /// `maintenance_info.version`.
    pub maintenance_version: Option<String>,
    /// `accepts_incomplete`: whether the platform supports asynchronous operations.
    pub accepts_incomplete: bool,
}

/// Outcome of [`Broker::provision`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioned {
    /// The instance was created.
    Created,
    /// An equal instance already exists.
    AlreadyExists,
    /// The instance is being provisioned.
    InProgress(AcceptedOperation),
}

/// Outcome of [`Broker::deprovision`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deprovisioned {
    /// The instance was deleted.
    Done,
    /// The instance is being deprovisioned.
    InProgress(AcceptedOperation),
}

/// A service instance without secret parameters, for the platform.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedInstance {
    pub service_id: ServiceId,
    pub plan_id: PlanId,
    pub organization_guid: OrganizationGuid,
    pub space_guid: SpaceGuid,
    /// The parameters without the secret ones.
    pub parameters: Map<String, Value>,
    /// The maintenance version with which it was provisioned or upgraded.
    pub maintenance_version: Option<String>,
}

impl Broker {
    /// Creates a service instance, or finds an equal one.
    ///
    /// A repeated request is answered from stored state, even if the plan was removed from the
    /// catalog.
    ///
    /// # Errors
    /// [`BrokerError::InstanceConflict`] when a different instance has the id; otherwise the problem of
    /// the request.
    pub async fn provision(&self, request: Provision) -> Result<Provisioned, BrokerError> {
        let catalog = self.catalog();
        let found = find_plan(&catalog, &request.service_id, &request.plan_id);
        if let Ok((_, plan)) = found {
            check_maintenance(plan, request.maintenance_version.as_deref())?;
        }
        let id = &request.instance_id;
        // Validation is slow, so it runs before the transaction, and only for new instances.
        let requested = match &found {
            Ok((_, plan)) if plan.prometheus.is_some() && !self.exists(id).await? => {
                Some(self.validate_new(plan, &request).await?)
            }
            _ => None,
        };
        let outcome = self
            .write_transaction_with(id, UsesQuotas::if_some(requested.as_ref()), async |tx| {
                if let Some(existing) = instances::find(tx, id).await? {
                    return match self.is_same(&existing, &request)? {
                        true => self.existing_outcome(tx, id).await,
                        false => Err(self.conflict(tx, id).await?),
                    };
                }
                let (_, plan) = found?;
                check(plan.provision.as_ref(), &request.parameters)?;
                let instance = ServiceInstance {
                    instance_id: id.clone(),
                    service_id: request.service_id.clone(),
                    plan_id: request.plan_id.clone(),
                    organization_guid: request.organization_guid.clone(),
                    space_guid: request.space_guid.clone(),
                    names: request.names.clone(),
                    maintenance_version: request.maintenance_version.clone(),
                    parameters: self.encrypt_parameters(id, &request.parameters)?,
                };
                if !instances::insert(tx, &instance).await? {
                    // Unreachable because of the lock. The unique key is checked nevertheless.
                    return Err(BrokerError::InstanceConflict);
                }
                match &requested {
                    None if plan.prometheus.is_some() => {
                        // The instance existed before the transaction and was deleted since.
                        Err(BrokerError::Concurrency(OperationKind::Deprovision))
                    }
                    None => Ok(Provisioned::Created),
                    Some(spec) => {
                        let accepted =
                            self.accept_provision(tx, id, &request.space_guid, spec).await?;
                        Ok(Provisioned::InProgress(accepted))
                    }
                }
            })
            .await?;
        match &outcome {
            Provisioned::Created => {
                tracing::info!(instance.id = %id, plan.id = %request.plan_id, "instance provisioned");
            }
            Provisioned::InProgress(_) if requested.is_some() => {
                self.notify_operations_changed();
                tracing::info!(instance.id = %id, plan.id = %request.plan_id, "instance provisioning started");
            }
            _ => {}
        }
        Ok(outcome)
    }

    async fn exists(&self, id: &InstanceId) -> Result<bool, BrokerError> {
        self.read_transaction(async |tx| Ok(instances::find(tx, id).await?.is_some())).await
    }

    async fn validate_new(&self, plan: &Plan, request: &Provision) -> Result<Spec, BrokerError> {
        check(plan.provision.as_ref(), &request.parameters)?;
        if !request.accepts_incomplete {
            return Err(BrokerError::AsyncRequired);
        }
        let terms = plan.prometheus.as_ref().ok_or(BrokerError::UnknownPlan)?;
        let spec = requested_spec(terms, &request.parameters)?;
        self.validate(&spec, None).await?;
        Ok(spec)
    }

    /// The outcome of a repeated request.
    async fn existing_outcome(
        &self,
        tx: &mut Tx,
        id: &InstanceId,
    ) -> Result<Provisioned, BrokerError> {
        let Some(operation) = operations::find(tx, id).await? else {
            return Ok(Provisioned::AlreadyExists);
        };
        let accepted = AcceptedOperation { operation_id: operation.operation_id };
        match (operation.kind, operation.state) {
            (OperationKind::Provision, OperationState::InProgress) => {
                Ok(Provisioned::InProgress(accepted))
            }
            (kind, OperationState::InProgress) => Err(BrokerError::Concurrency(kind)),
            (OperationKind::Provision | OperationKind::Deprovision, OperationState::Failed) => {
                Err(BrokerError::ProvisionFailed(operation.description))
            }
            _ => Ok(Provisioned::AlreadyExists),
        }
    }

    /// The error of a request that differs from the existing instance.
    async fn conflict(&self, tx: &mut Tx, id: &InstanceId) -> Result<BrokerError, BrokerError> {
        let operation = operations::find(tx, id).await?;
        Ok(match operation {
            Some(it)
                if it.kind == OperationKind::Deprovision
                    && it.state == OperationState::InProgress =>
            {
                BrokerError::Concurrency(it.kind)
            }
            _ => BrokerError::InstanceConflict,
        })
    }

    /// Reads a service instance.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] when there is no such instance.
    pub async fn fetch(&self, id: &InstanceId) -> Result<FetchedInstance, BrokerError> {
        let instance = self.read_transaction(async |tx| find(tx, id).await).await?;
        Ok(FetchedInstance {
            parameters: PrometheusParams::without_secrets(&self.parameters_of(&instance)?),
            service_id: instance.service_id,
            plan_id: instance.plan_id,
            organization_guid: instance.organization_guid,
            space_guid: instance.space_guid,
            maintenance_version: instance.maintenance_version,
        })
    }

    /// The parameters including the secret ones. They must not be shown in a response.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] when there is no such instance.
    pub async fn stored_parameters(
        &self,
        id: &InstanceId,
    ) -> Result<Map<String, Value>, BrokerError> {
        let instance = self.read_transaction(async |tx| find(tx, id).await).await?;
        self.parameters_of(&instance)
    }

    /// Deletes a service instance with its bindings. OSB does not define what happens to the
    /// bindings. Cloud Controller deletes them first, and without the instance they could not be
    /// deleted.
    ///
    /// The catalog does not matter: instances of removed plans can be deleted.
    ///
    /// # Errors
    /// [`BrokerError::InstanceGone`] when there is no such instance.
    pub async fn deprovision(&self, id: &InstanceId) -> Result<Deprovisioned, BrokerError> {
        let outcome = self
            .write_transaction(id, async |tx| {
                if instances::find(tx, id).await?.is_none() {
                    self.record_unknown_deletion(tx, id).await?;
                    return Ok(Deprovisioned::Done);
                }
                if prometheus::find(tx, id).await?.is_none() {
                    self.delete(tx, id).await?;
                    return Ok(Deprovisioned::Done);
                }
                // Credentials and targets are revoked at once, however long the deprovisioning
                // takes.
                bindings::delete_all(tx, id).await?;
                let running = operations::find(tx, id).await?.filter(|it| {
                    it.kind == OperationKind::Deprovision && it.state == OperationState::InProgress
                });
                Ok(Deprovisioned::InProgress(match running {
                    Some(running) => AcceptedOperation { operation_id: running.operation_id },
                    None => put_operation(tx, id, OperationKind::Deprovision, None).await?,
                }))
            })
            .await?;
        match outcome {
            Deprovisioned::Done => tracing::info!(instance.id = %id, "instance deprovisioned"),
            Deprovisioned::InProgress(_) => {
                self.notify_operations_changed();
                tracing::info!(instance.id = %id, "instance deprovisioning started");
            }
        }
        Ok(outcome)
    }

    /// Like [`deprovision`](Self::deprovision), for platforms without asynchronous operations: waits
    /// for the end of the operation, at most for `limit`.
    ///
    /// # Errors
    /// Those of `deprovision`; [`BrokerError::Concurrency`] when the operation has not ended in time,
    /// and [`BrokerError::DeprovisionFailed`] when it failed.
    pub async fn deprovision_and_wait(
        &self,
        id: &InstanceId,
        limit: Duration,
    ) -> Result<(), BrokerError> {
        if self.deprovision(id).await? == Deprovisioned::Done {
            return Ok(());
        }
        let ended = async {
            loop {
                match self.last_operation(id, None).await {
                    Err(BrokerError::InstanceUnknown) => return Ok(()),
                    Ok(last) if last.state == OperationState::Failed => {
                        return Err(BrokerError::DeprovisionFailed(last.description));
                    }
                    Ok(_) => tokio::time::sleep(POLL_INTERVAL).await,
                    Err(error) => return Err(error),
                }
            }
        };
        let timed_out = BrokerError::Concurrency(OperationKind::Deprovision);
        tokio::time::timeout(limit, ended).await.unwrap_or(Err(timed_out))
    }

    fn is_same(
        &self,
        existing: &ServiceInstance,
        request: &Provision,
    ) -> Result<bool, BrokerError> {
        Ok(existing.service_id == request.service_id
            && existing.plan_id == request.plan_id
            && existing.organization_guid == request.organization_guid
            && existing.space_guid == request.space_guid
            && self.parameters_of(existing)? == request.parameters)
    }

    pub(super) fn parameters_of(
        &self,
        instance: &ServiceInstance,
    ) -> Result<Map<String, Value>, BrokerError> {
        let owner = AssociatedData::Instance(instance.instance_id.as_str());
        let parameters = self.0.keys.decrypt(owner, &instance.parameters);
        parameters.ok_or_else(|| cannot_decrypt("service_instances.parameters").into())
    }

    pub(super) fn encrypt_parameters(
        &self,
        id: &InstanceId,
        parameters: &Map<String, Value>,
    ) -> Result<String, BrokerError> {
        Ok(self.0.keys.encrypt(AssociatedData::Instance(id.as_str()), parameters)?)
    }
}

/// Interval at which the end of an operation is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Finds an instance. A deletion does not use this, because its error differs.
pub(super) async fn find(tx: &mut Tx, id: &InstanceId) -> Result<ServiceInstance, BrokerError> {
    instances::find(tx, id).await?.ok_or(BrokerError::InstanceUnknown)
}

/// A plan without a schema accepts no parameters: unknown ones must not be ignored silently.
pub(super) fn check(
    schema: Option<&ParameterSchema>,
    parameters: &Map<String, Value>,
) -> Result<(), BrokerError> {
    match schema {
        Some(schema) => Ok(schema.check(parameters)?),
        None if parameters.is_empty() => Ok(()),
        None => Err(BrokerError::NoParameters),
    }
}
