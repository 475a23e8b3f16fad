//! `/resources/{instance}/bind-app`, `…/bind` and `…/binds/jobs/{job}`

use super::{
    TsuruError, TsuruState,
    environment::variables,
    event,
    fields::{BindCall, Fields},
    path::{InstancePath, checked, part},
};
use crate::{
    broker::{Bind, Bound, BrokerError, OrgSpace},
    domain::{
        AppGuid, OperationKind, TsuruApp,
        tsuru_ids::{self, Bindable},
    },
};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

/// Maximum number of attempts of a bind if the plan of the instance changes concurrently.
const MAX_ATTEMPTS: usize = 3;

/// Maximum number of addresses per app.
const MAX_HOSTS: usize = 256;

/// `POST …/bind-app`
pub(super) async fn bind_app(
    instance: InstancePath,
    fields: Fields,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    let name = fields.required("app-name")?;
    let app = App {
        guid: checked("app-name", tsuru_ids::app(name))?,
        name,
        pool: pool(&fields)?,
        hosts: hosts(&fields)?,
    };
    create_binding(&instance, Bindable::App(name), Some(&app), &fields, &state).await
}

/// `DELETE …/bind-app`. Succeeds if the binding is missing.
pub(super) async fn unbind_app(
    instance: Result<InstancePath, TsuruError>,
    fields: Fields,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    delete_binding(instance, Bindable::App(fields.required("app-name")?), &state).await
}

/// `POST …/bind`. Does nothing for a unit, because Tsuru binds the app in a separate call.
/// Otherwise the call is equivalent to `bind-app`.
pub(super) async fn bind(
    instance: InstancePath,
    call: BindCall,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    match call {
        BindCall::Unit => Ok(HttpResponse::Ok().json(json!({}))),
        BindCall::App(fields) => bind_app(instance, fields, state).await,
    }
}

/// `DELETE …/bind`
pub(super) async fn unbind(
    instance: Result<InstancePath, TsuruError>,
    call: BindCall,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    match call {
        BindCall::Unit => Ok(HttpResponse::Ok().finish()),
        BindCall::App(fields) => unbind_app(instance, fields, state).await,
    }
}

/// `PUT …/binds/jobs/{job}`
pub(super) async fn bind_job(
    instance: InstancePath,
    request: HttpRequest,
    fields: Fields,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    let job = part(&request, "job");
    create_binding(&instance, Bindable::Job(&job), None, &fields, &state).await
}

/// `DELETE …/binds/jobs/{job}`
pub(super) async fn unbind_job(
    instance: Result<InstancePath, TsuruError>,
    request: HttpRequest,
    _body: Fields,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    let job = part(&request, "job");
    delete_binding(instance, Bindable::Job(&job), &state).await
}

/// An app to bind.
struct App<'a> {
    guid: AppGuid,
    name: &'a str,
    pool: &'a str,
    hosts: Vec<String>,
}

/// Creates or replaces a binding. If Tsuru binds again with other parameters, it no longer tracks
/// the previous binding.
async fn create_binding(
    instance: &InstancePath,
    bound: Bindable<'_>,
    app: Option<&App<'_>>,
    fields: &Fields,
    state: &TsuruState,
) -> Result<HttpResponse, TsuruError> {
    let service = instance.service.service()?;
    let binding_id = instance.binding_id(bound)?;
    event::confirm(state, &instance.id, bound).await?;
    let mut attempts = 0;
    loop {
        let current = state.broker.fetch(&instance.id).await?;
        let plan = service.plan(&current.plan_id);
        let team = tsuru_ids::team_of(&current.organization_guid);
        let request = Bind {
            instance_id: instance.id.clone(),
            binding_id: binding_id.clone(),
            service_id: service.id.clone(),
            plan_id: current.plan_id.clone(),
            app_guid: app.map(|app| app.guid.clone()),
            parameters: fields.parameters(plan.and_then(|plan| plan.bind.as_ref()))?,
            org_space: OrgSpace::default(),
            replaces: true,
            tsuru: app.map(|app| TsuruApp {
                name: app.name.to_owned(),
                team: team.to_owned(),
                pool: app.pool.to_owned(),
                hosts: app.hosts.clone(),
            }),
        };
        attempts += 1;
        let (mut response, given) = match state.broker.bind(request).await {
            Ok(Bound::Created(given)) => (HttpResponse::Created(), given),
            Ok(Bound::AlreadyExists(given)) => (HttpResponse::Ok(), given),
            Err(BrokerError::OtherPlan) if attempts < MAX_ATTEMPTS => continue,
            Err(BrokerError::Concurrency(OperationKind::Provision)) => {
                return Err(TsuruError::NotReady);
            }
            Err(error) => return Err(error.into()),
        };
        return Ok(response.json(variables(&given, app.map(|app| &app.guid), &state.base_url)));
    }
}

async fn delete_binding(
    instance: Result<InstancePath, TsuruError>,
    bound: Bindable<'_>,
    state: &TsuruState,
) -> Result<HttpResponse, TsuruError> {
    let instance = match instance {
        Ok(instance) => instance,
        Err(TsuruError::UnknownInstance) => return Ok(HttpResponse::Ok().finish()),
        Err(error) => return Err(error),
    };
    match state.broker.unbind(&instance.id, &instance.binding_id(bound)?).await {
        Ok(()) | Err(BrokerError::BindingGone) => Ok(HttpResponse::Ok().finish()),
        Err(error) => Err(error.into()),
    }
}

fn pool(fields: &Fields) -> Result<&str, TsuruError> {
    Ok(fields.text("app-pool-name")?.unwrap_or_default())
}

/// The addresses at the routers, then those inside the cluster, without duplicates.
fn hosts(fields: &Fields) -> Result<Vec<String>, TsuruError> {
    let mut hosts: Vec<String> = Vec::new();
    for name in ["app-hosts", "app-host", "app-internal-hosts"] {
        for host in fields.list(name)? {
            if !host.is_empty() && !hosts.iter().any(|known| known == host) {
                hosts.push(host.to_owned());
            }
            if hosts.len() > MAX_HOSTS {
                let problem = format!("{name} has more than {MAX_HOSTS} addresses");
                return Err(TsuruError::Malformed(problem));
            }
        }
    }
    Ok(hosts)
}
