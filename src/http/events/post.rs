//! `POST /event` and `POST /v1/events`.

use super::{EventsError, EventsState, caller::QUEUE, json, parameters};
use crate::{
    domain::NewEvent,
    events::{IdempotencyKey, Post, Posted},
    http::{
        accept::prefers_json,
        body::{self, MAX_BYTES},
    },
};
use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::header::{self, HeaderName},
    web,
};
use serde_json::json;

/// Maximum size of a form, in bytes.
const MAX_FORM: usize = 64 << 10;

/// Response header with the number of the stored event.
const EVENT: HeaderName = HeaderName::from_static("x-scrapebroker-event");

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// As in oneShotMetricsServer, the body of the response is empty.
pub(super) async fn post_event(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<EventsState>,
) -> HttpResponse {
    respond(&request, payload, &state, |posted| match prefers_json(&request) {
        true => stored(posted),
        false => HttpResponse::Ok().insert_header((EVENT, posted.first_seq)).finish(),
    })
    .await
}

pub(super) async fn post_events(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<EventsState>,
) -> HttpResponse {
    respond(&request, payload, &state, stored).await
}

fn stored(posted: &Posted) -> HttpResponse {
    HttpResponse::Ok().insert_header((EVENT, posted.first_seq)).json(json!({
        "seq": posted.first_seq,
        "count": posted.count,
        "repeated": posted.is_repeat,
    }))
}

async fn respond(
    request: &HttpRequest,
    payload: web::Payload,
    state: &EventsState,
    success: impl FnOnce(&Posted) -> HttpResponse,
) -> HttpResponse {
    match post(request, payload, state).await {
        Ok(posted) => success(&posted),
        Err(error) => {
            if let Some(rejection) = error.rejection() {
                state.events.metrics().rejected(rejection);
            }
            error.respond(request)
        }
    }
}

async fn post(
    request: &HttpRequest,
    payload: web::Payload,
    state: &EventsState,
) -> Result<Posted, EventsError> {
    let caller = state.caller(request).await?;
    let key = idempotency_key(request)?;
    let kind = BodyKind::of(request)?;
    // A body without a length is limited while it is received.
    let announced = content_length(request).unwrap_or(kind.max_bytes());
    let _memory = state.memory.reserve(announced.min(kind.max_bytes()))?;
    let body = body::read_at_most(payload.into_inner(), kind.max_bytes()).await?;
    let mut query = parameters::pairs(request.query_string().as_bytes())?;
    query.retain(|(name, _)| !state.has_queues || name != QUEUE);
    let events = kind.events(&body, query)?;
    let app_labels = state.app_labels(&caller);
    Ok(state.events.post(Post { queue: caller.queue, events, app_labels, key }).await?)
}

fn content_length(request: &HttpRequest) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, EventsError> {
    let mut values = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(EventsError::RepeatedKey);
    }
    // Other bytes become a text that is no key either.
    let key = value.to_str().unwrap_or_default().parse();
    key.map(Some).map_err(EventsError::Key)
}

/// The format of the body.
#[derive(Clone, Copy)]
enum BodyKind {
    /// Also no body.
    Form,
    Json,
    Lines,
}

impl BodyKind {
    fn of(request: &HttpRequest) -> Result<Self, EventsError> {
        match request.content_type() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Lines),
            "application/x-www-form-urlencoded" | "" => Ok(Self::Form),
            // Clients such as `curl -X POST -H 'Content-Type: text/plain'` send no body with it.
            _ if content_length(request) == Some(0) => Ok(Self::Form),
            other => Err(EventsError::ContentType(other.escape_debug().to_string())),
        }
    }

    fn max_bytes(self) -> usize {
        match self {
            Self::Form => MAX_FORM,
            Self::Json | Self::Lines => MAX_BYTES,
        }
    }

    fn events(
        self,
        body: &[u8],
        query: Vec<(String, String)>,
    ) -> Result<Vec<NewEvent>, EventsError> {
        Ok(match self {
            Self::Json => json::events(body, &query)?,
            Self::Lines => json::lines(body, &query)?,
            Self::Form => {
                let mut pairs = parameters::pairs(body)?;
                pairs.extend(query);
                vec![parameters::event(pairs)?]
            }
        })
    }
}
