//! Sends one request to a polled source and reads the response.
//!
//! The server may return anything: a login page, an error page of a proxy, an endless body. This
//! module only limits and transfers the response. The caller interprets it.

use super::error::{SourceError, cause};
use crate::net::{self, ReadBodyError};
use awc::ClientRequest;

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
    Ok(net::read_body(&mut response, body_bytes).await?)
}

impl From<ReadBodyError> for SourceError {
    fn from(error: ReadBodyError) -> Self {
        match error {
            ReadBodyError::TooLarge(limit) => Self::TooLarge(limit),
            ReadBodyError::Truncated(reason) => Self::Truncated(cause(reason)),
        }
    }
}
