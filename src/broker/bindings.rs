//! Service bindings: bind, rotate, fetch, unbind.
//!
//! A binding of an app contains the options for scraping the app, and its token gives access to the
//! app. A service key has no app; its token gives access to the space of the instance.

use super::{
    Broker, BrokerError, OrgSpace, Scope, adoption::UnknownInstance, binding_table::BindingKind,
    error::cannot_decrypt, find_plan, instances::find,
};
use crate::{
    domain::{
        AppGuid, BindingId, InstanceId, OperationKind, OperationState, Plan, PlanId, ScrapeOptions,
        ServiceId, ServiceInstance, SpaceGuid, TsuruApp, tsuru_ids::is_tsuru_id,
    },
    secrets::{AssociatedData, salt, token_hash},
    store::{
        Operation, ServiceBinding, StoreError, Tx, bindings, events, imported, operations,
        prometheus, retained_salts, tsuru_apps,
    },
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

/// A request for a binding (with an app) or a service key (without).
///
/// Not `Debug`: its parameters may be secrets.
#[derive(Clone)]
pub struct Bind {
    pub instance_id: InstanceId,
    pub binding_id: BindingId,
    pub service_id: ServiceId,
    pub plan_id: PlanId,
    /// The app; `None` for a service key.
    pub app_guid: Option<AppGuid>,
    /// Scrape settings of the app ([`ScrapeOptions`]).
    pub parameters: Map<String, Value>,
    /// Organization and space, if the request contains them.
    pub org_space: OrgSpace,
    /// Whether it replaces a different binding with the same id and instance. Otherwise such a
    /// binding is a conflict.
    pub replaces: bool,
    /// Data of the app from Tsuru. It is not compared with an existing binding, and replaces the
    /// previous data.
    pub tsuru: Option<TsuruApp>,
}

/// A request for a copy of a binding with a new token (OSB 2.17, "Binding Rotation").
#[derive(Clone, Debug)]
pub struct Rotate {
    pub instance_id: InstanceId,
    pub binding_id: BindingId,
    /// The binding to copy. It stays until it is deleted.
    pub predecessor_id: BindingId,
}

/// Outcome of [`Broker::bind`].
#[derive(Clone, Debug)]
pub enum Bound {
    /// The binding was created.
    Created(Credentials),
    /// An equal binding already exists.
    AlreadyExists(Credentials),
}

/// The token of a binding and its scope.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The token. It is the same until the binding is deleted.
    pub token: SecretString,
    pub scope: Scope,
}

/// A binding without secret parameters, for the platform.
#[derive(Clone, Debug)]
pub struct FetchedBinding {
    /// The credentials that the bind returned.
    pub credentials: Credentials,
    /// The parameters without the secret ones.
    pub parameters: Map<String, Value>,
}

impl Broker {
    /// Creates a binding, or finds an equal one.
    ///
    /// An existing binding is compared before the request is validated: an equal request is
    /// answered as before. A different one is a conflict, or replaces the binding after its
    /// validation.
    ///
    /// # Errors
    /// [`BrokerError::BindingConflict`] when a different binding has the id,
    /// [`BrokerError::InstanceUnknown`] when there is no such instance; otherwise the problem of the
    /// request.
    pub async fn bind(&self, request: Bind) -> Result<Bound, BrokerError> {
        let catalog = self.catalog();
        let work = async |tx: &mut Tx| {
            let existing = bindings::find(tx, &request.binding_id).await?;
            if let Some(existing) = &existing {
                if self.is_same_binding(existing, &request)? {
                    put_tsuru_app(tx, &request).await?;
                    return Ok(Bound::AlreadyExists(self.credentials_of(tx, existing).await?));
                }
                if !request.replaces || existing.instance_id != request.instance_id {
                    return Err(BrokerError::BindingConflict);
                }
            }
            if let Some(imported) = imported::find(tx, &request.binding_id).await? {
                return match self.is_same_imported(&imported, &request)? {
                    true => Ok(Bound::AlreadyExists(self.credentials_of_imported(&imported))),
                    false => Err(BrokerError::BindingConflict),
                };
            }
            let (service, plan) = find_plan(&catalog, &request.service_id, &request.plan_id)?;
            let unknown = UnknownInstance {
                service,
                plan_id: Some(&request.plan_id),
                org_space: &request.org_space,
            };
            let instance = self.find_or_adopt(tx, &request.instance_id, unknown).await?;
            let operation = operations::find(tx, &request.instance_id).await?;
            check_bind(plan, &instance, operation.as_ref(), &request)?;
            check_is_provisioned(operation)?;
            let token_salt = match &existing {
                Some(existing) => existing.token_salt.clone(),
                None => new_token_salt(tx, &request.binding_id, &instance.space_guid).await?,
            };
            let owner = AssociatedData::Binding(request.binding_id.as_str());
            let binding = ServiceBinding {
                binding_id: request.binding_id.clone(),
                instance_id: request.instance_id.clone(),
                service_id: request.service_id.clone(),
                plan_id: request.plan_id.clone(),
                app_guid: request.app_guid.clone(),
                // The token stays the same, so its space must not change.
                space_guid: existing
                    .as_ref()
                    .map_or(&instance.space_guid, |it| &it.space_guid)
                    .clone(),
                parameters: self.0.keys.encrypt(owner, &request.parameters)?,
                token_hash: self.token_hash_of(&request.binding_id, &token_salt),
                token_salt,
                predecessor_id: None,
            };
            let is_new = match existing {
                Some(_) => {
                    bindings::replace(tx, &binding).await?;
                    true
                }
                None => bindings::insert(tx, &binding).await?,
            };
            if !is_new {
                // Another instance has created a binding with this id in the meantime.
                return Err(BrokerError::BindingConflict);
            }
            if plan.has_events {
                events::queues::insert(tx, &request.binding_id).await?;
            }
            let bound = Bound::Created(self.credentials_of(tx, &binding).await?);
            put_tsuru_app(tx, &request).await?;
            Ok(bound)
        };
        let bound = self.write_transaction(&request.instance_id, work).await?;
        log_if_created(&bound, &request.instance_id, &request.binding_id);
        Ok(bound)
    }

