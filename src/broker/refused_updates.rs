//! Updates that were refused although the platform keeps what they asked for.
//!
//! Tsuru stores the plan and the parameters of an instance before it asks for the update, and
//! keeps them when that is refused (tsuru/tsuru, service/actions.go, `updateServiceInstance`).
//! Each later update asks for them again. What was refused is stored, so that it does not block
//! what else a later update asks for.

use super::{Broker, BrokerError, error::unsealable, instances::find};
use crate::{domain::InstanceId, secrets::AssociatedData, store::refused_updates};
use serde_json::{Map, Value};

/// What an update asked for.
///
/// Not `Debug`: its parameters may be secrets.
#[derive(Clone, Default, PartialEq)]
pub struct RefusedUpdate {
    /// The name of the plan; none if the request has none.
    pub plan: Option<String>,
    /// The parameters as they came.
    pub parameters: Map<String, Value>,
}

impl Broker {
    /// The update of an instance that was refused last, unless one was accepted since then.
    ///
    /// # Errors
    /// [`BrokerError::Store`] when the database is away.
    pub async fn refused_update(
        &self,
        id: &InstanceId,
    ) -> Result<Option<RefusedUpdate>, BrokerError> {
        let sealed = self.reading(async |tx| Ok(refused_updates::find(tx, id).await?)).await?;
        let Some(sealed) = sealed else { return Ok(None) };
        let owner = AssociatedData::RefusedUpdate(id.as_str());
        let column = "tsuru_refused_updates.request";
        let mut request = self.0.keys.decrypt(owner, &sealed).ok_or_else(|| unsealable(column))?;
        let parameters = match request.remove("parameters") {
            Some(Value::Object(parameters)) => parameters,
            _ => Map::new(),
        };
        let plan = request.get("plan").and_then(Value::as_str).map(str::to_owned);
        Ok(Some(RefusedUpdate { plan, parameters }))
    }

    /// Stores an update that was refused; none: the last one was accepted.
    ///
    /// # Errors
    /// [`BrokerError::InstanceUnknown`] when there is no such instance.
    pub async fn note_refused_update(
        &self,
        id: &InstanceId,
        refused: Option<&RefusedUpdate>,
    ) -> Result<(), BrokerError> {
        let sealed = match refused {
            None => None,
            Some(RefusedUpdate { plan, parameters }) => {
                let request = Map::from_iter([
                    ("plan".to_owned(), Value::from(plan.clone())),
                    ("parameters".to_owned(), Value::Object(parameters.clone())),
                ]);
                Some(self.0.keys.encrypt(AssociatedData::RefusedUpdate(id.as_str()), &request)?)
            }
        };
        self.exclusively(id, async |tx| {
            find(tx, id).await?;
            match &sealed {
                Some(sealed) => refused_updates::put(tx, id, sealed).await?,
                None => refused_updates::delete(tx, id).await?,
            }
            Ok(())
        })
        .await
    }
}
