//! Validation of a Prometheus instance before its operation is stored.

use super::Spec;
use crate::domain::BindingError;
use futures_util::future::LocalBoxFuture;
use std::fmt::Debug;

/// Decides whether an instance can be provisioned. Unlike a provisioner it is called by the threads
/// that serve requests.
pub trait ProvisionPolicy: Debug + Send + Sync {
    /// Whether an instance with `spec` can be provisioned now, or an instance with the spec
    /// `before` can be changed to it.
    fn validate<'a>(
        &'a self,
        spec: &'a Spec,
        before: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>>;

    /// Maximum number of replicas of all instances; `None`: no limit.
    fn capacity(&self) -> Option<u64>;
}

/// Why an instance is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A parameter that the user can change.
    #[error(transparent)]
    Parameter(BindingError),
    /// A problem that only the operator can solve, as a sentence for the user.
    #[error("{0}")]
    NoRoom(String),
}
