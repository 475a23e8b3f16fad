//! Refused and failed requests for events.

use super::{json::JsonError, parameters::ParameterError};
use crate::{
    domain::EventLabelError,
    events::{InvalidKey, PostError, Rejection, ScrapeError, ScraperNameError},
    http::{accept::prefers_json, access::Denied, body::BodyError},
    store::StoreError,
    telemetry::causes,
};
use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
};
use serde_json::json;
use std::time::Duration;

/// Reasons why a request is refused or fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum EventsError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(
        "{0}: send a form, application/json or application/x-ndjson, or no body and parameters in the URL"
    )]
    ContentType(String),
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    #[error("the JSON is malformed: {0}")]
    JsonSyntax(JsonError),
    #[error("the event cannot be stored: {0}")]
    Json(JsonError),
    #[error("the event cannot be stored: {0}")]
    Label(#[from] EventLabelError),
    #[error("{name}: {problem}")]
    Query { name: &'static str, problem: String },
    #[error("Idempotency-Key: {0}")]
    Key(InvalidKey),
    #[error("Idempotency-Key: is sent twice")]
    RepeatedKey,
    #[error("the name of the scraper {0}")]
    Scraper(#[from] ScraperNameError),
    #[error(
        "events with timestamps: scrape need HTTP/1.1, because only there the delivery of a response can be observed; set enable_http2: false in the scrape configuration, or events.timestamps to explicit"
    )]
    Http2,
    #[error("too many requests and responses are under way; try again")]
    Busy,
    #[error("there is no queue of events with this binding id")]
    UnknownQueue,
    #[error("there is no event {0} in this queue, or it was deleted")]
    UnknownEvent(i64),
    #[error(transparent)]
    Post(#[from] PostError),
    #[error(transparent)]
    Scrape(#[from] ScrapeError),
    #[error("the database is not available; try again")]
    Store(#[from] StoreError),
    #[error("the response cannot be written: {0}")]
    Render(String),
}

impl From<JsonError> for EventsError {
    fn from(error: JsonError) -> Self {
        if error.is_syntax() { Self::JsonSyntax(error) } else { Self::Json(error) }
    }
}

impl EventsError {
    /// The error as plain text, or as JSON if the client prefers it.
    pub(super) fn respond(&self, request: &HttpRequest) -> HttpResponse {
        if let Self::Denied(denied) = self {
            return denied.error_response();
        }
        let status = self.status_code();
        if status.is_server_error() && status != StatusCode::HTTP_VERSION_NOT_SUPPORTED {
            tracing::warn!(error = causes(self), "request for events failed");
        }
        let mut response = HttpResponse::build(status);
        if let Some(wait) = self.retry_after() {
            response.insert_header((header::RETRY_AFTER, wait.as_secs().max(1).to_string()));
        }
        if prefers_json(request) {
            return response.json(json!({ "error": self.to_string() }));
        }
        response.content_type(ContentType::plaintext()).body(format!("{self}\n"))
    }

    fn status_code(&self) -> StatusCode {
        match self {
            Self::Denied(denied) => denied.status_code(),
            Self::Body(error) => error.status(),
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Parameter(_)
            | Self::JsonSyntax(_)
            | Self::Query { .. }
            | Self::Key(_)
            | Self::RepeatedKey => StatusCode::BAD_REQUEST,
            Self::Json(_) | Self::Label(_) | Self::Scraper(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Http2 => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::UnknownEvent(_) | Self::UnknownQueue => StatusCode::NOT_FOUND,
            Self::Post(error) => post_status(error),
            Self::Scrape(ScrapeError::TooManyScrapers(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::Scrape(ScrapeError::QueueGone) => StatusCode::GONE,
            Self::Busy | Self::Scrape(_) | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Render(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Post(PostError::Full { .. }) => Some(Duration::from_secs(30)),
            Self::Post(PostError::TooFast(wait)) => Some(*wait),
            Self::Scrape(ScrapeError::TooManyScrapers(wait)) => Some(*wait),
            _ if matches!(
                self.status_code(),
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
            ) =>
            {
                Some(Duration::from_secs(1))
            }
            _ => None,
        }
    }

    /// The reason of a refused post that was not counted yet.
    pub(super) fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Post(_) => None,
            Self::Denied(_) | Self::UnknownQueue => Some(Rejection::Access),
            Self::Body(BodyError::TooLarge(_)) | Self::Json(JsonError::TooMany) => {
                Some(Rejection::TooLarge)
            }
            Self::Label(_) | Self::Json(_) => Some(Rejection::Label),
            Self::Busy | Self::Store(_) => Some(Rejection::Unavailable),
            _ => Some(Rejection::Malformed),
        }
    }
}

fn post_status(error: &PostError) -> StatusCode {
    match error {
        PostError::Full { .. } | PostError::TooFast(_) | PostError::SeriesTooFast => {
            StatusCode::TOO_MANY_REQUESTS
        }
        PostError::QueueGone => StatusCode::GONE,
        PostError::Busy | PostError::Late | PostError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}
