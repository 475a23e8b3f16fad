//! Who may see what.
//!
//! With `scrape.access: open` whoever reaches the listener may scrape, as with
//! promfetcher. With `token` a scrape needs the token of a binding or service
//! key, and sees only what that is good for. Operators see everything: they
//! hold the broker's credentials, or some of their own.
//!
//! What is right is found out first and is never slowed; only then failed tries
//! count ([`Throttle`]).

mod metrics;
mod operators;
mod throttle;

pub use metrics::AccessMetrics;
pub use operators::Operators;

use super::auth::{BasicCredentials, CHALLENGE, Presented};
use crate::{
    broker::{BoundApps, Scope},
    domain::{App, InstanceId},
};
use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, ContentType},
    },
    middleware::Next,
    web,
};
use std::{fmt, net::SocketAddr, sync::Arc};
use throttle::Throttle;

/// The `WWW-Authenticate` of a 401 where a token is good too (RFC 6750).
const BEARER_CHALLENGE: &str = "Bearer realm=\"scrapebroker\"";

/// Decides who may see what; clones share the memory of failed tries.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    token_required: bool,
    bound: BoundApps,
    broker: Option<BasicCredentials>,
    operators: Operators,
    throttle: Throttle,
    metrics: AccessMetrics,
}

/// Who asks, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody asked who it is.
    Anyone,
    /// Sees everything.
    Operator,
    /// Has a token of ours.
    Token(Scope),
}

impl Caller {
    /// Whether what belongs to `app` may be shown.
    pub fn sees(&self, app: &App) -> bool {
        match self {
            Self::Anyone | Self::Operator => true,
            Self::Token(scope) => scope.covers(app),
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// Nothing to tell who it is.
    #[error(
        "This needs a token: that of a binding or service key, sent as `Authorization: Bearer TOKEN` or as the password of basic auth."
    )]
    Missing,
    /// Neither a token in force nor credentials of an operator.
    #[error(
        "The token or password is not good, or not any more: take it from the binding or service key again."
    )]
    Wrong,
    /// Nothing to tell that it is an operator.
    #[error("This is for operators: use an operator's user name and password, or the broker's.")]
    NoOperator,
    /// A right token, for something else.
    #[error(
        "The token is good for another app or space: use that of a binding of this app, or of a service key of its space."
    )]
    NotYours,
    /// A right token, and what was asked for is for operators.
    #[error("A token does not open this: it is for operators.")]
    OperatorsOnly,
    /// There are none.
    #[error(
        "This is for operators, whose credentials are not configured: set broker.username and broker.password, or operators."
    )]
    NoOperators,
    /// More failed tries are waiting than we let wait.
    #[error("There are too many failed tries at the moment. Try again in a few seconds.")]
    TooMany,
}

impl Access {
    /// Asks for tokens if `token_required`; `broker` and `operators` are
    /// operators.
    pub fn new(
        token_required: bool,
        bound: BoundApps,
        broker: Option<BasicCredentials>,
        operators: Operators,
        metrics: AccessMetrics,
    ) -> Self {
        let throttle = Throttle::default();
        Self(Arc::new(Inner { token_required, bound, broker, operators, throttle, metrics }))
    }

    /// Whether a scrape needs a token.
    pub fn token_required(&self) -> bool {
        self.0.token_required
    }

    /// Who wants to scrape, or to see what is known of an app. A Prometheus of
    /// ours is known in both modes, since it scrapes as its own bindings say.
    ///
    /// # Errors
    /// When that needs a token and there is no good one.
    pub async fn scraper(&self, request: &HttpRequest) -> Result<Caller, Denied> {
        if !self.0.token_required {
            let presented = Presented::of(request.headers());
            let scope = presented.and_then(|it| self.0.bound.scope_of_token(&it.secret));
            return Ok(match scope {
                Some(scope @ Scope::Scraper(..)) => Caller::Token(scope),
                _ => Caller::Anyone,
            });
        }
        let caller = self.caller(request).await;
        caller.map_err(|denied| self.denied(denied))
    }

    /// Who asks for what is shown to nobody unknown, whatever the mode: an
    /// operator or who has a token.
    ///
    /// # Errors
    /// For everyone else.
    pub async fn known(&self, request: &HttpRequest) -> Result<Caller, Denied> {
        let caller = self.caller(request).await.map_err(|denied| match denied {
            Denied::Missing if !self.has_operators() => Denied::NoOperators,
            other => other,
        });
        caller.map_err(|denied| self.denied(denied))
    }

    fn has_operators(&self) -> bool {
        self.0.broker.is_some() || !self.0.operators.is_empty()
    }

