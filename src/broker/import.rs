//! Taking over the bindings of promfetcher, which are bindings of any instance, service and plan.

use super::{Bind, Broker, BrokerError, Credentials, Scope, claim, within_patience};
use crate::{
    domain::{AppGuid, BindingId, ScrapeOptions},
    secrets::{AssociatedData, KeyError, salt},
    store::{
        ImportedBinding, ServiceBinding, ServiceInstance, Tx, bindings, imported,
        promfetcher::AppEndpoint,
    },
};
use serde_json::{Map, Value};
use std::fmt;

/// Rows of one transaction: few enough that binds at a running broker wait only briefly.
const AT_ONCE: usize = 100;

/// What became of the rows of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// Bindings that are in force from now on.
    pub imported: usize,
    /// Bindings that were imported before; also those that the platform has removed since.
    pub known: usize,
    /// Service keys, which meant nothing to promfetcher: it keeps endpoints of apps, and they
    /// name none.
    pub without_app: usize,
    /// Rows that make no usable binding.
    pub left_out: Vec<LeftOut>,
}

/// A row that makes no usable binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its binding, as it stands there.
    pub guid: String,
    /// Why.
    pub problem: String,
}

impl Broker {
    /// Makes bindings of promfetcher's endpoints. Each of them matches any
    /// instance, service and plan, and any binding of the same app that was made
    /// here is newer.
    ///
    /// Repeating it adds what is new there and changes nothing else.
    ///
    /// # Errors
    /// [`BrokerError::Store`] when the database is away; then some may be imported, and
    /// repeating it imports the rest.
    pub async fn import(&self, endpoints: &[AppEndpoint]) -> Result<Import, BrokerError> {
        let mut import = Import::default();
        let mut usable = Vec::new();
        for endpoint in endpoints {
            match self.imported(endpoint) {
                Ok(Some(binding)) => usable.push(binding),
                Ok(None) => import.without_app += 1,
                Err(Unusable::Row(problem)) => {
                    import.left_out.push(LeftOut { guid: endpoint.guid.clone(), problem });
                }
                Err(Unusable::Broker(error)) => return Err(error),
            }
        }
        for some in usable.chunks(AT_ONCE) {
            within_patience(async {
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
        within_patience(self.refresh()).await?;
        Ok(import)
    }

    /// The binding that a row makes; none for a service key.
    fn imported(&self, endpoint: &AppEndpoint) -> Result<Option<ImportedBinding>, Unusable> {
        if endpoint.app_guid.is_empty() {
            return Ok(None);
        }
        let binding_id: BindingId =
            endpoint.guid.parse().map_err(|error| Unusable::row("guid", error))?;
        let app_guid: AppGuid =
            endpoint.app_guid.parse().map_err(|error| Unusable::row("app_guid", error))?;
        let mut parameters = Map::new();
        parameters.insert("endpoint".to_owned(), Value::String(endpoint.endpoint.clone()));
        ScrapeOptions::from_parameters(&parameters)
            .map_err(|error| Unusable::row("endpoint", error.problem))?;
        let owner = AssociatedData::Binding(binding_id.as_str());
        let ours = |error: KeyError| Unusable::Broker(error.into());
        let token_salt = salt().map_err(ours)?;
        Ok(Some(ImportedBinding {
            app_guid,
            parameters: self.0.keys.encrypt(owner, &parameters).map_err(ours)?,
            token_hash: self.token_hash_of(&binding_id, &token_salt),
            token_salt,
            binding_id,
        }))
    }

    /// promfetcher kept no ids that could differ.
    pub(super) fn is_same_imported(
        &self,
        kept: &ImportedBinding,
        request: &Bind,
    ) -> Result<bool, BrokerError> {
        Ok(request.app_guid.as_ref() == Some(&kept.app_guid)
            && self.unseal(&kept.binding_id, &kept.parameters)? == request.parameters)
    }

    /// The binding to be like; an imported one is one of any instance.
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

    /// As a bind would give them.
    pub(super) fn credentials_of_imported(&self, binding: &ImportedBinding) -> Credentials {
        let scope = Scope::App(binding.app_guid.clone());
        Credentials { token: self.0.keys.token(&binding.binding_id, &binding.token_salt), scope }
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { imported, known, without_app, left_out } = self;
        write!(f, "{imported} imported, {known} known before, {without_app} of service keys, ")?;
        write!(f, "{} left out", left_out.len())?;
        for LeftOut { guid, problem } in left_out {
            write!(f, "\n  binding {guid:?}: {problem}")?;
        }
        Ok(())
    }
}

enum Unusable {
    /// The row makes no sense.
    Row(String),
    /// Our fault.
    Broker(BrokerError),
}

impl Unusable {
    fn row(column: &str, problem: impl fmt::Display) -> Self {
        Self::Row(format!("{column} {problem}"))
    }
}

async fn add(tx: &mut Tx, binding: &ImportedBinding) -> Result<bool, BrokerError> {
    // Bound here with this very id, which only a repeated request of the platform can be.
    if bindings::find(tx, &binding.binding_id).await?.is_some() {
        return Ok(false);
    }
    Ok(imported::insert(tx, binding).await?)
}
