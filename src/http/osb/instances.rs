//! `/v2/service_instances/{instance_id}`

use super::{
    OsbError, OsbState,
    fields::{Fields, InstancePath, OptionalIds, RequiredIds, query},
};
use crate::{
    broker::{
        AcceptedOperation, BrokerError, Deprovisioned, LastOperation, OmittedParameters, OrgSpace,
        Provision, Provisioned, Update, Updated,
    },
    domain::{IdError, InstanceId, InstanceNames, OperationKind, OperationState},
    http::urls,
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde_json::{Value, json};
use std::{str::FromStr, time::Duration};

/// Maximum length of stored names, in characters. Cloud Foundry allows 255 bytes.
const MAX_NAME: usize = 255;

/// Timeout of a synchronous deprovision request. Cloud Controller waits 60 s.
const DEPROVISION_TIMEOUT: Duration = Duration::from_secs(50);

/// `Retry-After` header while an operation is in progress.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// `PUT`
pub(super) async fn provision(
    InstancePath(instance_id): InstancePath,
    body: Fields,
    http: HttpRequest,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    let id = instance_id.clone();
    let request = Provision {
        instance_id,
        service_id: body.required("service_id")?,
        plan_id: body.required("plan_id")?,
        organization_guid: body.required("organization_guid")?,
        space_guid: body.required("space_guid")?,
        names: names(&body)?,
        parameters: body.parameters()?,
        maintenance_version: body.maintenance_version()?,
        accepts_incomplete: accepts_incomplete(&http),
    };
    let (mut response, accepted) =
        match state.broker.provision(request).await.map_err(OsbError::Put)? {
            Provisioned::Created => (HttpResponse::Created(), None),
            Provisioned::AlreadyExists => (HttpResponse::Ok(), None),
            Provisioned::InProgress(accepted) => (HttpResponse::Accepted(), Some(accepted)),
        };
    Ok(response.json(state.answer(&id, accepted.as_ref())))
}

/// `PATCH`
pub(super) async fn update(
    InstancePath(instance_id): InstancePath,
    body: Fields,
    http: HttpRequest,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    let id = instance_id.clone();
    let names = names(&body)?;
    let request = Update {
        instance_id,
        service_id: body.required("service_id")?,
        plan_id: body.optional("plan_id")?,
        parameters: body.parameters()?,
        omitted_parameters: OmittedParameters::Keep,
        target_space: OrgSpace::default(),
        maintenance_version: body.maintenance_version()?,
        previous_plan_id: previous_value(&body, "plan_id"),
        org_space: org_space(&body),
        names,
        accepts_incomplete: accepts_incomplete(&http),
    };
    Ok(match state.broker.update(request).await? {
        Updated::Done => HttpResponse::Ok().json(json!({})),
        Updated::InProgress(accepted) => {
            HttpResponse::Accepted().json(state.answer(&id, Some(&accepted)))
        }
    })
}

/// `GET`. The ids in its query are not used.
pub(super) async fn fetch(
    InstancePath(instance_id): InstancePath,
    _hints: OptionalIds,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    let instance = state.broker.fetch(&instance_id).await?;
    let last = state.broker.last_operation(&instance_id, None).await?;
    match (last.kind, last.state) {
        (Some(OperationKind::Update), OperationState::InProgress) => {
            return Err(BrokerError::Concurrency(OperationKind::Update).into());
        }
        // An instance that is being created or deleted is not found (OSB specification, "Fetching a
        // Service Instance").
        (Some(OperationKind::Provision | OperationKind::Deprovision), state)
            if state != OperationState::Succeeded =>
        {
            return Err(BrokerError::InstanceUnknown.into());
        }
        _ => {}
    }
    let mut body = json!({
        "service_id": instance.service_id.as_str(),
        "plan_id": instance.plan_id.as_str(),
        "parameters": instance.parameters,
    });
    if let Some(version) = instance.maintenance_version {
        body["maintenance_info"] = json!({ "version": version });
    }
    if let Some(dashboard_url) = state.dashboard_url(&instance_id) {
        body["dashboard_url"] = json!(dashboard_url);
    }
    Ok(HttpResponse::Ok().json(body))
}

/// `DELETE`. Missing query parameters (400) take precedence over a missing instance (410)
/// (openservicebrokerapi/osb-checker).
pub(super) async fn deprovision(
    InstancePath(instance_id): InstancePath,
    request: HttpRequest,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    RequiredIds::in_query(&request)?;
    if !accepts_incomplete(&request) {
        // Cloud Controller's orphan mitigation does not send `accepts_incomplete`.
        state.broker.deprovision_and_wait(&instance_id, DEPROVISION_TIMEOUT).await?;
        return Ok(HttpResponse::Ok().json(json!({})));
    }
    Ok(match state.broker.deprovision(&instance_id).await? {
        Deprovisioned::Done => HttpResponse::Ok().json(json!({})),
        Deprovisioned::InProgress(accepted) => {
            HttpResponse::Accepted().json(json!({ "operation": accepted.operation_id }))
        }
    })
}

/// `GET …/last_operation`. 410 is the result of a completed delete, 404 of any other operation.
pub(super) async fn last_operation(
    InstancePath(instance_id): InstancePath,
    _hints: OptionalIds,
    request: HttpRequest,
    state: web::Data<OsbState>,
) -> Result<HttpResponse, OsbError> {
    match state.broker.last_operation(&instance_id, None).await {
        Ok(last) => Ok(progress(&last)),
        Err(BrokerError::InstanceUnknown) if is_delete(&request) => {
            Err(BrokerError::InstanceGone.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the `operation` parameter denotes a delete. It begins with the kind of the operation.
pub(super) fn is_delete(request: &HttpRequest) -> bool {
    let operation = query(request, "operation").unwrap_or_default();
    operation.starts_with(OperationKind::Deprovision.as_str()) || operation == "unbind"
}

/// The state of an operation, with a `Retry-After` header while it is in progress.
fn progress(last: &LastOperation) -> HttpResponse {
    let mut body = json!({ "state": last.state.as_str() });
    if !last.description.is_empty() {
        body["description"] = json!(last.description);
    }
    match (last.kind, last.state) {
        (_, OperationState::InProgress) => {
            return HttpResponse::Ok()
                .insert_header((header::RETRY_AFTER, RETRY_AFTER.as_secs()))
                .json(body);
        }
        // The instance is unchanged, and a later attempt may succeed.
        (Some(OperationKind::Update), OperationState::Failed) => {
            body["instance_usable"] = json!(true);
            body["update_repeatable"] = json!(true);
        }
        // Parts of the instance may be deleted.
        (Some(OperationKind::Deprovision), OperationState::Failed) => {
            body["instance_usable"] = json!(false);
        }
        _ => {}
    }
    HttpResponse::Ok().json(body)
}

fn accepts_incomplete(request: &HttpRequest) -> bool {
    query(request, "accepts_incomplete").as_deref() == Some("true")
}

impl OsbState {
    /// The response body for a created or accepted instance.
    fn answer(&self, id: &InstanceId, accepted: Option<&AcceptedOperation>) -> Value {
        let mut answer = json!({});
        if let Some(accepted) = accepted {
            answer["operation"] = json!(accepted.operation_id);
        }
        if let Some(dashboard_url) = self.dashboard_url(id) {
            answer["dashboard_url"] = json!(dashboard_url);
        }
        answer
    }

    /// The URL of the instance's page, if it is a Prometheus.
    fn dashboard_url(&self, id: &InstanceId) -> Option<String> {
        self.broker.binding_table().prometheus(id.as_str())?;
        Some(format!("{}/", urls::prometheus(&self.base_url, id)))
    }
}

/// Organization and space of the instance. Only the migration from promfetcher requires them, so
/// invalid values are ignored.
fn org_space(body: &Fields) -> OrgSpace {
    let context = body.object("context").unwrap_or_default();
    let organization = context.optional("organization_guid").ok().flatten();
    let space = context.optional("space_guid").ok().flatten();
    OrgSpace {
        organization_guid: organization.or_else(|| previous_value(body, "organization_id")),
        space_guid: space.or_else(|| previous_value(body, "space_id")),
    }
}

/// A field of `previous_values`, if the platform sent it.
fn previous_value<T: FromStr<Err = IdError>>(body: &Fields, name: &str) -> Option<T> {
    body.object("previous_values").ok()?.optional(name).ok()?
}

/// Names for display, without control characters and limited in length.
fn names(body: &Fields) -> Result<InstanceNames, OsbError> {
    let context = body.object("context")?;
    let name = |field: &str| {
        let printable = |text: &str| {
            text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect::<String>()
        };
        Ok::<_, OsbError>(context.text(field)?.map(printable))
    };
    Ok(InstanceNames {
        organization: name("organization_name")?,
        space: name("space_name")?,
        instance: name("instance_name")?,
    })
}
