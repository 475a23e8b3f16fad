//! The last operation on an instance or a binding.

use super::{Broker, BrokerError, instances::find};
use crate::{
    domain::{BindingId, InstanceId, OperationKind, OperationState},
    store::operations,
};

/// The last operation on an instance or a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastOperation {
    /// `None` for requests that are completed at once.
    pub kind: Option<OperationKind>,
    pub state: OperationState,
    /// Description for users; may be empty.
    pub description: String,
}

impl Broker {
    /// The last operation on an instance, or on one of its bindings. Bindings are created at once.
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
            // The instance is read second: if it is deleted in between, the response is 410 and not
            // "succeeded".
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
