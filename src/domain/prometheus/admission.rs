//! Validation of a Prometheus before its operation is stored.

use super::Spec;
use crate::domain::BindingError;
use futures_util::future::LocalBoxFuture;
use std::fmt::Debug;

/// Says whether a Prometheus can be created or changed, before anything is stored. The threads that
/// serve requests call it.
pub trait Admission: Debug + Send + Sync {
    /// Whether a Prometheus like `spec` can be made of what is there now, or one
    /// like `before` changed into it.
    fn admit<'a>(
        &'a self,
        spec: &'a Spec,
        before: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>>;

    /// How many replicas of all instances can be there at once; none: no limit.
    fn capacity(&self) -> Option<u64>;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user can change the request.
    #[error(transparent)]
    Parameter(BindingError),
    /// Only the operator can help. A sentence for the user.
    #[error("{0}")]
    NoRoom(String),
}
