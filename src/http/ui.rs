//! What all HTML pages have in common: layout, assets, formats of values, error pages.
//!
//! Pages are rendered on the server. They work without the script, load nothing from other hosts,
//! and have a JSON twin at the same path.

mod assets;
pub mod error_page;
pub mod format;
mod layout;
pub mod list;
pub mod plot;

pub(super) use assets::configure as configure_assets;
pub use layout::{Layout, Section, Viewer};

use crate::http::{accept::prefers_json, browser};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType},
};
use askama::Template;
use serde::Serialize;

/// Responds with the page, or with `twin` as JSON if the client prefers that. Both show the current
/// state to one client, so they must not be cached.
pub(super) fn respond(
    request: &HttpRequest,
    page: &impl Template,
    twin: &impl Serialize,
) -> HttpResponse {
    let mut response = match prefers_json(request) {
        true => HttpResponse::Ok().json(twin),
        false => self::page(page),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, header::HeaderValue::from_static("Accept, Authorization"));
    response
}

/// Responds with a page that has no JSON twin.
pub(super) fn page(template: &impl Template) -> HttpResponse {
    match template.render() {
        Ok(page) => HttpResponse::Ok()
            .content_type(ContentType::html())
            .insert_header((header::CONTENT_SECURITY_POLICY, browser::PAGES))
            .body(page),
        Err(error) => {
            tracing::error!(%error, "page not rendered");
            HttpResponse::InternalServerError().body("this page could not be written\n")
        }
    }
}
