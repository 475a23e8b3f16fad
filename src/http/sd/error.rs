//! Errors of service discovery. Their texts appear in Prometheus' log.

use super::{metrics::Outcome, query::InvalidQuery};
use crate::http::access::Denied;
use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub(super) enum SdError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("{0}.")]
    Query(#[from] InvalidQuery),
    #[error("The bindings are not loaded yet. Try again in a few seconds.")]
    NotYet,
    #[error(
        "No route source has given a table yet, so no target is known. Waiting for: {0}. Try again in a few seconds."
    )]
    NoTableYet(String),
    #[error(
        "The list may lack targets: the routes of {0} are not known at the moment. Try again in a few seconds."
    )]
    Incomplete(String),
    #[error("Rate limit exceeded: at most one request per second.")]
    TooOften(Duration),
    #[error("The list could not be rendered.")]
    Failed,
}

impl From<serde_json::Error> for SdError {
    fn from(error: serde_json::Error) -> Self {
        tracing::error!(%error, "a list of targets could not be written");
        Self::Failed
    }
}

impl SdError {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Denied(_) | Self::Query(_) => Outcome::Refused,
            Self::TooOften(_) => Outcome::TooOften,
            Self::NotYet | Self::NoTableYet(_) | Self::Incomplete(_) | Self::Failed => {
                Outcome::Unavailable
            }
        }
    }
}

impl ResponseError for SdError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Denied(denied) => denied.status_code(),
            Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::NotYet | Self::NoTableYet(_) | Self::Incomplete(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::Denied(denied) => return denied.error_response(),
            Self::NotYet | Self::NoTableYet(_) | Self::Incomplete(_) => {
                response.insert_header((header::RETRY_AFTER, "5"));
            }
            Self::TooOften(wait) => {
                response.insert_header((header::RETRY_AFTER, wait.as_secs().max(1).to_string()));
            }
            Self::Query(_) | Self::Failed => {}
        }
        response.content_type(ContentType::plaintext()).body(format!("{self}\n"))
    }
}
