//! `/v1/tsuru/leftovers`: bindings and instances that Tsuru no longer tracks, for operators.
//!
//! `tsuru service-instance-unbind --force` and `service-instance-remove --ignore-errors` ignore
//! errors of Scrapebroker. Then the binding, its token and the instance remain in Scrapebroker.

use crate::{
    broker::{Broker, BrokerError},
    domain::{
        BindingId, InstanceId,
        tsuru_ids::{self, Bindable},
    },
    http::{
        access::{Access, Denied},
        osb,
    },
    tsuru::{TsuruApi, TsuruBinds},
};
use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
    web,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Maximum number of concurrent requests to Tsuru.
const CONCURRENCY: usize = 8;

const API_NOT_CONFIGURED: &str = "routes.tsuru.api_url is not set, so Tsuru cannot be queried";

/// State of the handlers, shared by all workers.
#[derive(Clone, Debug)]
pub struct Leftovers {
    pub broker: Broker,
    pub api: Option<TsuruApi>,
    pub access: Access,
}

/// Adds `/v1/tsuru/leftovers`. Requires [`Leftovers`] as app data.
pub fn configure_leftovers(config: &mut web::ServiceConfig) {
    let not_allowed = async || {
        HttpResponse::MethodNotAllowed()
            .insert_header((header::ALLOW, "GET, HEAD, DELETE"))
            .content_type(ContentType::plaintext())
            .body("This URL answers only GET, HEAD and DELETE.\n")
    };
    config.service(
        web::resource("/v1/tsuru/leftovers")
            .route(web::get().to(list))
            .route(web::head().to(list))
            .route(web::delete().to(remove))
            .default_service(web::route().to(not_allowed)),
    );
}

/// An instance or a binding, by its names in Tsuru.
#[derive(Clone, Debug, Serialize)]
struct Entry {
    service: String,
    instance: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    #[serde(flatten)]
    state: State,
    #[serde(skip)]
    id: InstanceId,
    #[serde(skip)]
    binding: Option<BindingId>,
}

/// Whether Tsuru tracks the entry.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum State {
    /// Tsuru does not track it.
    Gone,
    /// Tsuru did not respond.
    Unknown { reason: String },
}

/// The entry to remove. If empty, everything that Tsuru does not track is removed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntrySelector {
    service: Option<String>,
    instance: Option<String>,
    app: Option<String>,
    job: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum LeftoversError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(
        "The query must be empty, or name service and instance, and perhaps one of app and job."
    )]
    Query,
    #[error("There is no such service instance or binding.")]
    NotFound,
}

async fn list(
    request: HttpRequest,
    leftovers: web::Data<Leftovers>,
) -> Result<HttpResponse, LeftoversError> {
    leftovers.access.operator(&request).await?;
    Ok(HttpResponse::Ok().json(json!({ "leftovers": leftovers.all().await? })))
}

async fn remove(
    request: HttpRequest,
    leftovers: web::Data<Leftovers>,
) -> Result<HttpResponse, LeftoversError> {
    leftovers.access.operator(&request).await?;
    let named = web::Query::<EntrySelector>::from_query(request.query_string());
    let named = named.map_err(|_| LeftoversError::Query)?.into_inner();
    let (removed, kept) = match named {
        EntrySelector { service: None, instance: None, app: None, job: None } => {
            let (gone, unknown): (Vec<_>, Vec<_>) = leftovers
                .all()
                .await?
                .into_iter()
                .partition(|entry| matches!(entry.state, State::Gone));
            for entry in &gone {
                match leftovers.remove(&entry.id, entry.binding.as_ref()).await {
                    // Tsuru may have removed it in the meantime.
                    Err(LeftoversError::NotFound) => {}
                    removed => removed?,
                }
            }
            (json!(gone), unknown)
        }
        named => (leftovers.remove_named(named).await?, Vec::new()),
    };
    Ok(HttpResponse::Ok().json(json!({ "removed": removed, "kept": kept })))
}