    /// Creates a copy of a binding, or finds the copy.
    ///
    /// # Errors
    /// [`BrokerError::PredecessorUnknown`] when there is no such predecessor,
    /// [`BrokerError::BindingConflict`] when a different binding has the id.
    pub async fn rotate(&self, request: Rotate) -> Result<Bound, BrokerError> {
        let catalog = self.catalog();
        let work = async |tx: &mut Tx| {
            if let Some(existing) = bindings::find(tx, &request.binding_id).await? {
                // The predecessor may have been deleted since, so only its id is compared.
                let same = existing.instance_id == request.instance_id
                    && existing.predecessor_id.as_ref() == Some(&request.predecessor_id);
                return match same {
                    true => Ok(Bound::AlreadyExists(self.credentials_of(tx, &existing).await?)),
                    false => Err(BrokerError::BindingConflict),
                };
            }
            let instance = find(tx, &request.instance_id).await?;
            let predecessor = self.predecessor(tx, &instance, &request.predecessor_id).await?;
            let (_, plan) = find_plan(&catalog, &predecessor.service_id, &predecessor.plan_id)?;
            if !plan.binding_rotatable {
                return Err(BrokerError::NotRotatable);
            }
            let parameters = self.decrypt(&request.predecessor_id, &predecessor.parameters)?;
            let owner = AssociatedData::Binding(request.binding_id.as_str());
            let token_salt = salt()?;
            let binding = ServiceBinding {
                binding_id: request.binding_id.clone(),
                parameters: self.0.keys.encrypt(owner, &parameters)?,
                token_hash: self.token_hash_of(&request.binding_id, &token_salt),
                token_salt,
                predecessor_id: Some(request.predecessor_id.clone()),
                ..predecessor
            };
            match bindings::insert(tx, &binding).await? {
                true => Ok(Bound::Created(self.credentials_of(tx, &binding).await?)),
                // Another instance has created a binding with this id in the meantime.
                false => Err(BrokerError::BindingConflict),
            }
        };
        let bound = self.write_transaction(&request.instance_id, work).await?;
        log_if_created(&bound, &request.instance_id, &request.binding_id);
        Ok(bound)
    }

    /// Reads a binding.
    ///
    /// # Errors
    /// [`BrokerError::BindingUnknown`] when the instance has no such binding.
    pub async fn fetch_binding(
        &self,
        instance: &InstanceId,
        id: &BindingId,
    ) -> Result<FetchedBinding, BrokerError> {
        self.read_transaction(async |tx| {
            let (credentials, encrypted) = match bindings::find(tx, id).await? {
                Some(own) if own.instance_id == *instance => {
                    (self.credentials_of(tx, &own).await?, own.parameters)
                }
                Some(_) => return Err(BrokerError::BindingUnknown),
                None => {
                    let imported = imported::find(tx, id).await?;
                    let imported = imported.ok_or(BrokerError::BindingUnknown)?;
                    (self.credentials_of_imported(&imported), imported.parameters)
                }
            };
            let parameters = ScrapeOptions::without_secrets(&self.decrypt(id, &encrypted)?);
            Ok(FetchedBinding { credentials, parameters })
        })
        .await
    }

    /// Deletes a binding. The previous binding of the same app becomes active again. A binding of
    /// Tsuru gets the same token when it is created again within [`retained_salts::RETENTION`].
    ///
    /// The catalog does not matter: bindings of removed plans can be deleted.
    ///
    /// # Errors
    /// [`BrokerError::BindingGone`] when the instance has no such binding.
    pub async fn unbind(&self, instance: &InstanceId, id: &BindingId) -> Result<(), BrokerError> {
        self.write_transaction(instance, async |tx| match bindings::find(tx, id).await? {
            Some(own) if own.instance_id == *instance => {
                bindings::delete(tx, id).await?;
                if is_tsuru_id(id.as_str()) {
                    retained_salts::retain(tx, &own).await?;
                }
                Ok(())
            }
            None if imported::remove(tx, id).await? => Ok(()),
            _ => Err(BrokerError::BindingGone),
        })
        .await?;
        tracing::info!(instance.id = %instance, binding.id = %id, "binding deleted");
        Ok(())
    }

