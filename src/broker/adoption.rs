//! Adoption of service instances of promfetcher, which stored no instances.
//!
//! After a migration the platform requests instances that are not in the database. While
//! [`Broker::adopt_unknown_instances`] is on, such an instance is stored when it is first used. An
//! instance that was deleted is not adopted: a late request must not restore it.

use super::{Broker, BrokerError};
use crate::{
    domain::{
        InstanceId, InstanceNames, OrganizationGuid, PlanId, Service, ServiceInstance, SpaceGuid,
    },
    store::{Tx, imported, instances},
};
use serde_json::Map;
use std::sync::atomic::Ordering;

/// Organization and space of an instance, as far as a request contains them. A provision request
/// always does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrgSpace {
    pub organization_guid: Option<OrganizationGuid>,
    pub space_guid: Option<SpaceGuid>,
}

/// Data of a request about an instance that may have to be adopted.
pub(super) struct UnknownInstance<'a> {
    pub(super) service: &'a Service,
    pub(super) plan_id: Option<&'a PlanId>,
    pub(super) org_space: &'a OrgSpace,
}

impl Broker {
    /// Turns the adoption of unknown instances on or off.
    pub fn adopt_unknown_instances(&self, adopt: bool) {
        self.0.adopts_unknown.store(adopt, Ordering::Relaxed);
    }

    fn adopts_unknown(&self) -> bool {
        self.0.adopts_unknown.load(Ordering::Relaxed)
    }

    /// Finds the instance. An unknown instance is adopted if adoption is enabled and the request
    /// contains the required data.
    pub(super) async fn find_or_adopt(
        &self,
        tx: &mut Tx,
        id: &InstanceId,
        unknown: UnknownInstance<'_>,
    ) -> Result<ServiceInstance, BrokerError> {
        if let Some(known) = instances::find(tx, id).await? {
            return Ok(known);
        }
        let OrgSpace { organization_guid, space_guid } = unknown.org_space.clone();
        let (Some(plan_id), Some(organization_guid), Some(space_guid)) =
            (unknown.plan_id, organization_guid, space_guid)
        else {
            return Err(BrokerError::InstanceUnknown);
        };
        // promfetcher had no Prometheus instances, and a stored row alone does not run a
        // Prometheus.
        let is_prometheus =
            unknown.service.plan(plan_id).is_some_and(|plan| plan.prometheus.is_some());
        if !self.adopts_unknown() || is_prometheus || imported::is_deleted(tx, id).await? {
            return Err(BrokerError::InstanceUnknown);
        }
        let instance = ServiceInstance {
            instance_id: id.clone(),
            service_id: unknown.service.id.clone(),
            plan_id: plan_id.clone(),
            organization_guid,
            space_guid,
            names: InstanceNames::default(),
            maintenance_version: None,
            parameters: self.encrypt_parameters(id, &Map::new())?,
        };
        match instances::insert(tx, &instance).await? {
            true => {
                tracing::info!(instance.id = %id, "instance adopted");
                Ok(instance)
            }
            // Unreachable because of the lock. The unique key is checked nevertheless.
            false => Err(BrokerError::InstanceConflict),
        }
    }

    /// Deletes an existing instance.
    pub(super) async fn delete(&self, tx: &mut Tx, id: &InstanceId) -> Result<(), BrokerError> {
        instances::delete(tx, id).await?;
        if self.adopts_unknown() {
            imported::mark_deleted(tx, id).await?;
        }
        Ok(())
    }

    /// Handles the deletion of an unknown instance: with adoption enabled it succeeds once.
    pub(super) async fn record_unknown_deletion(
        &self,
        tx: &mut Tx,
        id: &InstanceId,
    ) -> Result<(), BrokerError> {
        if !self.adopts_unknown() || imported::is_deleted(tx, id).await? {
            return Err(BrokerError::InstanceGone);
        }
        Ok(imported::mark_deleted(tx, id).await?)
    }
}
