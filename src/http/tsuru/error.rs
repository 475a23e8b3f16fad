//! Errors in plain text. Tsuru displays `invalid response: TEXT (code: 400)`.

use crate::{
    broker::BrokerError,
    http::{access::Denied, auth::CHALLENGE, body::BodyError, osb},
};
use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
};

#[derive(Debug, thiserror::Error)]
pub(super) enum TsuruError {
    #[error("the Tsuru service API is not configured: set broker.username and broker.password")]
    NotConfigured,
    #[error("wrong or missing credentials")]
    Unauthorized,
    #[error(transparent)]
    TooManyLogins(Denied),
    #[error("there is no service with this name in the catalog; there are: {known}")]
    UnknownService { known: String },
    #[error("there is no plan with this name; there are: {known}")]
    UnknownPlan { known: String },
    #[error("there is no service instance with this name")]
    UnknownInstance,
    #[error(
        "a request that changes something must be spelled as Tsuru spells its own calls; through Tsuru's proxy nothing can be created, updated, bound, unbound or deleted"
    )]
    NotPlain,
    #[error(
        "the request {problem}, so it may have come through Tsuru's proxy, where nothing can be created, updated, bound, unbound or deleted; for Tsuru before 1.30 see broker.tsuru_calls_without_event_id"
    )]
    NotOfTsuru { problem: &'static str },
    /// Tsuru replaces this text.
    #[error("the service instance is not ready yet")]
    NotReady,
    #[error("there is nothing at this URL")]
    NotFound,
    #[error(
        "there is nothing here: Tsuru checks no permission for this URL, so it shows no instance"
    )]
    NoInstanceData,
    #[error("this URL answers only {allow}")]
    MethodNotAllowed { allow: &'static str },
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A sentence that states what to change.
    #[error("{0}")]
    Malformed(String),
    #[error("{}", text(.0))]
    Broker(#[from] BrokerError),
    /// Tsuru displays the requested values as if they were effective.
    #[error(
        "{0}; nothing of this update is active, although Tsuru shows it: correct or revert it with service-instance-update"
    )]
    RefusedUpdate(Box<TsuruError>),
}

/// The text of the broker's error, without ids that users of Tsuru do not know.
fn text(error: &BrokerError) -> String {
    match error {
        BrokerError::InstanceConflict => "a service instance with this name exists already, \
                                          with another plan, team, pool or other parameters"
            .to_owned(),
        BrokerError::InstanceUnknown => TsuruError::UnknownInstance.to_string(),
        BrokerError::UnknownService | BrokerError::UnknownPlan => {
            "the plan of this service instance is not in the catalog any more".to_owned()
        }
        BrokerError::NoKeyParameters => {
            "the bind of a job takes no parameters: they say how an app is scraped".to_owned()
        }
        error => error.to_string(),
    }
}

impl TsuruError {
    /// Whether the content of the request is refused, so that repeating the request fails too.
    pub(super) fn is_refusal(&self) -> bool {
        use BrokerError::{
            Loss, NoParameters, OtherKind, Parameter, PlanNotUpdateable, Refused, UnknownPlan,
        };
        match self {
            Self::UnknownPlan { .. } => true,
            Self::Broker(error) => matches!(
                error,
                Loss(_)
                    | NoParameters
                    | OtherKind
                    | Parameter(_)
                    | PlanNotUpdateable
                    | Refused(_)
                    | UnknownPlan
            ),
            _ => false,
        }
    }
}

impl From<Denied> for TsuruError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Throttled(_) => Self::TooManyLogins(denied),
            _ => Self::Unauthorized,
        }
    }
}

impl ResponseError for TsuruError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotConfigured => StatusCode::SERVICE_UNAVAILABLE,
            Self::RefusedUpdate(why) => why.status_code(),
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooManyLogins(denied) => denied.status_code(),
            Self::UnknownService { .. }
            | Self::UnknownInstance
            | Self::NotFound
            | Self::NoInstanceData => StatusCode::NOT_FOUND,
            Self::NotPlain | Self::NotOfTsuru { .. } => StatusCode::FORBIDDEN,
            Self::NotReady => StatusCode::PRECONDITION_FAILED,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownPlan { .. } | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Body(error) => error.status(),
            Self::Broker(error) => osb::parts(error).0,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::Unauthorized => {
                response.insert_header((header::WWW_AUTHENTICATE, CHALLENGE));
            }
            Self::TooManyLogins(denied) => {
                let seconds = denied.retry_after().unwrap_or_default();
                response.insert_header((header::RETRY_AFTER, seconds.to_string()));
            }
            Self::MethodNotAllowed { allow } => {
                response.insert_header((header::ALLOW, *allow));
            }
            _ => {}
        }
        response.content_type(ContentType::plaintext()).body(self.to_string())
    }
}
