//! Buffered bodies of requests.

use actix_web::{dev::Payload, error::PayloadError, http::StatusCode, web::BytesMut};
use futures_util::StreamExt;
use std::time::Duration;

/// Maximum size of a body, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Timeout for receiving a body. Clients send small bodies that are already complete.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body was not received within {} s", TIMEOUT.as_secs())]
    TooSlow,
    #[error("the body is incomplete")]
    CutOff,
}

impl BodyError {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::CutOff => StatusCode::BAD_REQUEST,
        }
    }
}

pub(super) async fn read(payload: Payload) -> Result<BytesMut, BodyError> {
    read_at_most(payload, MAX_BYTES).await
}

pub(super) async fn read_at_most(payload: Payload, max: usize) -> Result<BytesMut, BodyError> {
    let body = tokio::time::timeout(TIMEOUT, receive(payload, max)).await;
    body.unwrap_or(Err(BodyError::TooSlow))
}

async fn receive(mut payload: Payload, max: usize) -> Result<BytesMut, BodyError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| match error {
            PayloadError::Overflow => BodyError::TooLarge(max),
            _ => BodyError::CutOff,
        })?;
        if body.len() + chunk.len() > max {
            return Err(BodyError::TooLarge(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
