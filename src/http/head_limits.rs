//! Limits of request heads, and of all requests in progress, in HTTP/1.1 and HTTP/2.
//!
//! In HTTP/2 a header field of 4 KB can be one byte on the wire. So the size on the wire does not
//! limit the memory of a request. A connection can have many requests there, so the number of
//! connections does not limit the number of requests.

use crate::telemetry::GuardedBody;
use actix_web::{
    Error, HttpResponse, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, ContentType},
    },
    middleware::Next,
    web,
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum number of header fields per request.
const MAX_FIELDS: usize = 90;
/// Maximum size of header names and values per request, in bytes.
const MAX_BYTES: usize = 32 << 10;
/// Memory overhead per header field, in bytes.
const FIELD_OVERHEAD: usize = 256;
/// Memory of a request in addition to its head, in bytes: its handler, a request to an instance and
/// the part of the response that is not sent yet.
const REQUEST_OVERHEAD: usize = 32 << 10;
/// The limit of all requests allows at least this, in bytes.
const MIN_TOTAL_BYTES: usize = 64 << 20;
/// The limit of all requests allows this for each connection, in bytes: a request with a head of
/// 8 KiB. So usual clients with HTTP/1.1 never reach it.
const BYTES_PER_CONNECTION: usize = REQUEST_OVERHEAD + (8 << 10);

/// Memory of all requests in progress, until their responses are sent.
#[derive(Debug)]
pub struct RequestMemory {
    max: usize,
    used: AtomicUsize,
}

/// The memory of one request. It is subtracted when dropped.
pub struct RequestReservation {
    memory: web::Data<RequestMemory>,
    bytes: usize,
}

impl RequestMemory {
    pub fn new(max_connections: usize) -> Self {
        let max = max_connections.saturating_mul(BYTES_PER_CONNECTION).max(MIN_TOTAL_BYTES);
        Self { max, used: AtomicUsize::new(0) }
    }
}

impl RequestReservation {
    fn new(memory: web::Data<RequestMemory>, bytes: usize) -> Result<Self, HeadError> {
        let before = memory.used.fetch_add(bytes, Ordering::Relaxed);
        let is_allowed = before.saturating_add(bytes) <= memory.max;
        // Created in any case, because dropping it subtracts the bytes again.
        let reservation = Self { memory, bytes };
        if is_allowed { Ok(reservation) } else { Err(HeadError::Busy) }
    }
}

impl Drop for RequestReservation {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reasons why a request head is refused.
#[derive(Debug, thiserror::Error)]
enum HeadError {
    #[error("The request has {0} header fields, more than the {MAX_FIELDS} that are allowed.")]
    Fields(usize),
    #[error(
        "The header fields of the request have {0} bytes, more than the {MAX_BYTES} that are allowed."
    )]
    Bytes(usize),
    #[error("Too many requests are under way. Try again in a few seconds.")]
    Busy,
}

impl ResponseError for HeadError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Fields(_) | Self::Bytes(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if matches!(self, Self::Busy) {
            response.insert_header((header::RETRY_AFTER, "5"));
        }
        response.content_type(ContentType::plaintext()).body(format!("{self}\n"))
    }
}

/// Error text for a head that was not read completely.
pub fn refusal(has_too_many_fields: bool) -> String {
    if has_too_many_fields {
        format!("The request has more header fields than the {MAX_FIELDS} that are allowed.\n")
    } else {
        format!("The head of the request is larger than the {MAX_BYTES} bytes that are allowed.\n")
    }
}

/// Middleware that refuses requests with more or larger header fields than allowed, and requests
/// beyond the limit of all requests. Requires [`RequestMemory`] as app data.
///
/// # Errors
/// Returns the refusal, or errors of the wrapped service.
pub async fn check<B: MessageBody + 'static>(
    memory: web::Data<RequestMemory>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<GuardedBody<RequestReservation>>, Error> {
    let bytes = REQUEST_OVERHEAD + head_size(&request)?;
    let reservation = RequestReservation::new(memory, bytes)?;
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| GuardedBody::new(body, reservation)))
}

/// The memory of the head, in bytes.
fn head_size(request: &ServiceRequest) -> Result<usize, HeadError> {
    let headers = request.headers();
    let fields = headers.iter().count();
    let text = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if fields > MAX_FIELDS {
        return Err(HeadError::Fields(fields));
    }
    if text > MAX_BYTES {
        return Err(HeadError::Bytes(text));
    }
    Ok(text + fields * FIELD_OVERHEAD + request.uri().path().len() + request.query_string().len())
}
