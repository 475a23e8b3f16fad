//! The Open Service Broker API, version 2.17 (contract: osb.md).
//!
//! Most is done at once, whether the platform accepts incomplete operations or
//! not (OSB "Synchronous Operations"). Only a Prometheus takes longer than a
//! request: then the answer is 202, and `last_operation` tells how far it is.
//! Requests about one instance wait for each other, so a `ConcurrencyError` is
//! the answer only while such an operation is in progress.
//!
//! Checks come in this order, on every URL, known or not: 401 (who), 412 (which
//! version), then the request itself. Whatever a client sends, the answer is a
//! JSON object and no 5xx: Cloud Controller takes a 5xx for a half-done request
//! and sends a DELETE after it.

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

/// What the handlers need; the app keeps it as `web::Data<OsbState>`.
#[derive(Clone, Debug)]
pub struct OsbState {
    /// Decides.
    pub broker: Broker,
    /// The platform's; without them every URL answers 503 and says why.
    pub credentials: Option<BasicCredentials>,
    /// How users reach us, without a slash at its end; goes into credentials.
    pub base_url: BaseUrl,
}

/// Adds `/v2/…`; to be mounted in the scope `/broker` of an app that has a
/// `web::Data<OsbState>`.
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

/// A resource that answers 405 in our format to the methods that it does not have.
fn resource(path: &str, allow: &'static str) -> Resource {
    let refuse = move || async move { refuse(OsbError::MethodNotAllowed { allow }) };
    web::resource(path).default_service(web::to(refuse))
}

fn refuse(error: OsbError) -> Result<HttpResponse, OsbError> {
    Err(error)
}
