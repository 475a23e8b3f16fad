//! All service instances with their bindings, for operators.

use super::{Broker, BrokerError};
use crate::{
    domain::{BindingId, InstanceId},
    store::{bindings, instances},
};
use std::collections::BTreeMap;

impl Broker {
    /// The ids of all service instances, each with the ids of its bindings, sorted. Unreadable rows
    /// are skipped.
    ///
    /// # Errors
    /// [`BrokerError::Store`] when the database is unavailable.
    pub async fn list(&self) -> Result<BTreeMap<InstanceId, Vec<BindingId>>, BrokerError> {
        self.read_transaction(async |tx| {
            let ids = instances::ids(tx).await?;
            let mut all: BTreeMap<_, _> = ids.into_iter().map(|id| (id, Vec::new())).collect();
            for binding in bindings::all(tx).await?.into_iter().flatten() {
                all.entry(binding.instance_id).or_default().push(binding.binding_id);
            }
            all.values_mut().for_each(|bindings| bindings.sort_unstable());
            Ok(all)
        })
        .await
    }
}
