//! Style sheet, script and icon of all pages.

use crate::http::read_only;
use actix_web::{HttpResponse, http::header, web};

/// Adds the files. The Content-Security-Policy forbids inline styles and scripts.
pub(in crate::http) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(read_only("/style.css", async || {
            asset("text/css; charset=utf-8", include_str!("style.css"))
        }))
        .service(read_only("/scrapebroker.js", async || {
            asset("text/javascript; charset=utf-8", include_str!("script.js"))
        }))
        .service(read_only("/scrapebroker.svg", async || {
            asset("image/svg+xml", include_str!("icon.svg"))
        }));
}

fn asset(content_type: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        // The URL contains the version, so the file can be cached.
        .insert_header((header::CACHE_CONTROL, "public, max-age=86400"))
        .body(text)
}
