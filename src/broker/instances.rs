//! Service instances: provision, fetch, deprovision.

use super::{
    Broker, BrokerError, UsesQuotas, check_maintenance,
    error::unsealable,
    find_plan,
    prometheus::{Ordered, Wanted, put_operation},
};
use crate::{
    domain::{
        InstanceId, OperationKind, OperationState, OrganizationGuid, ParameterSchema, Plan, PlanId,
        ServiceId, SpaceGuid, prometheus::Wishes,
    },
    secrets::AssociatedData,
    store::{Names, ServiceInstance, Tx, bindings, instances, operations, prometheus},
};
use serde_json::{Map, Value};
use std::time::Duration;

/// A request for a service instance.
///
/// Not `Debug`: its parameters may be secrets.
#[derive(Clone)]
pub struct Provision {
    /// The new instance's id.
    pub instance_id: InstanceId,
    /// A service of the catalog.
    pub service_id: ServiceId,
    /// A plan of that service.
    pub plan_id: PlanId,
    /// Where it belongs.
    pub organization_guid: OrganizationGuid,
    /// Where it belongs.
    pub space_guid: SpaceGuid,
    /// What people call it.
    pub names: Names,
    /// The user's parameters; empty when there are none.
    pub parameters: Map<String, Value>,
    /// `maintenance_info.version`.
    pub maintenance_version: Option<String>,
    /// Whether the platform waits for what takes longer than a request.
    pub accepts_incomplete: bool,
}

/// What a successful [`Broker::provision`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioned {
    /// It was made now.
    Created,
    /// The same instance was there before.
    AlreadyExists,
    /// It is being made, since now or before.
    InProgress(Ordered),
}

/// What a successful [`Broker::deprovision`] comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deprovisioned {
    /// It is gone.
    Done,
    /// It is being removed, since now or before.
    InProgress(Ordered),
}

/// A service instance as the platform may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedInstance {
    /// Its service.
    pub service_id: ServiceId,
    /// Its plan.
    pub plan_id: PlanId,
    /// Where it belongs.
    pub organization_guid: OrganizationGuid,
    /// Where it belongs.
    pub space_guid: SpaceGuid,
    /// Its parameters without the secret ones.
    pub parameters: Map<String, Value>,
    /// The version of its plan that it was made with or upgraded to.
    pub maintenance_version: Option<String>,
}

