//! Service instances: update.
//!
//! What is only stored is changed at once. What a Prometheus would have to be
//! like is ordered, and undone by who carries it out when it cannot be.

use super::{
    Broker, BrokerError, OrgSpace, UsesQuotas,
    adoption::Unseen,
    check_maintenance,
    instances::check,
    prometheus::{Ordered, put_operation},
};
use crate::{
    domain::{
        BindingError, InstanceId, OperationKind, OperationState, ParameterSchema, PlanId, Service,
        ServiceId, prometheus::Spec,
    },
    secrets::AssociatedData,
    store::{
        Names, PreviousState, PrometheusInstance, ServiceInstance, Tx, instances, operations,
        prometheus,
    },
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A request to change a service instance.
///
/// Not `Debug`: its parameters may be secrets.
#[derive(Clone)]
pub struct Update {
    /// The instance.
    pub instance_id: InstanceId,
    /// Its service, which cannot change.
    pub service_id: ServiceId,
    /// Its plan from now on; none: as it is.
    pub plan_id: Option<PlanId>,
    /// What people call it now; what is missing stays.
    pub names: Names,
    /// The parameters that the request names.
    pub parameters: Map<String, Value>,
    /// What happens to the others.
    pub unnamed: Unnamed,
    /// The organization and space that it moves to; none: where it is. Its bindings do not move:
    /// a service key was given to those who could read its space then.
    pub moves_to: OrgSpace,
    /// `maintenance_info.version`.
    pub maintenance_version: Option<String>,
    /// Its plan until now, if the request says so.
    pub previous_plan_id: Option<PlanId>,
    /// Where it is, if the request says so.
    pub place: OrgSpace,
    /// Whether the platform waits for what takes longer than a request.
    pub accepts_incomplete: bool,
}

/// What happens to parameters that an update does not name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unnamed {
    /// They stay: Cloud Controller sends `{}` when its user gave none (contract: osb.md 1.5).
    #[default]
    Keep,
    /// They are reset, since the request names all that there are to be.
    Reset {
        /// These stay as they are, whatever the request says.
        except: BTreeSet<String>,
    },
}

/// What a successful [`Broker::update`] comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updated {
    /// It is as it was asked for.
    Done,
    /// It is being changed, since now or before.
    InProgress(Ordered),
}

/// What a request makes of an instance.
struct Change {
    before: ServiceInstance,
    after: ServiceInstance,
    prometheus: Option<NextSpec>,
}

/// What it makes of a Prometheus.
struct NextSpec {
    /// With the space of the instance after the change.
    row: PrometheusInstance,
    current: Spec,
    spec: Spec,
}

impl Change {
    /// Whether only names, organization or space differ, if anything.
    fn is_of_owner_only(&self) -> bool {
        self.before.plan_id == self.after.plan_id && self.before.parameters == self.after.parameters
    }

    /// Stores the instance; tells whether that differs.
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
    /// Changes a service instance; a change to what it is already is none.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] when there is none,
    /// [`BrokerError::PlanNotUpdateable`] when its plan cannot be left; otherwise
    /// what is wrong with the request.
    pub async fn update(&self, request: Update) -> Result<Updated, BrokerError> {
        let catalog = self.catalog();
        let id = &request.instance_id;
        let service = catalog.service(&request.service_id).ok_or(BrokerError::UnknownService)?;
        // It takes its time, so it is asked before the transaction; what is decided in that is the
        // same, unless somebody else changed the instance in between.
        let admitted = self.admit_change(service, &request).await?;
        let changed = self
            .changing(id, UsesQuotas::if_some(admitted.as_ref()), async |tx| {
                let change = self.change(tx, service, &request).await?;
                let Some(next) = &change.prometheus else {
                    return Ok((change.store(tx).await?, Updated::Done));
                };
                if let Some(operation) = operations::find(tx, id).await? {
                    let ordered = Ordered { operation_id: operation.operation_id };
                    match (operation.kind, operation.state) {
                        (OperationKind::Update, OperationState::InProgress)
                            if change.before.plan_id == change.after.plan_id
                                && next.spec == next.current =>
                        {
                            let is_changed = change.is_of_owner_only() && change.store(tx).await?;
                            return Ok((is_changed, Updated::InProgress(ordered)));
                        }
                        // Tsuru sends an update for each new description.
                        (OperationKind::Provision, OperationState::InProgress)
                            if request.unnamed != Unnamed::Keep && change.is_of_owner_only() =>
                        {
                            return Ok((change.store(tx).await?, Updated::Done));
                        }
                        (kind, OperationState::InProgress) => {
                            return Err(BrokerError::Concurrency(kind));
                        }
                        (
                            OperationKind::Provision | OperationKind::Deprovision,
                            OperationState::Failed,
                        ) => return Err(BrokerError::NotMade(operation.description)),
                        _ => {}
                    }
                }
                let is_changed = change.store(tx).await?;
                if next.spec == next.current {
                    return Ok((is_changed, Updated::Done));
                }
                if admitted.as_ref() != Some(&next.spec) {
                    return Err(BrokerError::Concurrency(OperationKind::Update));
                }
                let more = next.spec.replicas.saturating_sub(next.current.replicas);
                self.check_room(tx, &next.row.space_guid, 0, more.into()).await?;
                let before = PreviousState {
                    plan_id: change.before.plan_id.clone(),
                    parameters: change.before.parameters.clone(),
                    spec: next.row.spec.clone(),
                    replicas: next.row.replicas,
                };
                let row = PrometheusInstance {
                    replicas: next.spec.replicas,
                    spec: self.seal_spec(AssociatedData::Spec(id.as_str()), &next.spec)?,
                    ..next.row.clone()
                };
                prometheus::put(tx, &row).await?;
                let ordered = put_operation(tx, id, OperationKind::Update, Some(before)).await?;
                Ok((true, Updated::InProgress(ordered)))
            })
            .await?;
        let (is_changed, outcome) = changed;
        if is_changed {
            tracing::info!(instance.id = %id, "instance updated");
        }
        if matches!(outcome, Updated::InProgress(_)) {
            self.ordered();
        }
        Ok(outcome)
    }

