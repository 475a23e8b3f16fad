//! `/resources` and `/resources/{instance}`

use super::{
    TsuruError, TsuruState,
    condition::{self, Condition, State},
    fields::Fields,
    path::{InstancePath, ServicePath, checked},
    update::{self, Kept, UpdateCall, names},
};
use crate::{
    broker::{BrokerError, PrometheusSnapshot, Provision, Provisioned, RefusedUpdate, Updated},
    domain::tsuru_ids,
    http::{prometheus, urls},
    query::PrometheusClient,
};
use actix_web::{HttpRequest, HttpResponse, http::header::ContentType, web};
use serde_json::{Value, json};
use std::time::Duration;

/// Timeout of a removal. Tsuru waits five minutes, but a proxy may wait only one minute.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(50);

/// Tsuru sends this header with all requests to services with several clusters.
const POOL: &str = "X-Tsuru-Pool-Name";

/// `GET …/plans`
pub(super) async fn plans(service: ServicePath) -> HttpResponse {
    let plan = |(name, description)| json!({ "name": name, "description": description });
    HttpResponse::Ok().json(service.plans().map(plan).collect::<Vec<Value>>())
}

/// `POST`. Repeating an identical request succeeds: Tsuru refuses duplicates itself, and repeats
/// only requests without a response.
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
        organization_guid: checked("team", tsuru_ids::organization(team))?,
        space_guid: checked("team and pool", tsuru_ids::space(team, pool))?,
        names: names(Some(team), Some(pool), Some(name)),
        parameters: fields.parameters(plan.provision.as_ref())?,
        maintenance_version: None,
        accepts_incomplete: true,
    };
    Ok(match state.broker.provision(request).await? {
        Provisioned::Created => HttpResponse::Created().finish(),
        Provisioned::AlreadyExists => HttpResponse::Ok().finish(),
        // Tsuru polls the status when a user requests it.
        Provisioned::InProgress(_) => HttpResponse::Accepted().finish(),
    })
}

/// `PUT`: the complete desired state. Tsuru keeps the desired state even if it is refused. So a
/// later update with the same refused parameter succeeds without changing the parameter.
pub(super) async fn update(
    instance: InstancePath,
    fields: Fields,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    let plan = fields.text("plan")?.map(str::to_owned);
    let desired = RefusedUpdate { plan, parameters: fields.raw_parameters()? };
    let update = UpdateCall { instance: &instance, team: fields.text("team")?, desired };
    let answer = |updated| match updated {
        Updated::Done => HttpResponse::Ok().finish(),
        Updated::InProgress(_) => HttpResponse::Accepted().finish(),
    };
    let refused = match update.apply(&state.broker, &Kept::default()).await {
        Err(error) if error.is_refusal() => error,
        updated => {
            let updated = updated?;
            if state.broker.refused_update(&instance.id).await?.is_some() {
                state.broker.store_refused_update(&instance.id, None).await?;
            }
            return Ok(answer(updated));
        }
    };
    let refused = match update.kept(&state.broker).await? {
        None => refused,
        Some(kept) => match update.apply(&state.broker, &kept).await {
            Err(error) if error.is_refusal() => error,
            updated => return Ok(answer(updated?)),
        },
    };
    state.broker.store_refused_update(&instance.id, Some(&update.desired)).await?;
    Err(TsuruError::RefusedUpdate(Box::new(refused)))
}