impl Leftovers {
    /// Everything that Tsuru does not track, or for which Tsuru did not respond.
    async fn all(&self) -> Result<Vec<Entry>, BrokerError> {
        let instances = self.broker.list().await?;
        let entries = stream::iter(instances)
            .map(|(id, bindings)| async move { Ok(self.of_instance(id, &bindings).await) })
            .buffered(CONCURRENCY);
        entries.try_concat().await
    }

    async fn of_instance(&self, id: InstanceId, bindings: &[BindingId]) -> Vec<Entry> {
        let Some((service, instance)) = tsuru_ids::names_of(&id) else { return Vec::new() };
        let entry = |state| Entry {
            service: service.to_owned(),
            instance: instance.to_owned(),
            app: None,
            job: None,
            state,
            id: id.clone(),
            binding: None,
        };
        let known = match &self.api {
            None => Err(API_NOT_CONFIGURED.to_owned()),
            Some(api) => api.binds_of(service, instance).await.map_err(|error| error.to_string()),
        };
        let known = match known {
            Err(reason) => return vec![entry(State::Unknown { reason })],
            Ok(None) => return vec![entry(State::Gone)],
            Ok(Some(known)) => known,
        };
        let unbound = bindings.iter().filter_map(|binding| {
            let bound = tsuru_ids::bindable_of(&id, binding)?;
            let (app, job) = match bound {
                Bindable::App(name) => (Some(name.to_owned()), None),
                Bindable::Job(name) => (None, Some(name.to_owned())),
            };
            let of_binding =
                |state| Entry { app, job, binding: Some(binding.clone()), ..entry(state) };
            Some(of_binding(state_of(&known, bound)?))
        });
        unbound.collect()
    }

    async fn remove_named(
        &self,
        named: EntrySelector,
    ) -> Result<serde_json::Value, LeftoversError> {
        let (Some(service), Some(instance)) = (&named.service, &named.instance) else {
            return Err(LeftoversError::Query);
        };
        let id = tsuru_ids::instance(service, instance).map_err(|_| LeftoversError::Query)?;
        let bound = match (&named.app, &named.job) {
            (None, None) => None,
            (Some(app), None) => Some(Bindable::App(app)),
            (None, Some(job)) => Some(Bindable::Job(job)),
            (Some(_), Some(_)) => return Err(LeftoversError::Query),
        };
        let binding = bound.map(|bound| tsuru_ids::binding(&id, bound)).transpose();
        let binding = binding.map_err(|_| LeftoversError::Query)?;
        self.remove(&id, binding.as_ref()).await?;
        let EntrySelector { service, instance, app, job } = named;
        let mut removed = json!({ "service": service, "instance": instance });
        for (key, name) in [("app", app), ("job", job)] {
            if let Some(name) = name {
                removed[key] = name.into();
            }
        }
        Ok(json!([removed]))
    }

    /// Removes a binding, or an instance with all its bindings.
    async fn remove(
        &self,
        id: &InstanceId,
        binding: Option<&BindingId>,
    ) -> Result<(), LeftoversError> {
        let removed = match binding {
            Some(binding) => self.broker.unbind(id, binding).await,
            None => self.broker.deprovision(id).await.map(drop),
        };
        removed.map_err(|error| match error {
            BrokerError::InstanceGone | BrokerError::BindingGone => LeftoversError::NotFound,
            error => error.into(),
        })
    }
}

/// `None` if it is bound.
fn state_of(known: &TsuruBinds, bound: Bindable<'_>) -> Option<State> {
    match bound {
        Bindable::App(name) => (!known.apps.contains(name)).then_some(State::Gone),
        Bindable::Job(name) => match &known.jobs {
            Some(jobs) => (!jobs.contains(name)).then_some(State::Gone),
            None => Some(State::Unknown { reason: "Tsuru's API does not report jobs".to_owned() }),
        },
    }
}

impl ResponseError for LeftoversError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Denied(denied) => denied.status_code(),
            Self::Broker(error) => osb::parts(error).0,
            Self::Query => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Denied(denied) => denied.error_response(),
            _ => HttpResponse::build(self.status_code())
                .content_type(ContentType::plaintext())
                .body(format!("{self}\n")),
        }
    }
}
