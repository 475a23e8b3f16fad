//! Prometheus instances, as they are stored.

use crate::domain::{InstanceId, SpaceGuid};

/// What is stored of a Prometheus instance in addition to its service instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPrometheus {
    pub instance_id: InstanceId,
    pub space_guid: SpaceGuid,
    pub replicas: u8,
    /// The [`Spec`](super::Spec), encrypted.
    pub spec: String,
    /// Salt of its token and password. Empty for instances of versions without salts.
    pub secret_salt: String,
}
