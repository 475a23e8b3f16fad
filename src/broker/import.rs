//! Import of bindings of promfetcher. An imported binding belongs to any instance, service and
//! plan.

use super::{Bind, Broker, BrokerError, Credentials, Scope, claim, within_timeout};
use crate::{
    domain::{AppGuid, BindingId, ScrapeOptions, ServiceInstance},
    secrets::{AssociatedData, KeyError, salt},
    store::{ImportedBinding, ServiceBinding, Tx, bindings, imported, promfetcher::AppEndpoint},
};
use serde_json::{Map, Value};
use std::fmt;

/// Rows per transaction: few enough that binds at a running broker wait only briefly.
const BATCH_SIZE: usize = 100;

/// Result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// New bindings.
    pub imported: usize,
    /// Bindings that were imported before, including those that the platform has deleted since.
    pub known: usize,
    /// Service keys, which promfetcher ignored: it stored endpoints of apps, and a service key has
    /// no app.
    pub without_app: usize,
    /// Rows that cannot be imported.
    pub skipped: Vec<SkippedRow>,
}

/// A row that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedRow {
    /// Id of the binding in promfetcher.
    pub guid: String,
    pub problem: String,
}

impl Broker {
    /// Imports endpoints of promfetcher as bindings. Each belongs to any instance, service and
    /// plan. Bindings that were created here take precedence.
    ///
    /// A repeated import adds new endpoints and changes nothing else.
    ///
    /// # Errors
    /// [`BrokerError::Store`] when the database is unavailable. Then the import may be incomplete; repeat
    /// it.
    pub async fn import(&self, endpoints: &[AppEndpoint]) -> Result<ImportReport, BrokerError> {
        let mut import = ImportReport::default();
        let mut usable = Vec::new();
        for endpoint in endpoints {
            match self.imported(endpoint) {
                Ok(Some(binding)) => usable.push(binding),
                Ok(None) => import.without_app += 1,
                Err(ImportError::Row(problem)) => {
                    import.skipped.push(SkippedRow { guid: endpoint.guid.clone(), problem });
                }
                Err(ImportError::Broker(error)) => return Err(error),
            }
        }
        for some in usable.chunks(BATCH_SIZE) {
            within_timeout(async {
                let mut tx = self.0.store.begin_write().await?;
                claim(&mut tx, &self.0.keys).await?;
                for binding in some {
                    match add(&mut tx, binding).await? {
                        true => import.imported += 1,
                        false => import.known += 1,
                    }
                }
                Ok::<_, BrokerError>(tx.commit().await?)
            })
            .await?;
        }
        within_timeout(self.refresh()).await?;
        Ok(import)
    }

    /// The binding for a row; `None` for a service key.
    fn imported(&self, endpoint: &AppEndpoint) -> Result<Option<ImportedBinding>, ImportError> {
        if endpoint.app_guid.is_empty() {
            return Ok(None);
        }
        let binding_id: BindingId =
            endpoint.guid.parse().map_err(|error| ImportError::row("guid", error))?;
        let app_guid: AppGuid =
            endpoint.app_guid.parse().map_err(|error| ImportError::row("app_guid", error))?;
        let mut parameters = Map::new();
        parameters.insert("endpoint".to_owned(), Value::String(endpoint.endpoint.clone()));
        ScrapeOptions::from_parameters(&parameters)
            .map_err(|error| ImportError::row("endpoint", error.problem))?;
        let owner = AssociatedData::Binding(binding_id.as_str());
        let broker_error = |error: KeyError| ImportError::Broker(error.into());
        let token_salt = salt().map_err(broker_error)?;
        Ok(Some(ImportedBinding {
            app_guid,
            parameters: self.0.keys.encrypt(owner, &parameters).map_err(broker_error)?,
            token_hash: self.token_hash_of(&binding_id, &token_salt),
            token_salt,
            binding_id,
        }))
    }

    /// Instance, service and plan are not compared, because promfetcher did not store them.
    pub(super) fn is_same_imported(
        &self,
        existing: &ImportedBinding,
        request: &Bind,
    ) -> Result<bool, BrokerError> {
        Ok(request.app_guid.as_ref() == Some(&existing.app_guid)
            && self.decrypt(&existing.binding_id, &existing.parameters)? == request.parameters)
    }

    /// The predecessor of a rotation. An imported binding belongs to any instance.
    pub(super) async fn predecessor(
        &self,
        tx: &mut Tx,
        instance: &ServiceInstance,
        id: &BindingId,
    ) -> Result<ServiceBinding, BrokerError> {
        if let Some(own) = bindings::find(tx, id).await? {
            let same = own.instance_id == instance.instance_id;
            return same.then_some(own).ok_or(BrokerError::PredecessorUnknown);
        }
        let imported = imported::find(tx, id).await?.ok_or(BrokerError::PredecessorUnknown)?;
        let instance = instance.clone();
        Ok(ServiceBinding {
            binding_id: imported.binding_id,
            instance_id: instance.instance_id,
            service_id: instance.service_id,
            plan_id: instance.plan_id,
            app_guid: Some(imported.app_guid),
            space_guid: instance.space_guid,
            parameters: imported.parameters,
            token_hash: imported.token_hash,
            token_salt: imported.token_salt,
            predecessor_id: None,
        })
    }

    pub(super) fn credentials_of_imported(&self, binding: &ImportedBinding) -> Credentials {
        let scope = Scope::App(binding.app_guid.clone());
        Credentials { token: self.0.keys.token(&binding.binding_id, &binding.token_salt), scope }
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { imported, known, without_app, skipped } = self;
        write!(f, "{imported} imported, {known} known before, {without_app} of service keys, ")?;
        write!(f, "{} left out", skipped.len())?;
        for SkippedRow { guid, problem } in skipped {
            write!(f, "\n  binding {guid:?}: {problem}")?;
        }
        Ok(())
    }
}

enum ImportError {
    /// The row is invalid.
    Row(String),
    /// An error of the broker.
    Broker(BrokerError),
}

impl ImportError {
    fn row(column: &str, problem: impl fmt::Display) -> Self {
        Self::Row(format!("{column} {problem}"))
    }
}

async fn add(tx: &mut Tx, binding: &ImportedBinding) -> Result<bool, BrokerError> {
    // A binding with this id exists when the platform has repeated a bind.
    if bindings::find(tx, &binding.binding_id).await?.is_some() {
        return Ok(false);
    }
    Ok(imported::insert(tx, binding).await?)
}
