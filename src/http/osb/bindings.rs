//! `/v2/service_instances/{instance_id}/service_bindings/{binding_id}`

use super::{
    OsbError, OsbState,
    credentials::credentials,
    fields::{BindingPath, Fields, Hints, Named},
    instances::is_delete,
};
use crate::{
    broker::{Bind, Bound, BrokerError, OrgSpace, Rotate},
    domain::AppGuid,
};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

/// `PUT`: a binding, a service key, or the successor of one.
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
    let (mut response, given) = match bound.map_err(OsbError::Put)? {
        Bound::Created(given) => (HttpResponse::Created(), given),
        Bound::AlreadyExists(given) => (HttpResponse::Ok(), given),
    };
    Ok(response.json(json!({ "credentials": credentials(&given, &state.base_url) })))
}

/// `GET`; the ids in its query are not needed.
pub(super) async fn fetch(
    BindingPath(instance_id, binding_id): BindingPath,
    _hints: Hints,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    let binding = state.broker.fetch_binding(&instance_id, &binding_id).await?;
    Ok(HttpResponse::Ok().json(json!({
        "credentials": credentials(&binding.credentials, &state.base_url),
        "parameters": binding.parameters,
    })))
}

/// `DELETE`. A missing binding is 410 before missing query parameters are 400, unlike for instances
/// (openservicebrokerapi/osb-checker).
pub(super) async fn unbind(
    BindingPath(instance_id, binding_id): BindingPath,
    request: HttpRequest,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    if let Err(malformed) = Named::in_query(&request) {
        return match state.broker.last_operation(&instance_id, Some(&binding_id)).await {
            Ok(_) => Err(malformed),
            Err(BrokerError::BindingUnknown) => Err(BrokerError::BindingGone.into()),
            Err(error) => Err(error.into()),
        };
    }
    state.broker.unbind(&instance_id, &binding_id).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `GET …/last_operation`; 410 is the end of a delete, 404 of anything else.
pub(super) async fn last_operation(
    BindingPath(instance_id, binding_id): BindingPath,
    _hints: Hints,
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

/// Organization and space of the instance. Only the migration from promfetcher needs them, so
/// unreadable values are ignored.
fn org_space(body: &Fields) -> OrgSpace {
    let context = body.object("context").unwrap_or_default();
    let resource = body.object("bind_resource").unwrap_or_default();
    let space = context.optional("space_guid").ok().flatten();
    OrgSpace {
        organization_guid: context.optional("organization_guid").ok().flatten(),
        space_guid: space.or_else(|| resource.optional("space_guid").ok().flatten()),
    }
}

/// The app to bind, from either of two fields; none for a service key.
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
