//! Stored data of service instances.

use super::{InstanceId, OrganizationGuid, PlanId, ServiceId, SpaceGuid};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInstance {
    pub instance_id: InstanceId,
    pub service_id: ServiceId,
    pub plan_id: PlanId,
    pub organization_guid: OrganizationGuid,
    pub space_guid: SpaceGuid,
    /// Names from the platform's last request, for display.
    pub names: InstanceNames,
    /// The plan's maintenance version when the instance was created or last upgraded.
    pub maintenance_version: Option<String>,
    /// Encrypted parameters.
    pub parameters: String,
}

/// Names of an instance, its organization and its space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceNames {
    pub organization: Option<String>,
    pub space: Option<String>,
    pub instance: Option<String>,
}
