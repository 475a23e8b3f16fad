//! Service instances: provision, update, fetch, deprovision.

use super::{
    Broker, BrokerError, Place, adoption::Unseen, check_maintenance, find_plan, keys::Owner,
};
use crate::{
    domain::{InstanceId, OrganizationGuid, ParameterSchema, PlanId, ServiceId, SpaceGuid},
    store::{Names, ServiceInstance, StoreError, Tx, instances},
};
use serde_json::{Map, Value};

/// A request for a service instance.
#[derive(Clone, Debug)]
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
}

/// What a successful [`Broker::provision`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provisioned {
    /// It was made now.
    Created,
    /// The same instance was there before.
    AlreadyExists,
}

/// A request to change a service instance.
#[derive(Clone, Debug)]
pub struct Update {
    /// The instance.
    pub instance_id: InstanceId,
    /// Its service, which cannot change.
    pub service_id: ServiceId,
    /// Its plan from now on; none: as it is.
    pub plan_id: Option<PlanId>,
    /// What people call it now; what is missing stays.
    pub names: Names,
    /// Laid over the parameters it has; empty: as they are, since Cloud
    /// Controller sends `{}` when its user gave none (contract: osb.md 1.5).
    pub parameters: Map<String, Value>,
    /// `maintenance_info.version`.
    pub maintenance_version: Option<String>,
    /// Its plan until now, if the request says so.
    pub previous_plan_id: Option<PlanId>,
    /// Where it is, if the request says so.
    pub place: Place,
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
    /// Its parameters.
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
        let outcome = self
            .exclusively(id, async |tx| {
                if let Some(existing) = instances::find(tx, id).await? {
                    return match self.is_same(&existing, &request)? {
                        true => Ok(Provisioned::AlreadyExists),
                        false => Err(BrokerError::InstanceConflict),
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
                match instances::insert(tx, &instance).await? {
                    true => Ok(Provisioned::Created),
                    // Unreachable while the lock holds; the unique key is the truth all the same.
                    false => Err(BrokerError::InstanceConflict),
                }
            })
            .await?;
        if outcome == Provisioned::Created {
            tracing::info!(instance.id = %id, plan.id = %request.plan_id, "instance provisioned");
        }
        Ok(outcome)
    }

    /// Changes a service instance; a change to what it is already is none.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] when there is none,
    /// [`BrokerError::PlanNotUpdateable`] when its plan cannot be left; otherwise
    /// what is wrong with the request.
    pub async fn update(&self, request: Update) -> Result<(), BrokerError> {
        let catalog = self.catalog();
        let id = &request.instance_id;
        let service = catalog.service(&request.service_id).ok_or(BrokerError::UnknownService)?;
        let changed = self
            .exclusively(id, async |tx| {
                let unseen = Unseen {
                    service_id: &request.service_id,
                    plan_id: request.previous_plan_id.as_ref().or(request.plan_id.as_ref()),
                    place: &request.place,
                };
                let existing = self.find_or_adopt(tx, id, unseen).await?;
                if existing.service_id != request.service_id {
                    return Err(BrokerError::OtherService);
                }
                let plan_id = request.plan_id.as_ref().unwrap_or(&existing.plan_id);
                let plan = service.plan(plan_id);
                if *plan_id != existing.plan_id {
                    let left = service.plan(&existing.plan_id);
                    plan.ok_or(BrokerError::UnknownPlan)?;
                    if !left.map_or(service.plan_updateable, |plan| plan.plan_updateable) {
                        return Err(BrokerError::PlanNotUpdateable);
                    }
                }
                if let Some(plan) = plan {
                    check_maintenance(plan, request.maintenance_version.as_deref())?;
                }
                let mut updated = existing.clone();
                updated.plan_id = plan_id.clone();
                let Names { organization, space, instance } = request.names.clone();
                updated.names = Names {
                    organization: organization.or(updated.names.organization),
                    space: space.or(updated.names.space),
                    instance: instance.or(updated.names.instance),
                };
                updated.maintenance_version =
                    request.maintenance_version.clone().or(updated.maintenance_version);
                if !request.parameters.is_empty() {
                    check(plan.and_then(|plan| plan.update.as_ref()), &request.parameters)?;
                    let mut parameters = self.parameters_of(&existing)?;
                    parameters.extend(request.parameters.clone());
                    updated.parameters = self.seal_of_instance(id, &parameters)?;
                }
                let changed = updated != existing;
                if changed {
                    instances::update(tx, &updated).await?;
                }
                Ok(changed)
            })
            .await?;
        if changed {
            tracing::info!(instance.id = %id, "instance updated");
        }
        Ok(())
    }

    /// Shows a service instance.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] when there is none.
    pub async fn fetch(&self, id: &InstanceId) -> Result<FetchedInstance, BrokerError> {
        let instance = self.reading(async |tx| find(tx, id).await).await?;
        Ok(FetchedInstance {
            parameters: self.parameters_of(&instance)?,
            service_id: instance.service_id,
            plan_id: instance.plan_id,
            organization_guid: instance.organization_guid,
            maintenance_version: instance.maintenance_version,
        })
    }

    /// Removes a service instance, and with it the bindings it still has: OSB
    /// does not say what becomes of them, Cloud Controller removes them first,
    /// and a binding without an instance could be removed by nobody.
    ///
    /// The catalog is not asked: what has left it can be removed all the same.
    ///
    /// # Errors
    /// [`BrokerError::InstanceGone`] when there is none.
    pub async fn deprovision(&self, id: &InstanceId) -> Result<(), BrokerError> {
        self.exclusively(id, async |tx| match instances::find(tx, id).await? {
            Some(_) => self.delete(tx, id).await,
            None => self.let_unseen_depart(tx, id).await,
        })
        .await?;
        tracing::info!(instance.id = %id, "instance deprovisioned");
        Ok(())
    }

    fn is_same(&self, kept: &ServiceInstance, request: &Provision) -> Result<bool, BrokerError> {
        Ok(kept.service_id == request.service_id
            && kept.plan_id == request.plan_id
            && kept.organization_guid == request.organization_guid
            && kept.space_guid == request.space_guid
            && self.parameters_of(kept)? == request.parameters)
    }

    fn parameters_of(&self, instance: &ServiceInstance) -> Result<Map<String, Value>, BrokerError> {
        let owner = Owner::Instance(instance.instance_id.as_str());
        let parameters = self.0.keys.unseal(owner, &instance.parameters);
        parameters.ok_or_else(|| unsealable("service_instances.parameters").into())
    }

    pub(super) fn seal_of_instance(
        &self,
        id: &InstanceId,
        parameters: &Map<String, Value>,
    ) -> Result<String, BrokerError> {
        Ok(self.0.keys.seal(Owner::Instance(id.as_str()), parameters)?)
    }
}

/// The instance, for everyone but who deletes it.
pub(super) async fn find(tx: &mut Tx, id: &InstanceId) -> Result<ServiceInstance, BrokerError> {
    instances::find(tx, id).await?.ok_or(BrokerError::InstanceUnknown)
}

/// A sealed text that the key does not open.
pub(super) fn unsealable(column: &'static str) -> StoreError {
    StoreError::Corrupt { column, problem: "broker.token_key does not open it".to_owned() }
}

/// A plan without a schema takes nothing: an unknown parameter must not be lost in silence.
fn check(
    schema: Option<&ParameterSchema>,
    parameters: &Map<String, Value>,
) -> Result<(), BrokerError> {
    match schema {
        Some(schema) => Ok(schema.check(parameters)?),
        None if parameters.is_empty() => Ok(()),
        None => Err(BrokerError::NoParameters),
    }
}
