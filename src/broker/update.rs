//! Service instances: update.
//!
//! Changes of stored attributes are completed at once. A change of the spec of a Prometheus is an
//! operation, and the reconciler restores the previous spec if it fails.

use super::{
    Broker, BrokerError, OrgSpace, UsesQuotas,
    adoption::UnknownInstance,
    check_maintenance,
    instances::check,
    prometheus::{AcceptedOperation, put_operation, requested_spec},
};
use crate::{
    domain::{
        BindingError, InstanceId, InstanceNames, OperationKind, OperationState, ParameterSchema,
        PlanId, Service, ServiceId, ServiceInstance,
        prometheus::{Spec, StoredPrometheus},
    },
    store::{PreviousState, Tx, instances, operations, prometheus},
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A request to change a service instance.
///
/// Not `Debug`: its parameters may be secrets.
#[derive(Clone)]
pub struct Update {
    pub instance_id: InstanceId,
    /// The service, which cannot change.
    pub service_id: ServiceId,
    /// The new plan; `None`: unchanged.
    pub plan_id: Option<PlanId>,
    /// New names. Missing names are unchanged.
    pub names: InstanceNames,
    /// The parameters in the request.
    pub parameters: Map<String, Value>,
    /// Handling of parameters that the request omits.
    pub omitted_parameters: OmittedParameters,
    /// The new organization and space. `None` means unchanged. Bindings keep their space, because
    /// users of the previous space know the tokens of its service keys.
    pub target_space: OrgSpace,
    /// `maintenance_info.version`.
    pub maintenance_version: Option<String>,
    /// The previous plan, if the request contains it.
    pub previous_plan_id: Option<PlanId>,
    /// Current organization and space, if the request contains them.
    pub org_space: OrgSpace,
    /// `accepts_incomplete`: whether the platform supports asynchronous operations.
    pub accepts_incomplete: bool,
}

/// Handling of parameters that an update request omits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OmittedParameters {
    /// They stay. Cloud Controller sends `{}` when its user gave no parameters.
    #[default]
    Keep,
    /// They are reset, because the request contains all parameters.
    Reset {
        /// Parameters that stay unchanged, whether the request contains them or not.
        except: BTreeSet<String>,
    },
}

/// Outcome of [`Broker::update`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updated {
    /// The instance matches the request.
    Done,
    /// The instance is being updated.
    InProgress(AcceptedOperation),
}

/// An instance before and after an update.
struct Change {
    before: ServiceInstance,
    after: ServiceInstance,
    prometheus: Option<NextSpec>,
}

/// The spec of a Prometheus instance before and after an update.
struct NextSpec {
    /// The current row, with the new space of the instance.
    row: StoredPrometheus,
    current: Spec,
    spec: Spec,
}

impl Change {
    /// Whether at most names, organization and space differ.
    fn keeps_plan_and_parameters(&self) -> bool {
        self.before.plan_id == self.after.plan_id && self.before.parameters == self.after.parameters
    }

    /// Stores the instance. Returns whether it has changed.
    async fn store(&self, tx: &mut Tx) -> Result<bool, BrokerError> {
        if self.after == self.before {
            return Ok(false);
        }
        instances::update(tx, &self.after).await?;
        if let Some(next) = &self.prometheus
            && self.after.space_guid != self.before.space_guid
        {
            prometheus::put(tx, &next.row).await?;
        }
        Ok(true)
    }
}

