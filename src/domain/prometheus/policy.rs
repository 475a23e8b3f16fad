//! Who is asked before a Prometheus is ordered, and why it may be refused.

use super::Spec;
use crate::domain::BindingError;
use futures_util::future::LocalBoxFuture;
use std::fmt::Debug;

/// Tells before anything is stored whether it can be made. Unlike what makes
/// it, it is asked by the threads that serve requests.
pub trait ProvisionPolicy: Debug + Send + Sync {
    /// Whether a Prometheus like `spec` can be made of what is there now, or one
    /// like `before` changed into it.
    fn validate<'a>(
        &'a self,
        spec: &'a Spec,
        before: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>>;

    /// How many replicas of all instances can be there at once; none: no limit.
    fn capacity(&self) -> Option<u64>;
}

/// Why something cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user can change that.
    #[error(transparent)]
    Parameter(BindingError),
    /// Only the operator can; reads as a sentence for the user.
    #[error("{0}")]
    NoRoom(String),
}
