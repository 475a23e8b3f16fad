//! `/v2/service_instances/{instance_id}`

use super::{
    OsbError, OsbState,
    fields::{Fields, InstancePath, Named, query},
};
use crate::{
    broker::{BrokerError, Place, Provision, Provisioned, Update},
    domain::IdError,
    store::Names,
};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use std::str::FromStr;

/// The longest kept name, in characters; Cloud Foundry allows 255 bytes.
const MAX_NAME: usize = 255;

/// `PUT`
pub(super) async fn provision(
    InstancePath(instance_id): InstancePath,
    body: Fields,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    let request = Provision {
        instance_id,
        service_id: body.required("service_id")?,
        plan_id: body.required("plan_id")?,
        organization_guid: body.required("organization_guid")?,
        space_guid: body.required("space_guid")?,
        names: names(&body)?,
        parameters: body.parameters()?,
        maintenance_version: body.maintenance_version()?,
    };
    let mut response = match state.broker.provision(request).await? {
        Provisioned::Created => HttpResponse::Created(),
        Provisioned::AlreadyExists => HttpResponse::Ok(),
    };
    Ok(response.json(json!({})))
}

/// `PATCH`
pub(super) async fn update(
    InstancePath(instance_id): InstancePath,
    body: Fields,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    let names = names(&body)?;
    let request = Update {
        instance_id,
        service_id: body.required("service_id")?,
        plan_id: body.optional("plan_id")?,
        parameters: body.parameters()?,
        maintenance_version: body.maintenance_version()?,
        previous_plan_id: before(&body, "plan_id"),
        place: place(&body),
        names,
    };
    state.broker.update(request).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `GET`; the ids in its query are hints that we do not need.
pub(super) async fn fetch(
    InstancePath(instance_id): InstancePath,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    let instance = state.broker.fetch(&instance_id).await?;
    let mut body = json!({
        "service_id": instance.service_id.as_str(),
        "plan_id": instance.plan_id.as_str(),
        "parameters": instance.parameters,
    });
    if let Some(version) = instance.maintenance_version {
        body["maintenance_info"] = json!({ "version": version });
    }
    Ok(HttpResponse::Ok().json(body))
}

/// `DELETE`; what it must name is asked for before what exists (contract: osb.md 1.6).
pub(super) async fn deprovision(
    InstancePath(instance_id): InstancePath,
    request: HttpRequest,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    Named::in_query(&request)?;
    state.broker.deprovision(&instance_id).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

/// `GET …/last_operation`; 410 is the end of a delete, 404 of anything else.
pub(super) async fn last_operation(
    InstancePath(instance_id): InstancePath,
    request: HttpRequest,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    match state.broker.last_operation(&instance_id, None).await {
        Ok(_) => Ok(HttpResponse::Ok().json(json!({ "state": "succeeded" }))),
        Err(BrokerError::InstanceUnknown) if is_delete(&request) => {
            Err(BrokerError::InstanceGone.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// We give no operation strings, but a checker sends these.
pub(super) fn is_delete(request: &HttpRequest) -> bool {
    let operation = query(request, "operation");
    matches!(operation.as_deref(), Some("deprovision" | "unbind"))
}

/// Where the instance is. Needed only in the move from promfetcher, so what is not understood
/// counts as not said.
fn place(body: &Fields) -> Place {
    let context = body.object("context").unwrap_or_default();
    let organization = context.optional("organization_guid").ok().flatten();
    let space = context.optional("space_guid").ok().flatten();
    Place {
        organization_guid: organization.or_else(|| before(body, "organization_id")),
        space_guid: space.or_else(|| before(body, "space_id")),
    }
}

/// What the instance had before, as far as the platform says.
fn before<T: FromStr<Err = IdError>>(body: &Fields, name: &str) -> Option<T> {
    body.object("previous_values").ok()?.optional(name).ok()?
}

/// Names for the operator's eyes, made fit to be stored and printed.
fn names(body: &Fields) -> Result<Names, OsbError> {
    let context = body.object("context")?;
    let name = |field: &str| {
        let printable = |text: &str| {
            text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect::<String>()
        };
        Ok::<_, OsbError>(context.text(field)?.map(printable))
    };
    Ok(Names {
        organization: name("organization_name")?,
        space: name("space_name")?,
        instance: name("instance_name")?,
    })
}
