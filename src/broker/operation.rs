//! The last operation on an instance or a binding.

use super::{Broker, BrokerError, instances::find};
use crate::{
    domain::{BindingId, InstanceId, OperationKind, OperationState},
    store::operations,
};

/// How far the last operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastOperation {
    /// What is or was done; none for what is done at once.
    pub kind: Option<OperationKind>,
    /// How far it is.
    pub state: OperationState,
    /// What people are told of it; may be empty.
    pub description: String,
}

impl Broker {
    /// How far the last operation on an instance, or on one of its bindings, is.
    /// Bindings are made at once.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] or [`BrokerError::BindingUnknown`].
    pub async fn last_operation(
        &self,
        instance: &InstanceId,
        binding: Option<&BindingId>,
    ) -> Result<LastOperation, BrokerError> {
        let at_once = LastOperation {
            kind: None,
            state: OperationState::Succeeded,
            description: String::new(),
        };
        if let Some(binding) = binding {
            self.fetch_binding(instance, binding).await?;
            return Ok(at_once);
        }
        self.read_transaction(async |tx| {
            // The instance second: a removal that ends in between is answered as gone, not as succeeded.
            let operation = operations::find(tx, instance).await?;
            find(tx, instance).await?;
            Ok(operation.map_or(at_once, |it| LastOperation {
                kind: Some(it.kind),
                state: it.state,
                description: it.description,
            }))
        })
        .await
    }
}
