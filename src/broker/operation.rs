//! The last operation on an instance or a binding.

use super::{Broker, BrokerError, instances::find};
use crate::domain::{BindingId, InstanceId};

/// How the last operation ended; it always has when somebody can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastOperation {
    /// What is there is as it was asked for.
    Succeeded,
}

impl Broker {
    /// How the last operation on an instance, or on one of its bindings, ended.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] or [`BrokerError::BindingUnknown`].
    pub async fn last_operation(
        &self,
        instance: &InstanceId,
        binding: Option<&BindingId>,
    ) -> Result<LastOperation, BrokerError> {
        match binding {
            Some(binding) => self.fetch_binding(instance, binding).await.map(drop)?,
            None => self.reading(async |tx| find(tx, instance).await.map(drop)).await?,
        }
        Ok(LastOperation::Succeeded)
    }
}
