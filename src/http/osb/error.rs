//! Errors of the broker API (OSB specification, section "Service Broker Errors").

use crate::{
    broker::BrokerError,
    domain::prometheus::Refusal,
    http::{access::Denied, auth::CHALLENGE, body::BodyError},
    store::StoreError,
};
use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde::Serialize;

#[derive(Debug, thiserror::Error)]
pub(super) enum OsbError {
    #[error("the broker is not configured: set broker.username and broker.password")]
    NotConfigured,
    #[error("wrong or missing credentials")]
    Unauthorized,
    #[error(transparent)]
    TooManyLogins(Denied),
    #[error("X-Broker-API-Version must be 2.x, as in 2.17")]
    UnsupportedVersion,
    #[error("there is nothing at this URL")]
    NotFound,
    #[error("this URL answers only {allow}")]
    MethodNotAllowed { allow: &'static str },
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A sentence that states what to change.
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A refused provision or bind request.
    #[error(transparent)]
    Put(BrokerError),
}

#[derive(Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    description: String,
    /// Set if repeating the same update cannot succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    update_repeatable: Option<bool>,
}

/// The status, and the error code if the specification defines one.
///
/// The match has no catch-all arm, so that a new [`BrokerError`] requires a decision.
pub(in crate::http) fn parts(error: &BrokerError) -> (StatusCode, Option<&'static str>) {
    use BrokerError::*;
    match error {
        UnknownService | UnknownPlan | Parameter(_) | NoParameters | NoKeyParameters
        | NoBindParameters | OtherService | OtherPlan | NotBindable | PredecessorUnknown
        | NotRotatable => (StatusCode::BAD_REQUEST, None),
        InstanceUnknown | BindingUnknown => (StatusCode::NOT_FOUND, None),
        InstanceConflict | BindingConflict => (StatusCode::CONFLICT, None),
        InstanceGone | BindingGone => (StatusCode::GONE, None),
        PlanNotUpdateable
        | ProvisionFailed(_)
        | OtherKind
        | Loss(_)
        | NoProvisioner
        | Refused(Refusal::Capacity(_)) => (StatusCode::UNPROCESSABLE_ENTITY, None),
        Refused(Refusal::Parameter(_)) => (StatusCode::BAD_REQUEST, None),
        AsyncRequired => (StatusCode::UNPROCESSABLE_ENTITY, Some("AsyncRequired")),
        Concurrency(_) => (StatusCode::UNPROCESSABLE_ENTITY, Some("ConcurrencyError")),
        DeprovisionFailed(_) => (StatusCode::SERVICE_UNAVAILABLE, None),
        MaintenanceInfoConflict => {
            (StatusCode::UNPROCESSABLE_ENTITY, Some("MaintenanceInfoConflict"))
        }
        Store(error) => match error {
            StoreError::Unavailable { .. }
            | StoreError::NewerVersion { .. }
            | StoreError::ForeignMigration(_)
            | StoreError::KeyChanged => (StatusCode::SERVICE_UNAVAILABLE, None),
            StoreError::Url(_) | StoreError::Corrupt { .. } | StoreError::Query(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, None)
            }
        },
        Keys(_) => (StatusCode::INTERNAL_SERVER_ERROR, None),
    }
}

/// Like [`parts`], for PUT requests. Cloud Controller considers a 422 without a standard error code
/// invalid, and starts orphan mitigation (cloud_controller_ng,
/// lib/services/service_brokers/v2/response_parser.rb).
fn parts_of_put(error: &BrokerError) -> (StatusCode, Option<&'static str>) {
    match parts(error) {
        (StatusCode::UNPROCESSABLE_ENTITY, None) => (StatusCode::FORBIDDEN, None),
        parts => parts,
    }
}

impl From<Denied> for OsbError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Throttled(_) => Self::TooManyLogins(denied),
            _ => Self::Unauthorized,
        }
    }
}

impl ResponseError for OsbError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotConfigured => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooManyLogins(denied) => denied.status_code(),
            Self::UnsupportedVersion => StatusCode::PRECONDITION_FAILED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body(error) => error.status(),
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Broker(error) => parts(error).0,
            Self::Put(error) => parts_of_put(error).0,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::Unauthorized => response.insert_header((header::WWW_AUTHENTICATE, CHALLENGE)),
            Self::TooManyLogins(denied) => {
                let seconds = denied.retry_after().unwrap_or_default();
                response.insert_header((header::RETRY_AFTER, seconds.to_string()))
            }
            Self::MethodNotAllowed { allow } => response.insert_header((header::ALLOW, *allow)),
            // The specification requires an empty object.
            Self::Broker(BrokerError::InstanceGone | BrokerError::BindingGone) => {
                return response.json(serde_json::json!({}));
            }
            _ => &mut response,
        };
        let error = match self {
            Self::Broker(error) | Self::Put(error) => parts(error).1,
            _ => None,
        };
        let fixed = matches!(
            self,
            Self::Broker(
                BrokerError::PlanNotUpdateable | BrokerError::OtherKind | BrokerError::Loss(_)
            )
        );
        response.json(Body {
            error,
            description: self.to_string(),
            update_repeatable: fixed.then_some(false),
        })
    }
}
