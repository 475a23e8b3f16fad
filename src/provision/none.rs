//! Where nothing is provisioned.

use super::{Failure, Provisioner, Wanted};
use crate::domain::{
    InstanceId,
    prometheus::{Admission, Refusal, Replica, Spec},
};
use futures_util::future::LocalBoxFuture;
use std::collections::HashMap;

/// Makes nothing, and touches nothing that another provisioner has made.
#[derive(Clone, Copy, Debug)]
pub struct NotProvisioned;

const WHY: &str = "no provisioner is configured (prometheus.provisioner is none)";

impl Provisioner for NotProvisioned {
    fn apply<'a>(&'a self, _: &'a Wanted) -> LocalBoxFuture<'a, Result<Vec<Replica>, Failure>> {
        Box::pin(async { Err(Failure::lasting(WHY)) })
    }

    fn remove<'a>(&'a self, _: &'a InstanceId) -> LocalBoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { Err(Failure::lasting(WHY)) })
    }

    fn observe(&self) -> HashMap<InstanceId, Vec<Replica>> {
        HashMap::new()
    }

    fn stop(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

impl Admission for NotProvisioned {
    fn admit<'a>(
        &'a self,
        _: &'a Spec,
        _: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async { Err(Refusal::NoRoom(WHY.to_owned())) })
    }

    fn capacity(&self) -> Option<u64> {
        None
    }
}
