//! Sends one request to a polled source and reads the response.
//!
//! The server may return anything: a login page, an error page of a proxy, an endless body. This
//! module only limits and transfers the response. The caller interprets it.

use super::error::{SourceError, cause};
use crate::net;
use awc::{ClientRequest, http::header::CONTENT_LENGTH};
use futures_util::StreamExt;

/// Sends `request` and returns the body of a response with status 200.
pub(super) async fn fetch(request: ClientRequest, body_bytes: u64) -> Result<Vec<u8>, SourceError> {
    let sent = net::send(request).await;
    let mut response =
        sent.map_err(|error| SourceError::Unreachable(cause(net::reason(&error))))?;
    match response.status().as_u16() {
        200 => {}
        status @ (401 | 403) => return Err(SourceError::Credentials(status)),
        status @ 300..=399 => return Err(SourceError::Redirect(status)),
        status => return Err(SourceError::Status(status)),
    }
    let announced = response.headers().get(CONTENT_LENGTH);
    let announced: Option<u64> = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    let too_large = Err(SourceError::TooLarge(body_bytes));
    if announced.is_some_and(|bytes| bytes > body_bytes) {
        return too_large;
    }
    let mut body = Vec::with_capacity(announced.and_then(|n| n.try_into().ok()).unwrap_or(0));
    while let Some(chunk) = response.next().await {
        let chunk =
            chunk.map_err(|error| SourceError::Truncated(cause(net::body_reason(&error))))?;
        if (body.len() + chunk.len()) as u64 > body_bytes {
            return too_large;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