    /// Lets operators in.
    ///
    /// # Errors
    /// For everyone else.
    pub async fn operator(&self, request: &HttpRequest) -> Result<(), Denied> {
        if !self.has_operators() {
            return Err(self.denied(Denied::NoOperators));
        }
        let denied = match self.caller(request).await {
            Ok(Caller::Operator) => return Ok(()),
            Ok(_) => Denied::OperatorsOnly,
            Err(Denied::Missing | Denied::Wrong) => Denied::NoOperator,
            Err(other) => other,
        };
        Err(self.denied(denied))
    }

    /// Lets those in who may ask a Prometheus: the tokens of its own bindings and
    /// service keys, and operators. `is_it` tells whether an instance is that one. A token
    /// of another is as wrong as one that never was: which instances there are is
    /// nobody's business.
    ///
    /// # Errors
    /// For everyone else.
    pub async fn prometheus(
        &self,
        request: &HttpRequest,
        is_it: impl Fn(&InstanceId) -> bool,
    ) -> Result<(), Denied> {
        let denied = match self.caller(request).await {
            Ok(Caller::Operator) => return Ok(()),
            Ok(Caller::Token(Scope::Query(instance))) if is_it(&instance) => return Ok(()),
            Ok(_) => {
                if let Some(presented) = Presented::of(request.headers()) {
                    self.slow(request.peer_addr(), &presented).await;
                }
                Denied::Wrong
            }
            Err(denied) => denied,
        };
        Err(self.denied(denied))
    }

    /// Refuses a token that sees nothing of what was asked for.
    pub fn not_yours(&self) -> Denied {
        self.denied(Denied::NotYours)
    }

    /// Keeps whoever has failed waiting.
    async fn slow(&self, peer: Option<SocketAddr>, presented: &Presented) {
        let peer = peer.map(|peer| peer.ip());
        // Without a place to wait the answer is given at once: it is a refusal all the same.
        if let Some(attempt) = self.0.throttle.begin(peer, presented.user.as_deref()) {
            attempt.wait().await;
        }
    }

    fn denied(&self, denied: Denied) -> Denied {
        self.0.metrics.count(denied);
        denied
    }

    async fn caller(&self, request: &HttpRequest) -> Result<Caller, Denied> {
        let Inner { bound, broker, operators, throttle, .. } = &*self.0;
        let presented = Presented::of(request.headers()).ok_or(Denied::Missing)?;
        if let Some(scope) = bound.scope_of_token(&presented.secret) {
            return Ok(Caller::Token(scope));
        }
        let is_broker = broker.as_ref().is_some_and(|broker| broker.are_in(request.headers()));
        if is_broker || operators.is_known(&presented) {
            return Ok(Caller::Operator);
        }
        let peer = request.peer_addr().map(|peer| peer.ip());
        let attempt = throttle.begin(peer, presented.user.as_deref()).ok_or(Denied::TooMany)?;
        attempt.wait().await;
        if operators.verify(&presented).await {
            attempt.forget();
            return Ok(Caller::Operator);
        }
        Err(Denied::Wrong)
    }
}

/// A middleware for what asks for credentials by itself: its failed tries count
/// and wait as all others do. Needs [`Access`] as app data.
///
/// # Errors
/// Those of the service.
pub async fn slow_failed_tries<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let access = request.app_data::<web::Data<Access>>().cloned();
    let (peer, presented) = (request.peer_addr(), Presented::of(request.headers()));
    let response = next.call(request).await?;
    if response.status() == StatusCode::UNAUTHORIZED
        && let (Some(access), Some(presented)) = (access, presented)
    {
        access.denied(Denied::Wrong);
        access.slow(peer, &presented).await;
    }
    Ok(response)
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("token_required", &self.0.token_required).finish()
    }
}

impl ResponseError for Denied {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Wrong | Self::NoOperator => StatusCode::UNAUTHORIZED,
            Self::NotYours | Self::OperatorsOnly => StatusCode::FORBIDDEN,
            Self::NoOperators => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::Missing | Self::Wrong => {
                response.append_header((header::WWW_AUTHENTICATE, CHALLENGE));
                response.append_header((header::WWW_AUTHENTICATE, BEARER_CHALLENGE));
            }
            Self::NoOperator => {
                response.append_header((header::WWW_AUTHENTICATE, CHALLENGE));
            }
            Self::TooMany => {
                response.append_header((header::RETRY_AFTER, "5"));
            }
            Self::NotYours | Self::OperatorsOnly | Self::NoOperators => {}
        }
        response.content_type(ContentType::plaintext()).body(format!("{self}\n"))
    }
}
