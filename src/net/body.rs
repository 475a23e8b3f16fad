//! Bodies of limited size.

use super::body_reason;
use awc::{ClientResponse, http::header::CONTENT_LENGTH};
use futures_util::StreamExt;

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the response is larger than {0} bytes")]
    TooLarge(u64),
    /// The connection ended before the body was complete.
    #[error("{0}")]
    Truncated(String),
}

/// Reads the body of a response, which may have at most `limit` bytes.
///
/// # Errors
/// The body is larger, or it is incomplete.
pub async fn read_body(response: &mut ClientResponse, limit: u64) -> Result<Vec<u8>, BodyError> {
    let announced = response.headers().get(CONTENT_LENGTH);
    let announced: Option<u64> = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge(limit));
    }
    let capacity = announced.and_then(|length| length.try_into().ok());
    let mut body = Vec::with_capacity(capacity.unwrap_or(0));
    while let Some(chunk) = response.next().await {
        let chunk = chunk.map_err(|error| BodyError::Truncated(body_reason(&error)))?;
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(BodyError::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