    /// Asks whether a Prometheus can be changed like that; gives what it would be.
    async fn admit_change(
        &self,
        service: &Service,
        request: &Update,
    ) -> Result<Option<Spec>, BrokerError> {
        let change =
            self.reading(async |tx| match instances::find(tx, &request.instance_id).await? {
                Some(_) => self.change(tx, service, request).await.map(Some),
                // It may be adopted, which is no Prometheus.
                None => Ok(None),
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
        let is_said = match &request.unnamed {
            Unnamed::Keep => request.parameters.contains_key("retention"),
            Unnamed::Reset { except } => {
                request.parameters.contains_key("retention") && !except.contains("retention")
            }
        };
        next.current.check_change(&next.spec, is_said)?;
        self.admit(&next.spec, Some(&next.current)).await?;
        Ok(Some(next.spec))
    }

    /// What a request makes of an instance.
    async fn change(
        &self,
        tx: &mut Tx,
        service: &Service,
        request: &Update,
    ) -> Result<Change, BrokerError> {
        let id = &request.instance_id;
        let unseen = Unseen {
            service,
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
        let OrgSpace { organization_guid, space_guid } = request.moves_to.clone();
        updated.organization_guid = organization_guid.unwrap_or(updated.organization_guid);
        updated.space_guid = space_guid.unwrap_or(updated.space_guid);
        let Names { organization, space, instance } = request.names.clone();
        updated.names = Names {
            organization: organization.or(updated.names.organization),
            space: space.or(updated.names.space),
            instance: instance.or(updated.names.instance),
        };
        updated.maintenance_version =
            request.maintenance_version.clone().or(updated.maintenance_version);
        let before = self.parameters_of(&existing)?;
        let schema = plan.and_then(|plan| plan.update.as_ref());
        let parameters = next_parameters(schema, &before, request)?;
        // Sealed twice, the same looks different.
        if parameters != before {
            updated.parameters = self.seal_of_instance(id, &parameters)?;
        }
        let prometheus = match prometheus::find(tx, id).await? {
            None if plan.is_some_and(|plan| plan.prometheus.is_some()) => {
                return Err(BrokerError::OtherKind);
            }
            None => None,
            Some(row) => {
                let current = self.unseal_spec(&row)?;
                let spec = match plan.map(|plan| &plan.prometheus) {
                    Some(Some(terms)) => self.wanted(terms, &parameters)?.spec,
                    Some(None) => return Err(BrokerError::OtherKind),
                    // The plan has left the catalog.
                    None if parameters == before => current.clone(),
                    None => return Err(BrokerError::UnknownPlan),
                };
                let row = PrometheusInstance { space_guid: updated.space_guid.clone(), ..row };
                Some(NextSpec { row, current, spec })
            }
        };
        Ok(Change { before: existing, after: updated, prometheus })
    }
}

/// The parameters after an update. What it changes must be what the schema of the plan takes.
fn next_parameters(
    schema: Option<&ParameterSchema>,
    before: &Map<String, Value>,
    request: &Update,
) -> Result<Map<String, Value>, BrokerError> {
    let Unnamed::Reset { except } = &request.unnamed else {
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
