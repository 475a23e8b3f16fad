//! Service bindings: bind, rotate, fetch, unbind.
//!
//! A binding of an app says how that app is scraped, and its token is good for
//! the app. A service key names no app; its token is good for the space of the
//! instance.

use super::{
    Broker, BrokerError, OrgSpace, Scope, adoption::Unseen, error::unsealable, find_plan,
    instances::find,
};
use crate::{
    domain::{
        AppGuid, BindingId, InstanceId, OperationKind, OperationState, Plan, PlanId, ScrapeOptions,
        ServiceId, SpaceGuid, TsuruApp, is_of_tsuru,
    },
    secrets::{AssociatedData, salt, token_hash},
    store::{
        Operation, ServiceBinding, ServiceInstance, StoreError, Tx, bindings, imported, operations,
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
    /// The instance.
    pub instance_id: InstanceId,
    /// The new binding's id.
    pub binding_id: BindingId,
    /// The service of the instance.
    pub service_id: ServiceId,
    /// The plan of the instance.
    pub plan_id: PlanId,
    /// The app; none for a service key.
    pub app_guid: Option<AppGuid>,
    /// How the app is scraped ([`ScrapeOptions`]).
    pub parameters: Map<String, Value>,
    /// Where the instance is, if the request says so.
    pub place: OrgSpace,
    /// Whether it takes the place of a different binding with its id and instance. Otherwise that
    /// is a conflict.
    pub replaces: bool,
    /// What Tsuru tells of the app. No attribute of the binding: told again, it replaces what
    /// was told before.
    pub tsuru: Option<TsuruApp>,
}

/// A request for a binding like another one, with a token of its own (OSB 2.17).
#[derive(Clone, Debug)]
pub struct Rotate {
    /// The instance.
    pub instance_id: InstanceId,
    /// The new binding's id.
    pub binding_id: BindingId,
    /// The binding to be like; it stays until it is removed.
    pub predecessor_id: BindingId,
}

/// What a successful [`Broker::bind`] found.
#[derive(Clone, Debug)]
pub enum Bound {
    /// It was made now.
    Created(Credentials),
    /// The same binding was there before.
    AlreadyExists(Credentials),
}

/// What a binding is good for.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Allows to scrape. The same for the same binding, until that is removed.
    pub token: SecretString,
    /// What it allows to scrape.
    pub scope: Scope,
}

/// A binding as the platform may see it.
#[derive(Clone, Debug)]
pub struct FetchedBinding {
    /// As they were when it was bound.
    pub credentials: Credentials,
    /// Its parameters without the secret ones.
    pub parameters: Map<String, Value>,
}

