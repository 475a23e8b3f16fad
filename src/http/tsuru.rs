//! The Tsuru service API (contract: tsuru.md 3.1 and 3.2), one prefix for each
//! service of the catalog.
//!
//! Tsuru names things where the Open Service Broker API has GUIDs, and has no
//! ids of bindings: service, instance and app are the key. [`ids`] makes the
//! broker's ids of them. It repeats what it got no answer to, and forgets what
//! it gave up, so whatever is there and equal is a success, and whatever is
//! removed and not there, too. Errors are plain text: Tsuru shows it as it is.

mod binds;
mod condition;
mod environment;
mod error;
mod event;
mod fields;
mod form;
mod ids;
mod instances;
mod leftovers;
mod preconditions;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod update;

use super::auth::BasicCredentials;
use crate::{
    broker::Broker,
    discovery::{RouteTable, TsuruApi},
    domain::CallsWithoutEventId,
    scrape::ScrapeHistory,
};
use actix_web::{HttpResponse, Resource, middleware::from_fn, web};
use error::TsuruError;
pub use leftovers::{Leftovers, configure_leftovers};
use std::sync::Arc;

/// What the handlers need; the app keeps it as `web::Data<TsuruState>`.
#[derive(Clone, Debug)]
pub struct TsuruState {
    /// Decides.
    pub broker: Broker,
    /// The broker's; without them every URL answers 503 and says why. The password is good with
    /// the name of the service as well, which is what Tsuru sends by default.
    pub credentials: Option<BasicCredentials>,
    /// How users reach us, without a slash at its end; goes into variables of apps.
    pub base_url: String,
    /// Confirms binds, if it can be asked.
    pub api: Option<TsuruApi>,
    /// Which calls need no event id.
    pub calls_without_event_id: CallsWithoutEventId,
    /// Who exists.
    pub table: RouteTable,
    /// Who answered.
    pub last: Arc<ScrapeHistory>,
}

/// Adds `/{service}/…`; to be mounted in the scope `/tsuru` of an app that has a
/// `web::Data<TsuruState>`, and a [`PrometheusClient`](crate::query::PrometheusClient) of the worker.
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
        // Tsuru lets each of its users in there, whatever the instance.
        .service(
            web::scope("/authenticated-resources")
                .default_service(web::to(|| async { refuse(TsuruError::NoInstanceData) })),
        )
        .default_service(web::to(|| async { refuse(TsuruError::NotFound) }));
    cfg.service(scope);
}

/// A resource that answers 405 in our format to the methods that it does not have.
fn resource(path: &str, allow: &'static str) -> Resource {
    let refuse = move || async move { refuse(TsuruError::MethodNotAllowed { allow }) };
    web::resource(path).default_service(web::to(refuse))
}

fn refuse(error: TsuruError) -> Result<HttpResponse, TsuruError> {
    Err(error)
}
