//! The Tsuru service API, with one path prefix per service of the catalog. Source: tsuru/tsuru,
//! `service/endpoint.go`.
//!
//! Tsuru uses names where the Open Service Broker API uses GUIDs, and has no binding ids. Service,
//! instance and app identify a binding. [`tsuru_ids`](crate::domain::tsuru_ids) derives the broker's
//! ids from these names. Tsuru repeats requests without a response. So creating an identical object
//! and removing a missing object succeed. Errors are plain text, which Tsuru displays to its users.

mod binds;
mod condition;
mod environment;
mod error;
mod event;
mod fields;
mod form;
mod instances;
mod leftovers;
mod path;
mod preconditions;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod update;

use super::auth::BasicCredentials;
use crate::{
    broker::Broker,
    discovery::RouteTable,
    domain::{BaseUrl, CallsWithoutEventId},
    query::InstancePools,
    scrape::ScrapeHistory,
    tsuru::TsuruApi,
};
use actix_web::{HttpResponse, Resource, middleware::from_fn, web};
use error::TsuruError;
pub use leftovers::{Leftovers, configure_leftovers};
use std::sync::Arc;

/// State of the handlers, shared by all workers.
#[derive(Clone, Debug)]
pub struct TsuruState {
    pub broker: Broker,
    /// Credentials of the platform. Without them every URL responds with 503. The password is also
    /// accepted with the name of the service as user name, which is Tsuru's default.
    pub credentials: Option<BasicCredentials>,
    /// The public URL without a trailing slash, for environment variables of apps.
    pub base_url: BaseUrl,
    /// Client of Tsuru's API, to confirm binds. Optional.
    pub api: Option<TsuruApi>,
    pub calls_without_event_id: CallsWithoutEventId,
    pub table: RouteTable,
    pub last: Arc<ScrapeHistory>,
    /// Pools of instances with several replicas.
    pub pools: InstancePools,
}

/// Adds `/{service}/…`. Mount it in the scope `/tsuru` of an app with `web::Data<TsuruState>` and
/// the worker's [`PrometheusClient`](crate::query::PrometheusClient).
pub fn configure(cfg: &mut web::ServiceConfig) {
    const INSTANCE: &str = "/resources/{instance:[^/]*}";
    let below = |rest: &str| format!("{INSTANCE}/{rest}");
    let scope = web::scope("/{service:[^/]*}")
        .wrap(from_fn(preconditions::enforce))
        .service(resource("/resources", "POST").route(web::post().to(instances::create)))
        .service(
            resource("/resources/plans", "GET, HEAD")
                .route(web::get().to(instances::plans))
                .route(web::head().to(instances::plans)),
        )
        .service(
            resource(INSTANCE, "GET, HEAD, PUT, DELETE")
                .route(web::get().to(instances::info))
                .route(web::head().to(instances::info))
                .route(web::put().to(instances::update))
                .route(web::delete().to(instances::delete)),
        )
        .service(
            resource(&below("status"), "GET, HEAD")
                .route(web::get().to(instances::status))
                .route(web::head().to(instances::status)),
        )
        .service(
            resource(&below("bind-app"), "POST, DELETE")
                .route(web::post().to(binds::bind_app))
                .route(web::delete().to(binds::unbind_app)),
        )
        .service(
            resource(&below("bind"), "POST, DELETE")
                .route(web::post().to(binds::bind))
                .route(web::delete().to(binds::unbind)),
        )
        .service(
            resource(&below("binds/jobs/{job:[^/]*}"), "PUT, DELETE")
                .route(web::put().to(binds::bind_job))
                .route(web::delete().to(binds::unbind_job)),
        )
        // Tsuru forwards requests of all users to these paths.
        .service(
            web::scope("/authenticated-resources")
                .default_service(web::to(|| async { refuse(TsuruError::NoInstanceData) })),
        )
        .default_service(web::to(|| async { refuse(TsuruError::NotFound) }));
    cfg.service(scope);
}

/// A resource that responds with 405 in plain text to unsupported methods.
fn resource(path: &str, allow: &'static str) -> Resource {
    let refuse = move || async move { refuse(TsuruError::MethodNotAllowed { allow }) };
    web::resource(path).default_service(web::to(refuse))
}

fn refuse(error: TsuruError) -> Result<HttpResponse, TsuruError> {
    Err(error)
}
