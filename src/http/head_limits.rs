//! Limits of request heads, in HTTP/1.1 and HTTP/2.
//!
//! In HTTP/2 a header field of 4 KB can be one byte on the wire. So the size on the wire does not
//! limit the memory of a request.

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
/// Maximum size of the heads of all requests in progress, in bytes.
const MAX_TOTAL_BYTES: usize = 64 << 20;

/// Total size of the heads of requests in progress.
#[derive(Debug, Default)]
pub struct RequestHeads(AtomicUsize);

/// The size of one head. It is subtracted when dropped.
struct HeadReservation<'a> {
    heads: &'a RequestHeads,
    bytes: usize,
}

impl RequestHeads {
    fn reserve(&self, bytes: usize) -> Result<HeadReservation<'_>, HeadError> {
        // Created first, so that dropping it subtracts the bytes again.
        let reservation = HeadReservation { heads: self, bytes };
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > MAX_TOTAL_BYTES {
            Err(HeadError::Busy)
        } else {
            Ok(reservation)
        }
    }
}

impl Drop for HeadReservation<'_> {
    fn drop(&mut self) {
        self.heads.0.fetch_sub(self.bytes, Ordering::Relaxed);
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

/// Middleware that refuses requests with more or larger header fields than allowed. Requires
/// [`RequestHeads`] as app data.
///
/// # Errors
/// Returns the refusal, or errors of the wrapped service.
pub async fn check<B: MessageBody + 'static>(
    heads: web::Data<RequestHeads>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let _reservation = heads.reserve(size(&request)?)?;
    next.call(request).await
}

/// The memory of the head, in bytes.
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
    Ok(text + fields * FIELD_OVERHEAD + request.uri().path().len() + request.query_string().len())
}
