//! Refused updates that the platform keeps in its own state.
//!
//! Tsuru stores the plan and the parameters of an instance before it requests the update, and keeps
//! them when the update is refused (tsuru/tsuru, service/actions.go, `updateServiceInstance`). Each
//! later update contains them again. The refused values are stored here, so that they do not block
//! other changes of a later update.

use super::{Broker, BrokerError, error::cannot_decrypt, instances::find};
use crate::{domain::InstanceId, secrets::AssociatedData, store::refused_updates};
use serde_json::{Map, Value};

/// Plan and parameters of a refused update.
///
/// Not `Debug`: its parameters may be secrets.
#[derive(Clone, Default, PartialEq)]
pub struct RefusedUpdate {
    /// Name of the plan; `None` if the request has none.
    pub plan: Option<String>,
    /// The parameters as they were received.
    pub parameters: Map<String, Value>,
}

impl Broker {
    /// The last refused update of an instance, unless an update was accepted since then.
    ///
    /// # Errors
    /// [`BrokerError::Store`] when the database is unavailable.
    pub async fn refused_update(
        &self,
        id: &InstanceId,
    ) -> Result<Option<RefusedUpdate>, BrokerError> {
        let encrypted =
            self.read_transaction(async |tx| Ok(refused_updates::find(tx, id).await?)).await?;
        let Some(encrypted) = encrypted else { return Ok(None) };
        let owner = AssociatedData::RefusedUpdate(id.as_str());
        let column = "tsuru_refused_updates.request";
        let mut request =
            self.0.keys.decrypt(owner, &encrypted).ok_or_else(|| cannot_decrypt(column))?;
        let parameters = match request.remove("parameters") {
            Some(Value::Object(parameters)) => parameters,
            _ => Map::new(),
        };
        let plan = request.get("plan").and_then(Value::as_str).map(str::to_owned);
        Ok(Some(RefusedUpdate { plan, parameters }))
    }

    /// Stores a refused update; `None` after an accepted update.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] when there is no such instance.
    pub async fn store_refused_update(
        &self,
        id: &InstanceId,
        refused: Option<&RefusedUpdate>,
    ) -> Result<(), BrokerError> {
        let encrypted = match refused {
            None => None,
            Some(RefusedUpdate { plan, parameters }) => {
                let request = Map::from_iter([
                    ("plan".to_owned(), Value::from(plan.clone())),
                    ("parameters".to_owned(), Value::Object(parameters.clone())),
                ]);
                Some(self.0.keys.encrypt(AssociatedData::RefusedUpdate(id.as_str()), &request)?)
            }
        };
        self.write_transaction(id, async |tx| {
            find(tx, id).await?;
            match &encrypted {
                Some(encrypted) => refused_updates::put(tx, id, encrypted).await?,
                None => refused_updates::delete(tx, id).await?,
            }
            Ok(())
        })
        .await
    }
}