impl Broker {
    /// Updates a service instance. A request that changes nothing succeeds.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] when there is no such instance,
    /// [`BrokerError::PlanNotUpdateable`] when its plan cannot be changed; otherwise the problem of
    /// the request.
    pub async fn update(&self, request: Update) -> Result<Updated, BrokerError> {
        let catalog = self.catalog();
        let id = &request.instance_id;
        let service = catalog.service(&request.service_id).ok_or(BrokerError::UnknownService)?;
        // Validation is slow, so it runs before the transaction. The transaction computes the same
        // spec, unless another request changed the instance in between.
        let validated = self.validate_change(service, &request).await?;
        let changed = self
            .write_transaction_with(id, UsesQuotas::if_some(validated.as_ref()), async |tx| {
                let change = self.change(tx, service, &request).await?;
                let Some(next) = &change.prometheus else {
                    return Ok((change.store(tx).await?, Updated::Done));
                };
                if let Some(operation) = operations::find(tx, id).await? {
                    let accepted = AcceptedOperation { operation_id: operation.operation_id };
                    match (operation.kind, operation.state) {
                        (OperationKind::Update, OperationState::InProgress)
                            if change.before.plan_id == change.after.plan_id
                                && next.spec == next.current =>
                        {
                            let is_changed =
                                change.keeps_plan_and_parameters() && change.store(tx).await?;
                            return Ok((is_changed, Updated::InProgress(accepted)));
                        }
                        // Tsuru sends an update for each new description.
                        (OperationKind::Provision, OperationState::InProgress)
                            if request.omitted_parameters != OmittedParameters::Keep
                                && change.keeps_plan_and_parameters() =>
                        {
                            return Ok((change.store(tx).await?, Updated::Done));
                        }
                        (kind, OperationState::InProgress) => {
                            return Err(BrokerError::Concurrency(kind));
                        }
                        (
                            OperationKind::Provision | OperationKind::Deprovision,
                            OperationState::Failed,
                        ) => return Err(BrokerError::ProvisionFailed(operation.description)),
                        _ => {}
                    }
                }
                let is_changed = change.store(tx).await?;
                if next.spec == next.current {
                    return Ok((is_changed, Updated::Done));
                }
                if validated.as_ref() != Some(&next.spec) {
                    return Err(BrokerError::Concurrency(OperationKind::Update));
                }
                let more = next.spec.replicas.saturating_sub(next.current.replicas);
                self.check_quotas(tx, &next.row.space_guid, 0, more.into()).await?;
                let before = PreviousState {
                    plan_id: change.before.plan_id.clone(),
                    parameters: change.before.parameters.clone(),
                    spec: next.row.spec.clone(),
                    replicas: next.row.replicas,
                };
                let row = StoredPrometheus {
                    replicas: next.spec.replicas,
                    spec: self.0.keys.encrypt_spec(id, &next.spec)?,
                    ..next.row.clone()
                };
                prometheus::put(tx, &row).await?;
                let accepted = put_operation(tx, id, OperationKind::Update, Some(before)).await?;
                Ok((true, Updated::InProgress(accepted)))
            })
            .await?;
        let (is_changed, outcome) = changed;
        if is_changed {
            tracing::info!(instance.id = %id, "instance updated");
        }
        if matches!(outcome, Updated::InProgress(_)) {
            self.notify_operations_changed();
        }
        Ok(outcome)
    }

    /// Validates the change of a Prometheus instance. Returns the new spec if it differs.
    async fn validate_change(
        &self,
        service: &Service,
        request: &Update,
    ) -> Result<Option<Spec>, BrokerError> {
        let change = self.read_transaction(async |tx| {
            match instances::find(tx, &request.instance_id).await? {
                Some(_) => self.change(tx, service, request).await.map(Some),
                // It may be adopted, but an adopted instance is not a Prometheus.
                None => Ok(None),
            }
        });
        let Some(next) = change.await?.and_then(|change| change.prometheus) else {
            return Ok(None);
        };
        if next.spec == next.current {
            return Ok(None);
        }
        if !request.accepts_incomplete {
            return Err(BrokerError::AsyncRequired);
        }
        let names_retention = match &request.omitted_parameters {
            OmittedParameters::Keep => request.parameters.contains_key("retention"),
            OmittedParameters::Reset { except } => {
                request.parameters.contains_key("retention") && !except.contains("retention")
            }
        };
        next.current.check_change(&next.spec, names_retention)?;
        self.validate(&next.spec, Some(&next.current)).await?;
        Ok(Some(next.spec))
    }

