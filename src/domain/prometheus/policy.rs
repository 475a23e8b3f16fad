//! Validation of a Prometheus instance before its operation is stored.

use super::Spec;
use crate::domain::BindingError;
use futures_util::future::LocalBoxFuture;
use std::fmt::Debug;

/// Decides whether an instance can be provisioned. Request handlers call it, in contrast to a
/// provisioner.
pub trait ProvisionPolicy: Debug + Send + Sync {
    /// Checks whether an instance with `spec` can be provisioned now. With `before`, checks whether
    /// an instance can be changed from that spec.
    fn validate<'a>(
        &'a self,
        spec: &'a Spec,
        before: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>>;

    /// Maximum number of replicas of all instances. `None` means no limit.
    fn capacity(&self) -> Option<u64>;
}

/// Reasons why an instance is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A parameter, which the user can change.
    #[error(transparent)]
    Parameter(BindingError),
    /// A problem that only the operator can solve, as a sentence for the user.
    #[error("{0}")]
    Capacity(String),
}