/// `DELETE`. Succeeds if the instance is missing. Tsuru keeps the instance after any error, and
/// deletes it after a success. So the handler waits until the removal has finished.
pub(super) async fn delete(
    instance: Result<InstancePath, TsuruError>,
    _body: Fields,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    let removed = match instance {
        Ok(it) => {
            state.broker.deprovision_and_wait(&it.id, REMOVAL_TIMEOUT).await.map_err(Into::into)
        }
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

/// `GET`. Returns labels and values for `service-instance-info`.
pub(super) async fn info(
    instance: InstancePath,
    state: web::Data<TsuruState>,
    client: web::Data<PrometheusClient>,
) -> Result<HttpResponse, TsuruError> {
    let fetched = state.broker.fetch(&instance.id).await?;
    let mut condition = condition::of(&state, &instance.id).await?;
    let is_prometheus = condition.prometheus.is_some();
    let url = match is_prometheus {
        true => urls::prometheus(&state.base_url, &instance.id),
        false => format!("{}/v1/apps", state.base_url),
    };
    // Tsuru displays the plan itself.
    let mut lines = vec![("URL", url), ("State", condition.text.to_owned())];
    if let Some(refused) = state.broker.refused_update(&instance.id).await? {
        let parameters = state.broker.stored_parameters(&instance.id).await?;
        let not_effective = update::not_effective(&instance, &refused, &fetched, &parameters)?;
        lines.push(("Refused, not active", not_effective));
    }
    if let Some(prometheus) = &condition.prometheus {
        let backend = prometheus::backend(&state.base_url, prometheus, &state.pools);
        let summary = client.summary(&backend).await;
        let (up, all) = match summary.counts() {
            Some(counts) => (counts.up, counts.all),
            None => targets(&state, prometheus),
        };
        if condition.problem.is_empty()
            && let Some(it) = summary.failing()
            && let Some(error) = prometheus::error_of(it, &state.table.snapshot(), &state.last)
        {
            condition.problem = format!("{} instance {}: {error}", it.app, it.instance);
        }
        lines.push(("Retention", prometheus.spec.retention.to_string()));
        lines.push(("Targets up / all", format!("{up} / {all}")));
    }
    if is_prometheus || !condition.problem.is_empty() {
        let problem = match condition.problem.as_str() {
            "" => "none".to_owned(),
            problem => problem.to_owned(),
        };
        lines.push(("Last error", problem));
    }
    let line = |(label, value)| json!({ "label": label, "value": value });
    Ok(HttpResponse::Ok().json(lines.into_iter().map(line).collect::<Vec<_>>()))
}

/// `GET …/status`. Tsuru interprets 404 as an unsupported call.
pub(super) async fn status(
    instance: InstancePath,
    state: web::Data<TsuruState>,
) -> Result<HttpResponse, TsuruError> {
    let Condition { state, text, problem, .. } = condition::of(&state, &instance.id).await?;
    let mut response = match state {
        State::Up => return Ok(HttpResponse::NoContent().finish()),
        State::Pending => HttpResponse::Accepted(),
        State::Down => HttpResponse::InternalServerError(),
    };
    let body = if problem.is_empty() { text.to_owned() } else { format!("{text}: {problem}") };
    Ok(response.content_type(ContentType::plaintext()).body(body))
}

/// Target counts if the Prometheus does not respond: the instances of bound apps whose last scrape
/// succeeded, and all instances of bound apps.
fn targets(state: &TsuruState, prometheus: &PrometheusSnapshot) -> (usize, usize) {
    let table = state.table.snapshot();
    let (mut up, mut all) = (0, 0);
    for app in prometheus.targets.apps() {
        let (Some(found), Some(bound)) =
            (table.app(app.as_str()), prometheus.targets.binding_for(app.as_str()))
        else {
            continue;
        };
        let types = &bound.options.process_types;
        for endpoint in found.endpoints.iter() {
            if types.is_empty() || types.contains(&*endpoint.process_type) {
                let last = state.last.of(app, endpoint.address);
                up += usize::from(last.is_some_and(|last| last.result.is_ok()));
                all += 1;
            }
        }
    }
    (up, all)
}

fn pool(request: &HttpRequest) -> Result<&str, TsuruError> {
    let Some(value) = request.headers().get(POOL) else { return Ok("") };
    let wrong = |_| TsuruError::Malformed(format!("{POOL} is not printable"));
    value.to_str().map_err(wrong)
}
