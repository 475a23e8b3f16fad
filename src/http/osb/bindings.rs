//! `/v2/service_instances/{instance_id}/service_bindings/{binding_id}`

use super::{
    OsbError, OsbState,
    credentials::credentials,
    fields::{BindingPath, Fields, OptionalIds, RequiredIds},
    instances::is_delete,
};
use crate::{
    broker::{Bind, Bound, BrokerError, OrgSpace, Rotate},
    domain::AppGuid,
};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

/// `PUT`: creates a binding or a service key, or rotates one.
pub(super) async fn bind(
    BindingPath(instance_id, binding_id): BindingPath,
    body: Fields,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    let bound = match body.optional("predecessor_binding_id")? {
        Some(predecessor_id) => {
            state.broker.rotate(Rotate { instance_id, binding_id, predecessor_id }).await
        }
        None => {
            let request = Bind {
                replaces: false,
                instance_id,
                binding_id,
                service_id: body.required("service_id")?,
                plan_id: body.required("plan_id")?,
                app_guid: app_guid(&body)?,
                parameters: body.parameters()?,
                org_space: org_space(&body),
                tsuru: None,
            };
            state.broker.bind(request).await
        }
    };
    let (mut response, bound_credentials) = match bound.map_err(OsbError::Put)? {
        Bound::Created(bound_credentials) => (HttpResponse::Created(), bound_credentials),
        Bound::AlreadyExists(bound_credentials) => (HttpResponse::Ok(), bound_credentials),
    };
    Ok(response.json(json!({ "credentials": credentials(&bound_credentials, &state.base_url) })))
}

/// `GET`. The ids in its query are not used.
pub(super) async fn fetch(
    BindingPath(instance_id, binding_id): BindingPath,
    _hints: OptionalIds,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    let binding = state.broker.fetch_binding(&instance_id, &binding_id).await?;
    Ok(HttpResponse::Ok().json(json!({
        "credentials": credentials(&binding.credentials, &state.base_url),
        "parameters": binding.parameters,
    })))
}

/// `DELETE`. A missing binding (410) takes precedence over missing query parameters (400), in
/// contrast to instances (openservicebrokerapi/osb-checker).
pub(super) async fn unbind(
    BindingPath(instance_id, binding_id): BindingPath,
    request: HttpRequest,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    if let Err(malformed) = RequiredIds::in_query(&request) {
        return match state.broker.last_operation(&instance_id, Some(&binding_id)).await {
            Ok(_) => Err(malformed),
            Err(BrokerError::BindingUnknown) => Err(BrokerError::BindingGone.into()),
            Err(error) => Err(error.into()),
        };
    }
    state.broker.unbind(&instance_id, &binding_id).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `GET …/last_operation`. 410 is the result of a completed delete, 404 of any other operation.
pub(super) async fn last_operation(
    BindingPath(instance_id, binding_id): BindingPath,
    _hints: OptionalIds,
    request: HttpRequest,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    match state.broker.last_operation(&instance_id, Some(&binding_id)).await {
        Ok(_) => Ok(HttpResponse::Ok().json(json!({ "state": "succeeded" }))),
        Err(BrokerError::BindingUnknown) if is_delete(&request) => {
            Err(BrokerError::BindingGone.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Organization and space of the instance. Only the migration from promfetcher requires them, so
/// invalid values are ignored.
fn org_space(body: &Fields) -> OrgSpace {
    let context = body.object("context").unwrap_or_default();
    let resource = body.object("bind_resource").unwrap_or_default();
    let space = context.optional("space_guid").ok().flatten();
    OrgSpace {
        organization_guid: context.optional("organization_guid").ok().flatten(),
        space_guid: space.or_else(|| resource.optional("space_guid").ok().flatten()),
    }
}

/// The app to bind, from one of two fields. `None` for a service key.
fn app_guid(body: &Fields) -> Result<Option<AppGuid>, OsbError> {
    let resource = body.object("bind_resource")?;
    if resource.text("route")?.is_some() {
        let problem = "bind_resource.route cannot be bound: this service forwards no requests";
        return Err(OsbError::Malformed(problem.to_owned()));
    }
    let (app, deprecated) = (resource.optional("app_guid")?, body.optional("app_guid")?);
    match (app, deprecated) {
        (Some(app), Some(deprecated)) if app != deprecated => {
            let problem = "app_guid and bind_resource.app_guid name two apps";
            Err(OsbError::Malformed(problem.to_owned()))
        }
        (app, deprecated) => Ok(app.or(deprecated)),
    }
}
