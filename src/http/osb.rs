//! The Open Service Broker API, version 2.17.
//!
//! Most operations are synchronous (OSB "Synchronous Operations"), also if the platform accepts
//! incomplete operations. Only operations on a Prometheus are asynchronous: the response is 202,
//! and `last_operation` returns the progress. Concurrent requests for an instance are queued. So
//! `ConcurrencyError` is returned only while an asynchronous operation is in progress.
//!
//! Checks run in this order, also for unknown URLs: credentials (401), API version (412), then the
//! request itself. An invalid request never causes a 5xx, and each response is a JSON object. Cloud
//! Controller interprets a 5xx as a partially completed request, and sends a DELETE.

mod bindings;
mod catalog;
mod credentials;
mod error;
mod fields;
mod instances;
mod preconditions;

use super::auth::BasicCredentials;
use crate::{broker::Broker, domain::BaseUrl};
use actix_web::{HttpResponse, Resource, middleware::from_fn, web};
pub(super) use credentials::USERNAME;
use error::OsbError;
pub(super) use error::parts;

/// State of the handlers. It is required as `web::Data<OsbState>`.
#[derive(Clone, Debug)]
pub struct OsbState {
    pub broker: Broker,
    /// Credentials of the platform. Without them every URL responds with 503 and the reason.
    pub credentials: Option<BasicCredentials>,
    /// The public URL without a trailing slash. It is part of the credentials of bindings.
    pub base_url: BaseUrl,
}

/// Adds `/v2/…`. Mount it in the scope `/broker` of an app with `web::Data<OsbState>`.
pub fn configure(cfg: &mut web::ServiceConfig) {
    const INSTANCE: &str = "/v2/service_instances/{instance_id:[^/]*}";
    const BINDING: &str =
        "/v2/service_instances/{instance_id:[^/]*}/service_bindings/{binding_id:[^/]*}";
    let last_operation_of = |path: &str| format!("{path}/last_operation");
    let scope = web::scope("")
        .wrap(from_fn(preconditions::enforce))
        .service(
            resource("/v2/catalog", "GET, HEAD")
                .route(web::get().to(catalog::fetch))
                .route(web::head().to(catalog::fetch)),
        )
        .service(
            resource(INSTANCE, "GET, HEAD, PUT, PATCH, DELETE")
                .route(web::get().to(instances::fetch))
                .route(web::head().to(instances::fetch))
                .route(web::put().to(instances::provision))
                .route(web::patch().to(instances::update))
                .route(web::delete().to(instances::deprovision)),
        )
        .service(
            resource(&last_operation_of(INSTANCE), "GET, HEAD")
                .route(web::get().to(instances::last_operation))
                .route(web::head().to(instances::last_operation)),
        )
        .service(
            resource(BINDING, "GET, HEAD, PUT, DELETE")
                .route(web::get().to(bindings::fetch))
                .route(web::head().to(bindings::fetch))
                .route(web::put().to(bindings::bind))
                .route(web::delete().to(bindings::unbind)),
        )
        .service(
            resource(&last_operation_of(BINDING), "GET, HEAD")
                .route(web::get().to(bindings::last_operation))
                .route(web::head().to(bindings::last_operation)),
        )
        .default_service(web::to(|| async { refuse(OsbError::NotFound) }));
    cfg.service(scope);
}

/// A resource that responds with 405 in OSB format to unsupported methods.
fn resource(path: &str, allow: &'static str) -> Resource {
    let refuse = move || async move { refuse(OsbError::MethodNotAllowed { allow }) };
    web::resource(path).default_service(web::to(refuse))
}

fn refuse(error: OsbError) -> Result<HttpResponse, OsbError> {
    Err(error)
}
