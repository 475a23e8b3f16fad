//! Health and readiness.

use crate::{
    discovery::RouteTable,
    http::{lifecycle::Lifecycle, read_only, readiness},
};
use actix_web::{HttpResponse, http::header, web};

/// State of the handlers, shared by all workers.
#[derive(Clone)]
pub struct Health {
    pub lifecycle: Lifecycle,
    pub table: RouteTable,
    /// Set if bindings are stored on a disk that may be lost.
    pub warning: Option<&'static str>,
}

/// Adds `/-/healthy`, its other names, and `/-/ready`. Requires [`Health`] as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    configure_liveness(config);
    config.service(read_only("/-/ready", ready));
}

/// Adds `/-/healthy`, and the names of it that exporters and platforms use.
pub fn configure_liveness(config: &mut web::ServiceConfig) {
    for path in ["/-/healthy", "/health", "/healthz"] {
        config.service(read_only(path, healthy));
    }
}

/// Configures the listener for load balancers. It responds with readiness on every other path, like
/// promfetcher.
pub fn configure_health(config: &mut web::ServiceConfig) {
    configure_liveness(config);
    config.default_service(web::route().to(ready));
}

async fn healthy(health: web::Data<Health>) -> HttpResponse {
    let (mut response, state) = match health.lifecycle.is_over() {
        true => (HttpResponse::ServiceUnavailable(), "stopping\n"),
        false => (HttpResponse::Ok(), "healthy\n"),
    };
    response.content_type(header::ContentType::plaintext()).body(state)
}

async fn ready(health: web::Data<Health>) -> HttpResponse {
    let table = health.table.snapshot();
    let waiting_for = readiness::waiting_for(&table);
    let (mut response, mut text) = if health.lifecycle.is_draining() {
        (HttpResponse::ServiceUnavailable(), "stopping\n".to_owned())
    } else if !table.has_table() {
        let text = format!("waiting for the first route table of: {waiting_for}\n");
        (HttpResponse::ServiceUnavailable(), text)
    } else if waiting_for.is_empty() {
        (HttpResponse::Ok(), "ready\n".to_owned())
    } else {
        let text = format!("ready\nwarning: no route table yet of: {waiting_for}\n");
        (HttpResponse::Ok(), text)
    };
    if let Some(warning) = health.warning {
        text.push_str(&format!("warning: {warning}\n"));
    }
    response.content_type(header::ContentType::plaintext()).body(text)
}
