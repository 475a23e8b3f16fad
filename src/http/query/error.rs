//! Errors of queries.

use crate::{
    http::access::Denied,
    query::{QueryFailure, RequestBodyError},
};
use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
};
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum Problem {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("There is no Prometheus of this name, or it was deleted.")]
    Unknown,
    #[error("There is no query pool of this name.")]
    UnknownPool,
    #[error(
        "This path is not forwarded. Users can read queries, labels, targets, rules and alerts; configuration, flags and statistics of the server are for its operator."
    )]
    NotForwarded,
    #[error("This method is not allowed: use {0}.")]
    Method(&'static str),
    #[error("A POST has its parameters as a form: application/x-www-form-urlencoded.")]
    NoForm,
    #[error("{0} must be {1}.")]
    Parameter(&'static str, &'static str),
    #[error("{0}.")]
    Failed(#[from] QueryFailure),
}

/// A problem, and the format of its response.
#[derive(Debug)]
pub(in crate::http) struct PrometheusError {
    pub(in crate::http) problem: Problem,
    /// Use the JSON error format of Prometheus' API, whose text clients display.
    pub(in crate::http) is_api: bool,
}

impl From<RequestBodyError> for Problem {
    fn from(error: RequestBodyError) -> Self {
        Self::Failed(error.into())
    }
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::Denied(denied) => denied.status_code(),
            Self::Unknown | Self::UnknownPool | Self::NotForwarded => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Parameter(..) => StatusCode::BAD_REQUEST,
            Self::NoForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Failed(QueryFailure::RequestBody(RequestBodyError::TooLong(_))) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            // If the client has disconnected, the status appears in the log only.
            Self::Failed(QueryFailure::RequestBody(_)) => StatusCode::REQUEST_TIMEOUT,
            Self::Failed(
                QueryFailure::Unavailable(_)
                | QueryFailure::Busy
                | QueryFailure::TooManyForWrite(_),
            ) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(QueryFailure::TooMany(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::Failed(QueryFailure::Timeout(_)) => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed(
                QueryFailure::Broken | QueryFailure::Refused | QueryFailure::Unusable(_),
            ) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The most similar error type of Prometheus' API.
    fn error_type(&self) -> &'static str {
        match self {
            Self::Failed(
                QueryFailure::Unavailable(_)
                | QueryFailure::Busy
                | QueryFailure::TooMany(_)
                | QueryFailure::TooManyForWrite(_),
            ) => "unavailable",
            Self::Failed(QueryFailure::RequestBody(_)) => "bad_data",
            Self::Failed(QueryFailure::Timeout(_)) => "timeout",
            Self::Failed(_) => "internal",
            Self::Unknown | Self::UnknownPool | Self::NotForwarded => "not_found",
            _ => "bad_data",
        }
    }
}

impl PrometheusError {
    pub(in crate::http) fn response(&self) -> HttpResponse {
        if let Problem::Denied(denied) = &self.problem {
            return denied.error_response();
        }
        let status = self.problem.status();
        if status.is_server_error() {
            tracing::warn!(error = %self.problem, "prometheus query failed");
        }
        let mut response = HttpResponse::build(status);
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.insert_header((header::RETRY_AFTER, "5"));
        }
        if let Problem::Method(methods) = &self.problem {
            response.insert_header((header::ALLOW, *methods));
        }
        let text = self.problem.to_string();
        if self.is_api {
            let error_type = self.problem.error_type();
            return response
                .json(json!({ "status": "error", "errorType": error_type, "error": text }));
        }
        response.content_type(ContentType::plaintext()).body(format!("{text}\n"))
    }
}