    /// Computes the change that a request makes.
    async fn change(
        &self,
        tx: &mut Tx,
        service: &Service,
        request: &Update,
    ) -> Result<Change, BrokerError> {
        let id = &request.instance_id;
        let unknown = UnknownInstance {
            service,
            plan_id: request.previous_plan_id.as_ref().or(request.plan_id.as_ref()),
            org_space: &request.org_space,
        };
        let existing = self.find_or_adopt(tx, id, unknown).await?;
        if existing.service_id != request.service_id {
            return Err(BrokerError::OtherService);
        }
        let plan_id = request.plan_id.as_ref().unwrap_or(&existing.plan_id);
        let plan = service.plan(plan_id);
        if *plan_id != existing.plan_id {
            let current_plan = service.plan(&existing.plan_id);
            plan.ok_or(BrokerError::UnknownPlan)?;
            if !current_plan.map_or(service.plan_updateable, |plan| plan.plan_updateable) {
                return Err(BrokerError::PlanNotUpdateable);
            }
        }
        if let Some(plan) = plan {
            check_maintenance(plan, request.maintenance_version.as_deref())?;
        }
        let mut updated = existing.clone();
        updated.plan_id = plan_id.clone();
        let OrgSpace { organization_guid, space_guid } = request.target_space.clone();
        updated.organization_guid = organization_guid.unwrap_or(updated.organization_guid);
        updated.space_guid = space_guid.unwrap_or(updated.space_guid);
        let InstanceNames { organization, space, instance } = request.names.clone();
        updated.names = InstanceNames {
            organization: organization.or(updated.names.organization),
            space: space.or(updated.names.space),
            instance: instance.or(updated.names.instance),
        };
        updated.maintenance_version =
            request.maintenance_version.clone().or(updated.maintenance_version);
        let before = self.parameters_of(&existing)?;
        let schema = plan.and_then(|plan| plan.update.as_ref());
        let parameters = next_parameters(schema, &before, request)?;
        // Encrypting the same parameters again would give another text.
        if parameters != before {
            updated.parameters = self.encrypt_parameters(id, &parameters)?;
        }
        let prometheus = match prometheus::find(tx, id).await? {
            None if plan.is_some_and(|plan| plan.prometheus.is_some()) => {
                return Err(BrokerError::OtherKind);
            }
            None => None,
            Some(row) => {
                let current = self.decrypt_spec(&row)?;
                let spec = match plan.map(|plan| &plan.prometheus) {
                    Some(Some(terms)) => requested_spec(terms, &parameters)?,
                    Some(None) => return Err(BrokerError::OtherKind),
                    // The plan was removed from the catalog.
                    None if parameters == before => current.clone(),
                    None => return Err(BrokerError::UnknownPlan),
                };
                let row = StoredPrometheus { space_guid: updated.space_guid.clone(), ..row };
                Some(NextSpec { row, current, spec })
            }
        };
        Ok(Change { before: existing, after: updated, prometheus })
    }
}

/// The parameters after an update. The update schema of the plan must accept all changes.
fn next_parameters(
    schema: Option<&ParameterSchema>,
    before: &Map<String, Value>,
    request: &Update,
) -> Result<Map<String, Value>, BrokerError> {
    let OmittedParameters::Reset { except } = &request.omitted_parameters else {
        if !request.parameters.is_empty() {
            check(schema, &request.parameters)?;
        }
        let mut after = before.clone();
        after.extend(request.parameters.clone());
        return Ok(after);
    };
    let mut after = request.parameters.clone();
    after.retain(|name, _| !except.contains(name));
    let kept = before.iter().filter(|(name, _)| except.contains(*name));
    after.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    let changed: Map<_, _> = changed.map(|(name, value)| (name.clone(), value.clone())).collect();
    if !changed.is_empty() {
        check(schema, &changed)?;
    }
    let is_fixed = |name: &&String| !schema.is_some_and(|schema| schema.takes(name));
    match before.keys().filter(|name| !after.contains_key(*name)).find(is_fixed) {
        None => Ok(after),
        Some(name) => Err(BrokerError::Parameter(BindingError {
            field: name.clone(),
            problem: "cannot be removed: an update cannot change it".to_owned(),
        })),
    }
}