impl Broker {
    /// Makes a service instance, or finds the same one.
    ///
    /// A repeated request is answered from what is stored, even when the plan
    /// has left the catalog since.
    ///
    /// # Errors
    /// [`BrokerError::InstanceConflict`] when the id is taken by a different one;
    /// otherwise what is wrong with the request.
    pub async fn provision(&self, request: Provision) -> Result<Provisioned, BrokerError> {
        let catalog = self.catalog();
        let found = find_plan(&catalog, &request.service_id, &request.plan_id);
        if let Ok((_, plan)) = found {
            check_maintenance(plan, request.maintenance_version.as_deref())?;
        }
        let id = &request.instance_id;
        // It takes its time, so it is asked before the transaction, and not about what is there.
        let wanted = match &found {
            Ok((_, plan)) if plan.prometheus.is_some() && !self.exists(id).await? => {
                Some(self.admit_new(plan, &request).await?)
            }
            _ => None,
        };
        let outcome = self
            .changing(id, UsesQuotas::if_some(wanted.as_ref()), async |tx| {
                if let Some(existing) = instances::find(tx, id).await? {
                    return match self.is_same(&existing, &request)? {
                        true => self.is_being_made(tx, id).await,
                        false => Err(self.differs(tx, id).await?),
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
                    parameters: self.seal_of_instance(id, &request.parameters)?,
                };
                if !instances::insert(tx, &instance).await? {
                    // Unreachable while the lock holds; the unique key is the truth all the same.
                    return Err(BrokerError::InstanceConflict);
                }
                match &wanted {
                    None if plan.prometheus.is_some() => {
                        // It was there a moment ago, and is gone by now.
                        Err(BrokerError::Concurrency(OperationKind::Deprovision))
                    }
                    None => Ok(Provisioned::Created),
                    Some(wanted) => {
                        let ordered = self.order(tx, id, &request.space_guid, wanted).await?;
                        Ok(Provisioned::InProgress(ordered))
                    }
                }
            })
            .await?;
        match &outcome {
            Provisioned::Created => {
                tracing::info!(instance.id = %id, plan.id = %request.plan_id, "instance provisioned");
            }
            Provisioned::InProgress(_) if wanted.is_some() => {
                self.ordered();
                tracing::info!(instance.id = %id, plan.id = %request.plan_id, "instance ordered");
            }
            _ => {}
        }
        Ok(outcome)
    }

    async fn exists(&self, id: &InstanceId) -> Result<bool, BrokerError> {
        self.reading(async |tx| Ok(instances::find(tx, id).await?.is_some())).await
    }

    async fn admit_new(&self, plan: &Plan, request: &Provision) -> Result<Wanted, BrokerError> {
        check(plan.provision.as_ref(), &request.parameters)?;
        if !request.accepts_incomplete {
            return Err(BrokerError::AsyncRequired);
        }
        let terms = plan.prometheus.as_ref().ok_or(BrokerError::UnknownPlan)?;
        let wanted = self.wanted(terms, &request.parameters)?;
        self.admit(&wanted.spec, None).await?;
        Ok(wanted)
    }

    /// The answer to a repeated request.
    async fn is_being_made(
        &self,
        tx: &mut Tx,
        id: &InstanceId,
    ) -> Result<Provisioned, BrokerError> {
        let Some(operation) = operations::find(tx, id).await? else {
            return Ok(Provisioned::AlreadyExists);
        };
        let ordered = Ordered { operation_id: operation.operation_id };
        match (operation.kind, operation.state) {
            (OperationKind::Provision, OperationState::InProgress) => {
                Ok(Provisioned::InProgress(ordered))
            }
            (kind, OperationState::InProgress) => Err(BrokerError::Concurrency(kind)),
            (OperationKind::Provision | OperationKind::Deprovision, OperationState::Failed) => {
                Err(BrokerError::NotMade(operation.description))
            }
            _ => Ok(Provisioned::AlreadyExists),
        }
    }

    /// The answer to a different request for an id that is taken.
    async fn differs(&self, tx: &mut Tx, id: &InstanceId) -> Result<BrokerError, BrokerError> {
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

    /// Shows a service instance.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] when there is none.
    pub async fn fetch(&self, id: &InstanceId) -> Result<FetchedInstance, BrokerError> {
        let instance = self.reading(async |tx| find(tx, id).await).await?;
        Ok(FetchedInstance {
            parameters: Wishes::without_secrets(&self.parameters_of(&instance)?),
            service_id: instance.service_id,
            plan_id: instance.plan_id,
            organization_guid: instance.organization_guid,
            space_guid: instance.space_guid,
            maintenance_version: instance.maintenance_version,
        })
    }

    /// The parameters of a service instance, secret ones too: no answer may show them.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] when there is none.
    pub async fn stored_parameters(
        &self,
        id: &InstanceId,
    ) -> Result<Map<String, Value>, BrokerError> {
        let instance = self.reading(async |tx| find(tx, id).await).await?;
        self.parameters_of(&instance)
    }

    /// Removes a service instance, and with it the bindings it still has: OSB
    /// does not say what becomes of them, Cloud Controller removes them first,
    /// and a binding without an instance could be removed by nobody.
    ///
    /// The catalog is not asked: what has left it can be removed all the same.
    ///
    /// # Errors
    /// [`BrokerError::InstanceGone`] when there is none.
    pub async fn deprovision(&self, id: &InstanceId) -> Result<Deprovisioned, BrokerError> {
        let outcome = self
            .exclusively(id, async |tx| {
                if instances::find(tx, id).await?.is_none() {
                    self.let_unseen_depart(tx, id).await?;
                    return Ok(Deprovisioned::Done);
                }
                if prometheus::find(tx, id).await?.is_none() {
                    self.delete(tx, id).await?;
                    return Ok(Deprovisioned::Done);
                }
                // Credentials and targets go now, whatever the rest takes.
                bindings::delete_all(tx, id).await?;
                let running = operations::find(tx, id).await?.filter(|it| {
                    it.kind == OperationKind::Deprovision && it.state == OperationState::InProgress
                });
                Ok(Deprovisioned::InProgress(match running {
                    Some(running) => Ordered { operation_id: running.operation_id },
                    None => put_operation(tx, id, OperationKind::Deprovision, None).await?,
                }))
            })
            .await?;
        match outcome {
            Deprovisioned::Done => tracing::info!(instance.id = %id, "instance deprovisioned"),
            Deprovisioned::InProgress(_) => {
                self.ordered();
                tracing::info!(instance.id = %id, "instance is to be removed");
            }
        }
        Ok(outcome)
    }

    /// As [`deprovision`](Self::deprovision), for who cannot wait and ask again: waits for the
    /// end, at most for `patience`.
    ///
    /// # Errors
    /// Those of `deprovision`; [`BrokerError::Concurrency`] when it has not ended by then, and
    /// [`BrokerError::NotRemoved`] when it failed.
    pub async fn deprovision_now(
        &self,
        id: &InstanceId,
        patience: Duration,
    ) -> Result<(), BrokerError> {
        if self.deprovision(id).await? == Deprovisioned::Done {
            return Ok(());
        }
        let ended = async {
            loop {
                match self.last_operation(id, None).await {
                    Err(BrokerError::InstanceUnknown) => return Ok(()),
                    Ok(last) if last.state == OperationState::Failed => {
                        return Err(BrokerError::NotRemoved(last.description));
                    }
                    Ok(_) => tokio::time::sleep(LOOK).await,
                    Err(error) => return Err(error),
                }
            }
        };
        let late = BrokerError::Concurrency(OperationKind::Deprovision);
        tokio::time::timeout(patience, ended).await.unwrap_or(Err(late))
    }

    fn is_same(&self, kept: &ServiceInstance, request: &Provision) -> Result<bool, BrokerError> {
        Ok(kept.service_id == request.service_id
            && kept.plan_id == request.plan_id
            && kept.organization_guid == request.organization_guid
            && kept.space_guid == request.space_guid
            && self.parameters_of(kept)? == request.parameters)
    }

    pub(super) fn parameters_of(
        &self,
        instance: &ServiceInstance,
    ) -> Result<Map<String, Value>, BrokerError> {
        let owner = AssociatedData::Instance(instance.instance_id.as_str());
        let parameters = self.0.keys.decrypt(owner, &instance.parameters);
        parameters.ok_or_else(|| unsealable("service_instances.parameters").into())
    }

    pub(super) fn seal_of_instance(
        &self,
        id: &InstanceId,
        parameters: &Map<String, Value>,
    ) -> Result<String, BrokerError> {
        Ok(self.0.keys.encrypt(AssociatedData::Instance(id.as_str()), parameters)?)
    }
}

/// How often is looked whether an operation has ended.
const LOOK: Duration = Duration::from_millis(100);

/// The instance, for everyone but who deletes it.
pub(super) async fn find(tx: &mut Tx, id: &InstanceId) -> Result<ServiceInstance, BrokerError> {
    instances::find(tx, id).await?.ok_or(BrokerError::InstanceUnknown)
}

/// A plan without a schema takes nothing: an unknown parameter must not be lost in silence.
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
