//! `prometheus.provisioner: none`.

use super::{DesiredInstance, Failure, Provisioner};
use crate::domain::{
    InstanceId,
    prometheus::{ProvisionPolicy, Refusal, Replica, Spec},
};
use futures_util::future::LocalBoxFuture;
use std::collections::HashMap;

/// Refuses every operation. Instances of another provisioner are left unchanged.
#[derive(Clone, Copy, Debug)]
pub struct DisabledProvisioner;

const REASON: &str = "no provisioner is configured (prometheus.provisioner is none)";

impl Provisioner for DisabledProvisioner {
    fn apply<'a>(
        &'a self,
        _: &'a DesiredInstance,
    ) -> LocalBoxFuture<'a, Result<Vec<Replica>, Failure>> {
        Box::pin(async { Err(Failure::permanent(REASON)) })
    }

    fn remove<'a>(&'a self, _: &'a InstanceId) -> LocalBoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { Err(Failure::permanent(REASON)) })
    }

    fn observe(&self) -> HashMap<InstanceId, Vec<Replica>> {
        HashMap::new()
    }

    fn stop(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

impl ProvisionPolicy for DisabledProvisioner {
    fn validate<'a>(
        &'a self,
        _: &'a Spec,
        _: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async { Err(Refusal::Capacity(REASON.to_owned())) })
    }

    fn capacity(&self) -> Option<u64> {
        None
    }
}
