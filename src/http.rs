//! HTTP handlers of all listeners.
//!
//! Handlers convert requests into domain types, call one use case, and convert its result into a
//! response. Each API has its own error format.

mod accept;
pub mod access;
pub mod apps;
pub mod auth;
pub mod base_path;
mod body;
pub mod browser;
pub mod doc;
pub mod events;
mod exposition_body;
mod forwarded;
pub mod head_limits;
pub mod health;
pub mod lifecycle;
pub mod osb;
pub mod overview;
pub mod own_metrics;
pub mod paths;
pub mod pools;
pub mod prometheus;
mod query;
mod rate;
mod readiness;
pub mod reload;
pub mod routes;
pub mod sd;
pub mod tsuru;
pub mod ui;
mod urls;

pub(crate) use exposition_body::Accepted;

use actix_web::{
    FromRequest, Handler, HttpResponse, Resource, Responder,
    http::header::{self, ContentType},
    web,
};

/// A read-only resource. It supports GET and HEAD, and responds to other methods with 405.
fn read_only<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::route().to(async || {
            HttpResponse::MethodNotAllowed()
                .insert_header((header::ALLOW, "GET, HEAD"))
                .content_type(ContentType::plaintext())
                .body("This can only be read: use GET or HEAD.\n")
        }))
}

/// The response to unknown paths.
pub async fn not_found() -> HttpResponse {
    HttpResponse::NotFound()
        .content_type(ContentType::plaintext())
        .body("There is nothing at this path. / lists what there is, /doc explains it.\n")
}