    fn is_same_binding(
        &self,
        existing: &ServiceBinding,
        request: &Bind,
    ) -> Result<bool, BrokerError> {
        Ok(existing.instance_id == request.instance_id
            && existing.service_id == request.service_id
            && existing.plan_id == request.plan_id
            && existing.app_guid == request.app_guid
            && self.decrypt(&existing.binding_id, &existing.parameters)? == request.parameters)
    }

    pub(super) fn decrypt(
        &self,
        id: &BindingId,
        encrypted: &str,
    ) -> Result<Map<String, Value>, BrokerError> {
        let parameters = self.0.keys.decrypt(AssociatedData::Binding(id.as_str()), encrypted);
        parameters.ok_or_else(|| cannot_decrypt("service_bindings.parameters").into())
    }

    async fn credentials_of(
        &self,
        tx: &mut Tx,
        binding: &ServiceBinding,
    ) -> Result<Credentials, BrokerError> {
        let is_prometheus = prometheus::find(tx, &binding.instance_id).await?.is_some();
        let queue = events::queues::of_binding(tx, &binding.binding_id).await?;
        let token = self.0.keys.token(&binding.binding_id, &binding.token_salt);
        let kind = BindingKind::new(is_prometheus, queue);
        Ok(Credentials { token, scope: Scope::of(binding, kind) })
    }

    pub(super) fn token_hash_of(&self, id: &BindingId, salt: &str) -> String {
        token_hash(self.0.keys.token(id, salt).expose_secret())
    }
}

/// The token salt of a new binding. When an unbind fails on the side of Tsuru, Tsuru creates the
/// same binding again without updating the environment of the app. So the token must be the same.
async fn new_token_salt(
    tx: &mut Tx,
    id: &BindingId,
    space: &SpaceGuid,
) -> Result<String, BrokerError> {
    if is_tsuru_id(id.as_str())
        && let Some(kept) = retained_salts::take(tx, id, space).await?
    {
        return Ok(kept);
    }
    Ok(salt()?)
}

async fn put_tsuru_app(tx: &mut Tx, request: &Bind) -> Result<(), StoreError> {
    match &request.tsuru {
        Some(app) => tsuru_apps::put(tx, &request.binding_id, app).await,
        None => Ok(()),
    }
}

/// An instance can be bound when it was provisioned and is not being deleted.
fn check_is_provisioned(operation: Option<Operation>) -> Result<(), BrokerError> {
    let Some(operation) = operation else { return Ok(()) };
    match (operation.kind, operation.state) {
        (OperationKind::Update, _) | (OperationKind::Provision, OperationState::Succeeded) => {
            Ok(())
        }
        (kind, OperationState::InProgress) => Err(BrokerError::Concurrency(kind)),
        _ => Err(BrokerError::ProvisionFailed(operation.description)),
    }
}

fn log_if_created(bound: &Bound, instance: &InstanceId, binding: &BindingId) {
    if matches!(bound, Bound::Created(_)) {
        tracing::info!(instance.id = %instance, binding.id = %binding, "binding created");
    }
}

/// Whether an update to another plan than `plan` is in progress. Until it has succeeded the
/// platform sends the previous plan.
fn is_previous_plan(operation: Option<&Operation>, plan: &PlanId) -> bool {
    operation.is_some_and(|operation| {
        operation.state == OperationState::InProgress
            && operation.before.as_ref().is_some_and(|before| before.plan_id == *plan)
    })
}

fn check_bind(
    plan: &Plan,
    instance: &ServiceInstance,
    operation: Option<&Operation>,
    request: &Bind,
) -> Result<(), BrokerError> {
    if instance.service_id != request.service_id {
        return Err(BrokerError::OtherService);
    }
    if instance.plan_id != request.plan_id {
        if is_previous_plan(operation, &request.plan_id) {
            return Err(BrokerError::Concurrency(OperationKind::Update));
        }
        return Err(BrokerError::OtherPlan);
    }
    if !plan.bindable {
        return Err(BrokerError::NotBindable);
    }
    if request.app_guid.is_none() && !request.parameters.is_empty() {
        return Err(BrokerError::NoKeyParameters);
    }
    if plan.has_events && !request.parameters.is_empty() {
        return Err(BrokerError::NoBindParameters);
    }
    // Checked before the schema, because its error messages are better.
    ScrapeOptions::from_parameters(&request.parameters)?;
    match &plan.bind {
        Some(schema) => Ok(schema.check(&request.parameters)?),
        None => Ok(()),
    }
}