impl Broker {
    /// Makes a binding, or finds the same one.
    ///
    /// An existing binding is compared before the request is judged, so that a
    /// repeated request is answered as before and a different one is a conflict, or takes its
    /// place after it was judged.
    ///
    /// # Errors
    /// [`BrokerError::BindingConflict`] when the id is taken by a different one,
    /// [`BrokerError::InstanceUnknown`] when there is nothing to bind; otherwise
    /// what is wrong with the request.
    pub async fn bind(&self, request: Bind) -> Result<Bound, BrokerError> {
        let catalog = self.catalog();
        let work = async |tx: &mut Tx| {
            let existing = bindings::find(tx, &request.binding_id).await?;
            if let Some(existing) = &existing {
                if self.is_same_binding(existing, &request)? {
                    note(tx, &request).await?;
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
            let unseen = Unseen { service, plan_id: Some(&request.plan_id), place: &request.place };
            let instance = self.find_or_adopt(tx, &request.instance_id, unseen).await?;
            let operation = operations::find(tx, &request.instance_id).await?;
            check_bind(plan, &instance, operation.as_ref(), &request)?;
            check_is_there(operation)?;
            let token_salt = match &existing {
                Some(existing) => existing.token_salt.clone(),
                None => salt_of_new(tx, &request.binding_id, &instance.space_guid).await?,
            };
            let owner = AssociatedData::Binding(request.binding_id.as_str());
            let binding = ServiceBinding {
                binding_id: request.binding_id.clone(),
                instance_id: request.instance_id.clone(),
                service_id: request.service_id.clone(),
                plan_id: request.plan_id.clone(),
                app_guid: request.app_guid.clone(),
                // The token stays, so it must not read another space than before.
                space_guid: existing
                    .as_ref()
                    .map_or(&instance.space_guid, |it| &it.space_guid)
                    .clone(),
                parameters: self.0.keys.encrypt(owner, &request.parameters)?,
                token_hash: self.token_hash_of(&request.binding_id, &token_salt),
                token_salt,
                predecessor_id: None,
            };
            let bound = match existing {
                Some(_) => self.replace(tx, &binding).await?,
                None => self.insert(tx, &binding).await?,
            };
            note(tx, &request).await?;
            Ok(bound)
        };
        let bound = self.exclusively(&request.instance_id, work).await?;
        log_if_made(&bound, &request.instance_id, &request.binding_id);
        Ok(bound)
    }

    /// Makes a binding like its predecessor, or finds the one that was made so.
    ///
    /// # Errors
    /// [`BrokerError::PredecessorUnknown`] when there is none to be like,
    /// [`BrokerError::BindingConflict`] when the id is taken by a different one.
    pub async fn rotate(&self, request: Rotate) -> Result<Bound, BrokerError> {
        let catalog = self.catalog();
        let work = async |tx: &mut Tx| {
            if let Some(existing) = bindings::find(tx, &request.binding_id).await? {
                // The predecessor may be gone by now; what it was is what counts.
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
            let parameters = self.unseal(&request.predecessor_id, &predecessor.parameters)?;
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
            self.insert(tx, &binding).await
        };
        let bound = self.exclusively(&request.instance_id, work).await?;
        log_if_made(&bound, &request.instance_id, &request.binding_id);
        Ok(bound)
    }

    /// Shows a binding.
    ///
    /// # Errors
    /// [`BrokerError::BindingUnknown`] when this instance has none with this id.
    pub async fn fetch_binding(
        &self,
        instance: &InstanceId,
        id: &BindingId,
    ) -> Result<FetchedBinding, BrokerError> {
        self.reading(async |tx| {
            let (credentials, sealed) = match bindings::find(tx, id).await? {
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
            let parameters = ScrapeOptions::without_secrets(&self.unseal(id, &sealed)?);
            Ok(FetchedBinding { credentials, parameters })
        })
        .await
    }

    /// Removes a binding; the one of the same app before it is in force again. One of Tsuru gets
    /// the same token when it is made again within [`retained_salts::RETENTION`].
    ///
    /// The catalog is not asked: what has left it can be removed all the same.
    ///
    /// # Errors
    /// [`BrokerError::BindingGone`] when this instance has none with this id.
    pub async fn unbind(&self, instance: &InstanceId, id: &BindingId) -> Result<(), BrokerError> {
        self.exclusively(instance, async |tx| match bindings::find(tx, id).await? {
            Some(own) if own.instance_id == *instance => {
                bindings::delete(tx, id).await?;
                if is_of_tsuru(id.as_str()) {
                    retained_salts::retain(tx, &own).await?;
                }
                Ok(())
            }
            None if imported::remove(tx, id).await? => Ok(()),
            _ => Err(BrokerError::BindingGone),
        })
        .await?;
        tracing::info!(instance.id = %instance, binding.id = %id, "binding removed");
        Ok(())
    }

    async fn insert(&self, tx: &mut Tx, binding: &ServiceBinding) -> Result<Bound, BrokerError> {
        match bindings::insert(tx, binding).await? {
            true => Ok(Bound::Created(self.credentials_of(tx, binding).await?)),
            // Another instance got a binding with this id at this very moment.
            false => Err(BrokerError::BindingConflict),
        }
    }

    /// Puts a binding in the place of the one with its id, whose token stays.
    async fn replace(&self, tx: &mut Tx, binding: &ServiceBinding) -> Result<Bound, BrokerError> {
        bindings::replace(tx, binding).await?;
        Ok(Bound::Created(self.credentials_of(tx, binding).await?))
    }

    fn is_same_binding(&self, kept: &ServiceBinding, request: &Bind) -> Result<bool, BrokerError> {
        Ok(kept.instance_id == request.instance_id
            && kept.service_id == request.service_id
            && kept.plan_id == request.plan_id
            && kept.app_guid == request.app_guid
            && self.unseal(&kept.binding_id, &kept.parameters)? == request.parameters)
    }

    pub(super) fn unseal(
        &self,
        id: &BindingId,
        sealed: &str,
    ) -> Result<Map<String, Value>, BrokerError> {
        let parameters = self.0.keys.decrypt(AssociatedData::Binding(id.as_str()), sealed);
        parameters.ok_or_else(|| unsealable("service_bindings.parameters").into())
    }

    async fn credentials_of(
        &self,
        tx: &mut Tx,
        binding: &ServiceBinding,
    ) -> Result<Credentials, BrokerError> {
        let is_prometheus = prometheus::find(tx, &binding.instance_id).await?.is_some();
        let token = self.0.keys.token(&binding.binding_id, &binding.token_salt);
        Ok(Credentials { token, scope: Scope::of(binding, is_prometheus) })
    }

    pub(super) fn token_hash_of(&self, id: &BindingId, salt: &str) -> String {
        token_hash(self.0.keys.token(id, salt).expose_secret())
    }
}

/// The salt of a binding that is made now. After an unbind that failed at its side Tsuru makes the
/// same binding again and leaves the environment of the app as it was, so the token must be the
/// same.
async fn salt_of_new(
    tx: &mut Tx,
    id: &BindingId,
    space: &SpaceGuid,
) -> Result<String, BrokerError> {
    if is_of_tsuru(id.as_str())
        && let Some(kept) = retained_salts::take(tx, id, space).await?
    {
        return Ok(kept);
    }
    Ok(salt()?)
}

async fn note(tx: &mut Tx, request: &Bind) -> Result<(), StoreError> {
    match &request.tsuru {
        Some(app) => tsuru_apps::put(tx, &request.binding_id, app).await,
        None => Ok(()),
    }
}

/// What is not there yet, or not any more, is not bound.
fn check_is_there(operation: Option<Operation>) -> Result<(), BrokerError> {
    let Some(operation) = operation else { return Ok(()) };
    match (operation.kind, operation.state) {
        (OperationKind::Update, _) | (OperationKind::Provision, OperationState::Succeeded) => {
            Ok(())
        }
        (kind, OperationState::InProgress) => Err(BrokerError::Concurrency(kind)),
        _ => Err(BrokerError::NotMade(operation.description)),
    }
}

fn log_if_made(bound: &Bound, instance: &InstanceId, binding: &BindingId) {
    if matches!(bound, Bound::Created(_)) {
        tracing::info!(instance.id = %instance, binding.id = %binding, "binding made");
    }
}

/// Whether the instance is just getting another plan than `plan`. Until that has succeeded the
/// platform names the plan from before.
fn is_leaving(operation: Option<&Operation>, plan: &PlanId) -> bool {
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
        if is_leaving(operation, &request.plan_id) {
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
    // First, since its words are better: it knows what a parameter is for.
    ScrapeOptions::from_parameters(&request.parameters)?;
    match &plan.bind {
        Some(schema) => Ok(schema.check(&request.parameters)?),
        None => Ok(()),
    }
}
