//! Stored data of Prometheus instances.

use crate::domain::{InstanceId, SpaceGuid};

/// The data that is stored for a Prometheus instance in addition to its service instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPrometheus {
    pub instance_id: InstanceId,
    pub space_guid: SpaceGuid,
    pub replicas: u8,
    /// The [`Spec`](super::Spec), encrypted.
    pub spec: String,
    /// Salt of the instance's token and password. It is empty for instances that were created by
    /// versions without salts.
    pub secret_salt: String,
}
