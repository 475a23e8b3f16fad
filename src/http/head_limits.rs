//! Limits on the heads of requests, in either version of HTTP.
//!
//! In HTTP/2 a header field of 4 KB may be a byte on the wire, so what arrived
//! says nothing about what a request takes.

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

/// Limit of header fields per request.
const MAX_FIELDS: usize = 90;
/// Limit of their names and values in bytes.
const MAX_BYTES: usize = 32 << 10;
/// Memory of a field besides its text, in bytes.
const FIELD: usize = 256;
/// Limit for the heads of all requests in progress, in bytes.
const MAX_HELD: usize = 64 << 20;

/// The heads of requests under way.
#[derive(Debug, Default)]
pub struct RequestHeads(AtomicUsize);

/// Bytes of one head, given back when dropped.
struct Held<'a> {
    heads: &'a RequestHeads,
    bytes: usize,
}

impl RequestHeads {
    fn hold(&self, bytes: usize) -> Result<Held<'_>, HeadError> {
        // From here on they are given back.
        let held = Held { heads: self, bytes };
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > MAX_HELD { Err(HeadError::Busy) } else { Ok(held) }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.heads.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a request is refused for its head.
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

/// The text for a head that was not read to its end.
pub fn refusal(has_too_many_fields: bool) -> String {
    if has_too_many_fields {
        format!("The request has more header fields than the {MAX_FIELDS} that are allowed.\n")
    } else {
        format!("The head of the request is larger than the {MAX_BYTES} bytes that are allowed.\n")
    }
}

/// Refuses requests with more or larger header fields than allowed. Needs [`RequestHeads`] as
/// app data.
///
/// # Errors
/// Those of the request, and the refusal.
pub async fn check<B: MessageBody + 'static>(
    heads: web::Data<RequestHeads>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let _held = heads.hold(size(&request)?)?;
    next.call(request).await
}

/// What the head takes in memory.
fn size(request: &ServiceRequest) -> Result<usize, HeadError> {
    let headers = request.headers();
    let fields = headers.iter().count();
    let text = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if fields > MAX_FIELDS {
        return Err(HeadError::Fields(fields));
    }
    if text > MAX_BYTES {
        return Err(HeadError::Bytes(text));
    }
    Ok(text + fields * FIELD + request.uri().path().len() + request.query_string().len())
}
