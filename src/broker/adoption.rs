//! Instances that were made at promfetcher, which kept none of them.
//!
//! After the move the platform goes on naming them, and we would have to answer
//! that there is no such instance. While [`Broker::adopt_unknown_instances`] is
//! on, the platform's word is taken for it: the row is written when it is first
//! needed. An instance that was removed meanwhile is none that was never seen: a
//! late request must not bring it back.

use super::{Broker, BrokerError};
use crate::{
    domain::{InstanceId, OrganizationGuid, PlanId, Service, SpaceGuid},
    store::{Names, ServiceInstance, Tx, imported, instances},
};
use serde_json::Map;
use std::sync::atomic::Ordering;

/// Where an instance is, as far as a request says; a provision always does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrgSpace {
    /// Its organization.
    pub organization_guid: Option<OrganizationGuid>,
    /// Its space.
    pub space_guid: Option<SpaceGuid>,
}

/// What a request says about an instance that may have to be adopted.
pub(super) struct Unseen<'a> {
    pub(super) service: &'a Service,
    pub(super) plan_id: Option<&'a PlanId>,
    pub(super) place: &'a OrgSpace,
}

impl Broker {
    /// Whether instances that were never seen are taken for ours from now on.
    pub fn adopt_unknown_instances(&self, adopt: bool) {
        self.0.adopts.store(adopt, Ordering::Relaxed);
    }

    fn adopts(&self) -> bool {
        self.0.adopts.load(Ordering::Relaxed)
    }

    /// The instance; one that was never seen is written first, if that is asked
    /// for and the request says enough.
    pub(super) async fn find_or_adopt(
        &self,
        tx: &mut Tx,
        id: &InstanceId,
        unseen: Unseen<'_>,
    ) -> Result<ServiceInstance, BrokerError> {
        if let Some(known) = instances::find(tx, id).await? {
            return Ok(known);
        }
        let OrgSpace { organization_guid, space_guid } = unseen.place.clone();
        let (Some(plan_id), Some(organization_guid), Some(space_guid)) =
            (unseen.plan_id, organization_guid, space_guid)
        else {
            return Err(BrokerError::InstanceUnknown);
        };
        // promfetcher made none of these, and the row alone would be no server.
        let is_prometheus =
            unseen.service.plan(plan_id).is_some_and(|plan| plan.prometheus.is_some());
        if !self.adopts() || is_prometheus || imported::is_deleted(tx, id).await? {
            return Err(BrokerError::InstanceUnknown);
        }
        let instance = ServiceInstance {
            instance_id: id.clone(),
            service_id: unseen.service.id.clone(),
            plan_id: plan_id.clone(),
            organization_guid,
            space_guid,
            names: Names::default(),
            maintenance_version: None,
            parameters: self.seal_of_instance(id, &Map::new())?,
        };
        match instances::insert(tx, &instance).await? {
            true => {
                tracing::info!(instance.id = %id, "instance adopted");
                Ok(instance)
            }
            // Unreachable while the lock holds; the unique key is the truth all the same.
            false => Err(BrokerError::InstanceConflict),
        }
    }

    /// Removes an instance that is there.
    pub(super) async fn delete(&self, tx: &mut Tx, id: &InstanceId) -> Result<(), BrokerError> {
        instances::delete(tx, id).await?;
        if self.adopts() {
            imported::mark_deleted(tx, id).await?;
        }
        Ok(())
    }

    /// Removes an instance that is not there: adopted and removed in one, its row is never seen.
    pub(super) async fn let_unseen_depart(
        &self,
        tx: &mut Tx,
        id: &InstanceId,
    ) -> Result<(), BrokerError> {
        if !self.adopts() || imported::is_deleted(tx, id).await? {
            return Err(BrokerError::InstanceGone);
        }
        Ok(imported::mark_deleted(tx, id).await?)
    }
}
