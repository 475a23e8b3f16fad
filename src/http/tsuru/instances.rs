//! `/resources` and `/resources/{instance}`

use super::{
    TsuruError, TsuruState,
    fields::Fields,
    ids::{InstancePath, ServicePath, organization, space},
};
use crate::{
    broker::{BrokerError, Place, Provision, Provisioned, Update},
    store::Names,
};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

/// Sent for services of several clusters only, with every request.
const POOL: &str = "X-Tsuru-Pool-Name";

/// `GET …/plans`
pub(super) async fn plans(service: ServicePath) -> HttpResponse {
    let plan = |(name, description)| json!({ "name": name, "description": description });
    HttpResponse::Ok().json(service.plans().map(plan).collect::<Vec<Value>>())
}

/// `POST`; an equal one again is a success, since Tsuru has asked its own
/// database for duplicates and repeats only what it got no answer to.
pub(super) async fn create(
    service: ServicePath,
    request: HttpRequest,
    fields: Fields,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    let (name, team) = (fields.required("name")?, fields.required("team")?);
    let pool = pool(&request)?;
    let plan = service.plan(fields.text("plan")?)?;
    let request = Provision {
        instance_id: service.instance_id(name)?,
        service_id: service.service()?.id.clone(),
        plan_id: plan.id.clone(),
        organization_guid: organization(team)?,
        space_guid: space(team, pool)?,
        names: names(Some(team), Some(pool), Some(name)),
        parameters: fields.parameters(plan.provision.as_ref())?,
        maintenance_version: None,
    };
    Ok(match state.broker.provision(request).await? {
        Provisioned::Created => HttpResponse::Created().finish(),
        Provisioned::AlreadyExists => HttpResponse::Ok().finish(),
    })
}

/// `PUT`; what is missing or empty stays as it is.
pub(super) async fn update(
    instance: InstancePath,
    fields: Fields,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    let service = instance.service.service()?;
    let plan = match fields.text("plan")? {
        Some(name) => Some(instance.service.plan(Some(name))?),
        None => {
            let current = state.broker.fetch(&instance.id).await?.plan_id;
            service.plan(&current)
        }
    };
    let request = Update {
        instance_id: instance.id.clone(),
        service_id: service.id.clone(),
        plan_id: plan.map(|plan| plan.id.clone()),
        names: names(None, None, Some(&instance.name)),
        parameters: fields.parameters(plan.and_then(|plan| plan.update.as_ref()))?,
        maintenance_version: None,
        previous_plan_id: None,
        place: Place::default(),
    };
    state.broker.update(request).await?;
    Ok(HttpResponse::Ok().finish())
}

/// `DELETE`; what is not there is removed already. Anything but a success would
/// keep the instance in Tsuru's database.
pub(super) async fn delete(
    instance: Result<InstancePath, TsuruError>,
    _body: Fields,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    let removed = match instance {
        Ok(instance) => state.broker.deprovision(&instance.id).await.map_err(Into::into),
        Err(error) => Err(error),
    };
    match removed {
        Ok(())
        | Err(TsuruError::UnknownInstance | TsuruError::Broker(BrokerError::InstanceGone)) => {
            Ok(HttpResponse::Ok().finish())
        }
        Err(error) => Err(error),
    }
}

/// `GET`
pub(super) async fn info(
    instance: InstancePath,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    let fetched = state.broker.fetch(&instance.id).await?;
    let plan = instance.service.service()?.plan(&fetched.plan_id);
    let plan = plan.map_or("not in the catalog any more", |plan| plan.name.as_str());
    let url = format!("{}/v1/apps", state.base_url);
    let lines = [("URL", url.as_str()), ("Plan", plan), ("State", "ready")];
    let line = |(label, value)| json!({ "label": label, "value": value });
    Ok(HttpResponse::Ok().json(lines.map(line)))
}

/// `GET …/status`; 404 would say that there is no such call.
pub(super) async fn status(
    instance: InstancePath,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    state.broker.last_operation(&instance.id, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn pool(request: &HttpRequest) -> Result<&str, TsuruError> {
    let Some(value) = request.headers().get(POOL) else { return Ok("") };
    let wrong = |_| TsuruError::Malformed(format!("{POOL} is not printable"));
    value.to_str().map_err(wrong)
}

/// For the operator's eyes.
fn names(team: Option<&str>, pool: Option<&str>, instance: Option<&str>) -> Names {
    let kept = |name: Option<&str>| name.filter(|name| !name.is_empty()).map(str::to_owned);
    Names { organization: kept(team), space: kept(pool), instance: kept(instance) }
}
