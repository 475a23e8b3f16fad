//! Updates of Tsuru, with or without parameters that were refused before.

use super::{
    TsuruError,
    fields::typed,
    path::{InstancePath, checked},
};
use crate::{
    broker::{
        Broker, FetchedInstance, OmittedParameters, OrgSpace, RefusedUpdate, Update, Updated,
    },
    domain::{InstanceNames, ParameterSchema, Plan, tsuru_ids},
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// An update of Tsuru. It contains the complete desired state.
pub(super) struct UpdateCall<'a> {
    pub(super) instance: &'a InstancePath,
    /// The new team, if the request contains one.
    pub(super) team: Option<&'a str>,
    pub(super) desired: RefusedUpdate,
}

/// Values that this update does not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    plan: bool,
    parameters: BTreeSet<String>,
}

impl UpdateCall<'_> {
    /// Applies the update without the values in `kept`.
    pub(super) async fn apply(&self, broker: &Broker, kept: &Kept) -> Result<Updated, TsuruError> {
        let service = self.instance.service.service()?;
        let current = broker.fetch(&self.instance.id).await?;
        let plan = match &self.desired.plan {
            Some(name) if !kept.plan => Some(self.instance.service.plan(Some(name))?),
            _ => service.plan(&current.plan_id),
        };
        let except = match plan {
            Some(_) => kept.parameters.clone(),
            // The plan was removed from the catalog, so its parameters are unknown.
            None => {
                let current = broker.stored_parameters(&self.instance.id).await?;
                self.parameter_names(&current).cloned().collect()
            }
        };
        let request = Update {
            instance_id: self.instance.id.clone(),
            service_id: service.id.clone(),
            plan_id: plan.map(|plan| plan.id.clone()),
            names: names(self.team, None, Some(&self.instance.name)),
            parameters: typed(self.desired.parameters.clone(), schemas(plan)),
            omitted_parameters: OmittedParameters::Reset { except },
            target_space: self.target_space(&current)?,
            maintenance_version: None,
            previous_plan_id: None,
            org_space: OrgSpace::default(),
            accepts_incomplete: true,
        };
        Ok(broker.update(request).await?)
    }

    /// The values that were refused before and are requested again.
    pub(super) async fn kept(&self, broker: &Broker) -> Result<Option<Kept>, TsuruError> {
        let Some(refused) = broker.refused_update(&self.instance.id).await? else {
            return Ok(None);
        };
        let current = broker.stored_parameters(&self.instance.id).await?;
        let is_repeated =
            |name: &&String| self.desired.parameters.get(*name) == refused.parameters.get(*name);
        Ok(Some(Kept {
            plan: self.desired.plan == refused.plan,
            parameters: self.parameter_names(&current).filter(is_repeated).cloned().collect(),
        }))
    }

    fn parameter_names<'a>(
        &'a self,
        current: &'a Map<String, Value>,
    ) -> impl Iterator<Item = &'a String> {
        self.desired.parameters.keys().chain(current.keys())
    }

    fn target_space(&self, current: &FetchedInstance) -> Result<OrgSpace, TsuruError> {
        let Some(team) = self.team else { return Ok(OrgSpace::default()) };
        let pool = tsuru_ids::pool_of(&current.organization_guid, &current.space_guid);
        Ok(OrgSpace {
            organization_guid: Some(checked("team", tsuru_ids::organization(team))?),
            space_guid: Some(checked("team and pool", tsuru_ids::space(team, pool))?),
        })
    }
}

/// Names of the values of a refused update that are not effective.
pub(super) fn not_effective(
    instance: &InstancePath,
    refused: &RefusedUpdate,
    current: &FetchedInstance,
    parameters: &Map<String, Value>,
) -> Result<String, TsuruError> {
    let plan = instance.service.service()?.plan(&current.plan_id);
    let mut names = Vec::new();
    if let Some(name) = &refused.plan
        && plan.is_none_or(|plan| plan.name != *name)
    {
        names.push(format!("plan {name}"));
    }
    let requested = typed(refused.parameters.clone(), schemas(plan));
    let all: BTreeSet<_> = requested.keys().chain(parameters.keys()).collect();
    let differing = all.into_iter().filter(|name| requested.get(*name) != parameters.get(*name));
    names.extend(differing.map(|name| format!("parameter {name}")));
    Ok(names.join(", "))
}

/// The schemas of a plan. Parameters that only the provision schema contains cannot be changed by
/// an update.
fn schemas(plan: Option<&Plan>) -> impl Iterator<Item = &ParameterSchema> {
    plan.into_iter().flat_map(|plan| [&plan.update, &plan.provision]).flatten()
}

/// Names for display.
pub(super) fn names(
    team: Option<&str>,
    pool: Option<&str>,
    instance: Option<&str>,
) -> InstanceNames {
    let non_empty = |name: Option<&str>| name.filter(|name| !name.is_empty()).map(str::to_owned);
    InstanceNames {
        organization: non_empty(team),
        space: non_empty(pool),
        instance: non_empty(instance),
    }
}
