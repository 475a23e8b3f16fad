//! Buffered bodies of platform requests.

use actix_web::{dev::Payload, error::PayloadError, http::StatusCode, web::BytesMut};
use futures_util::StreamExt;
use std::time::Duration;

/// Maximum size of a body, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Timeout for receiving a body. Platforms send small bodies that are already complete.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the body was not received within {} s", TIMEOUT.as_secs())]
    TooSlow,
    #[error("the body is incomplete")]
    CutOff,
}

impl BodyError {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::CutOff => StatusCode::BAD_REQUEST,
        }
    }
}

pub(super) async fn read(payload: Payload) -> Result<BytesMut, BodyError> {
    let body = tokio::time::timeout(TIMEOUT, receive(payload)).await;
    body.unwrap_or(Err(BodyError::TooSlow))
}

async fn receive(mut payload: Payload) -> Result<BytesMut, BodyError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| match error {
            PayloadError::Overflow => BodyError::TooLarge,
            _ => BodyError::CutOff,
        })?;
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
