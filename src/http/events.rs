//! Events: posted by scripts, scraped by Prometheus.
//!
//! ```text
//! events.listen:   POST /event        GET /metrics               (as oneShotMetricsServer)
//! main listener:   POST /v1/events    GET /v1/events/metrics     GET /v1/events    …/annotations
//! ```

mod annotations;
mod caller;
mod error;
pub mod json;
mod look;
mod memory;
pub mod parameters;
mod post;
mod scrape;
mod scraper;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;

use crate::{
    broker::BindingTable,
    discovery::RouteTable,
    domain::BaseUrl,
    events::Events,
    http::{accept::first_media_type, access::Access, lifecycle::Lifecycle, read_only},
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, ContentType},
    web,
};
use error::EventsError;
use memory::{BodyMemory, ReservedBody};
pub use scraper::ScraperIdentity;

/// State of the handlers, shared by all workers.
#[derive(Clone, Debug)]
pub struct EventsState {
    events: Events,
    access: Access,
    identity: ScraperIdentity,
    /// Whether this listener requires credentials.
    token_required: bool,
    /// Whether `queue` is a parameter of this listener, and no label.
    has_queues: bool,
    lifecycle: Lifecycle,
    table: RouteTable,
    bound: BindingTable,
    base_url: BaseUrl,
    memory: BodyMemory,
}

/// Parts of the program that the handlers need.
#[derive(Debug)]
pub struct EventsParts {
    pub events: Events,
    pub access: Access,
    pub identity: ScraperIdentity,
    pub lifecycle: Lifecycle,
    pub table: RouteTable,
    pub bound: BindingTable,
    pub base_url: BaseUrl,
}

impl EventsState {
    /// State of the main listener.
    pub fn new(parts: EventsParts) -> Self {
        let EventsParts { events, access, identity, lifecycle, table, bound, base_url } = parts;
        Self {
            events,
            access,
            identity,
            token_required: true,
            has_queues: true,
            lifecycle,
            table,
            bound,
            base_url,
            memory: BodyMemory::default(),
        }
    }

    /// A JSON response, whose memory is limited like that of scrapes.
    fn json(&self, body: &impl serde::Serialize) -> Result<HttpResponse, EventsError> {
        let bytes = serde_json::to_vec(body);
        let bytes = bytes.map_err(|error| EventsError::Render(error.to_string()))?;
        let body = ReservedBody::new(bytes, &self.memory)?;
        let mut response = HttpResponse::Ok();
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        response.insert_header((header::VARY, "Accept"));
        Ok(response.content_type(ContentType::json()).body(body))
    }

    /// State of the listener of events. It shares the memory of bodies.
    #[must_use]
    pub fn for_listener(self, token_required: bool) -> Self {
        Self { token_required, has_queues: false, ..self }
    }
}

/// Adds `/v1/events…` and `/events` to the main listener. Requires [`EventsState`] as app data.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/v1/events")
                .route(web::post().to(post::post_events))
                .route(web::get().to(look::events))
                .route(web::head().to(look::events))
                .default_service(web::route().to(|| other_method("GET, HEAD, POST"))),
        )
        .service(read_only("/v1/events/metrics", scrape::metrics))
        .service(
            web::resource("/v1/events/annotations")
                .route(web::post().to(annotations::search))
                .route(web::get().to(annotations::list))
                .route(web::head().to(annotations::list))
                .default_service(web::route().to(|| other_method("GET, HEAD, POST"))),
        )
        .service(read_only("/v1/events/{seq}", look::event))
        .service(read_only("/events", look::page));
}

/// Configures the listener of events. Requires the same app data.
pub fn configure_listener(config: &mut web::ServiceConfig) {
    config
        .service(read_only("/", async || text("Welcome to Events-to-metrics!")))
        .service(read_only("/healthz", async || text("I'm not quite dead!")))
        .service(
            web::resource("/event")
                .route(web::post().to(post::post_event))
                .default_service(web::route().to(|| other_method("POST"))),
        )
        .service(read_only("/metrics", scrape::metrics))
        .default_service(web::route().to(async || {
            HttpResponse::NotFound()
                .content_type(ContentType::plaintext())
                .body("There is nothing at this path: use POST /event and GET /metrics.\n")
        }));
}

async fn other_method(allowed: &'static str) -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, allowed))
        .content_type(ContentType::plaintext())
        .body(format!("This method is not supported here: use {allowed}.\n"))
}

fn text(body: &'static str) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::plaintext()).body(body)
}

/// Whether the request was made by a browser. A person who looks at the metrics is no scraper.
fn is_browser(request: &HttpRequest) -> bool {
    let has_fetch_metadata =
        request.headers().keys().any(|name| name.as_str().starts_with("sec-fetch-"));
    has_fetch_metadata || first_media_type(request).eq_ignore_ascii_case("text/html")
}
