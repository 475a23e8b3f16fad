//! Access control.
//!
//! With `scrape.access: open` every client may scrape, as with promfetcher. With `token` a scrape
//! requires the token of a binding or service key, and the token limits the visible apps. Operators
//! can see everything. They authenticate with the broker's credentials or with those of an
//! operator.
//!
//! Tokens are too long to be guessed, so they are not throttled before the lookup. A password is
//! compared only if its client is within the limits of [`Throttle`], or if the password was correct
//! before ([`Proven`]).

pub mod gate;
mod metrics;
mod operators;
mod own;
mod proven;
mod throttle;

pub use metrics::AccessMetrics;
pub use operators::{Operator, Operators};

use super::auth::{BasicCredentials, CHALLENGE, RequestCredentials};
use crate::{
    broker::{BindingTable, Scope, TOKEN_PREFIX, token_hash},
    discovery::Match,
    domain::{App, InstanceId},
};
use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, ContentType, HeaderMap},
    },
};
use operators::FailedLogin;
use own::OwnCredentials;
use proven::Proven;
use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};
use throttle::{Attempt, Origin, Throttle};
use tokio::time::{Instant, sleep_until};

/// `WWW-Authenticate` header of 401 responses of APIs that also accept tokens (RFC 6750).
const BEARER_CHALLENGE: &str = "Bearer realm=\"scrapebroker\"";

/// Access control. Clones share the counters of failed logins.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    token_required: bool,
    bound: BindingTable,
    broker: Option<BasicCredentials>,
    operators: Operators,
    failed_login: FailedLogin,
    own: OwnCredentials,
    proven: Proven,
    throttle: Throttle,
    metrics: AccessMetrics,
}

/// The authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Credentials were not required.
    Anyone,
    /// Can see everything.
    Operator,
    /// Has a valid token, which is required.
    Token(Scope),
    /// Has a valid token, which is not required. The caller can see all apps, and is authorized for
    /// the apps that the token covers.
    OptionalToken(Scope),
}

impl Caller {
    /// Whether data of `app` may be shown to the caller.
    pub fn sees(&self, app: &App) -> bool {
        match self {
            Self::Anyone | Self::Operator | Self::OptionalToken(_) => true,
            Self::Token(scope) => scope.covers(app),
        }
    }

    /// Whether the caller is authorized to use the stored secrets of `app`.
    pub fn is_authorized_for(&self, app: &App) -> bool {
        match self {
            Self::Anyone => false,
            Self::Operator => true,
            Self::Token(scope) | Self::OptionalToken(scope) => scope.covers(app),
        }
    }
}

/// Identifies an authorized caller, independently of the format of its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The hash of a valid token.
    Token(String),
    /// The user name of an operator.
    Operator(String),
}

/// Removes instances whose apps are invisible by `sees`. Returns `None` if no instance is left.
pub fn visible<'a>(mut found: Match<'a>, sees: impl Fn(&App) -> bool) -> Option<Match<'a>> {
    found.endpoints.retain(|endpoint| sees(&endpoint.app));
    // While an app is moved, its instances can be in different spaces.
    if !sees(found.app) {
        found.app = &found.endpoints.first()?.app;
    }
    (!found.endpoints.is_empty()).then_some(found)
}

/// Reasons why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// Credentials are missing.
    #[error(
        "Credentials are missing. Log in with an operator's user name and password, or with any user name and a token as password. Programs can send the token of a binding or service key as `Authorization: Bearer TOKEN`."
    )]
    Missing,
    /// Neither a valid token nor the credentials of an operator.
    #[error(
        "The token or password is invalid or was revoked: get it from the binding or service key again."
    )]
    Wrong,
    /// Credentials of an operator are missing.
    #[error("This is for operators: use an operator's user name and password, or the broker's.")]
    OperatorRequired,
    /// A valid token, which does not cover the requested app.
    #[error(
        "The token is valid for another app or space: use that of a binding of this app, or of a service key of its space."
    )]
    Forbidden,
    /// A valid token, but the resource is for operators only.
    #[error("Tokens cannot access this: it is for operators.")]
    OperatorsOnly,
    /// No operators are configured.
    #[error(
        "This is for operators, whose credentials are not configured: set broker.username and broker.password, or operators."
    )]
    NoOperators,
    /// Too many failed logins. The credentials were not compared.
    #[error(
        "Too many logins from this address failed, so this one was not looked at. If the user name and password, or the token, are right, try again in {} s.",
        seconds(*.0)
    )]
    Throttled(Duration),
}

impl Denied {
    /// The value of `Retry-After`.
    pub fn retry_after(self) -> Option<u64> {
        match self {
            Self::Throttled(wait) => Some(seconds(wait)),
            _ => None,
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl Access {
    /// `token_required` means that scrapes require a token. `broker` and `operators` have access to
    /// everything.
    pub fn new(
        token_required: bool,
        bound: BindingTable,
        broker: Option<BasicCredentials>,
        operators: Operators,
        metrics: AccessMetrics,
    ) -> Self {
        let own = OwnCredentials::new(broker.clone(), operators.usernames());
        let (proven, throttle) = (Proven::default(), Throttle::default());
        Self(Arc::new(Inner {
            token_required,
            bound,
            broker,
            failed_login: FailedLogin::of(&[&operators]),
            operators,
            own,
            proven,
            throttle,
            metrics,
        }))
    }

    fn operators(&self) -> &Operators {
        &self.0.operators
    }

    /// Whether a scrape requires a token.
    pub fn token_required(&self) -> bool {
        self.0.token_required
    }

    /// Whether the user name is that of the broker or of an operator.
    fn is_own_user(&self, presented: &RequestCredentials) -> bool {
        presented.user.as_deref().is_some_and(|user| self.0.own.is_username(user))
    }

    /// Whether the password is the broker's, or that of the operator with this name. The caller has
    /// counted the login.
    async fn is_operator_password(&self, presented: &RequestCredentials) -> Result<bool, Denied> {
        let Inner { broker, operators, .. } = &*self.0;
        let is_of_broker =
            broker.as_ref().is_some_and(|it| it.has_password(presented.secret.as_bytes()));
        Ok(is_of_broker || operators.is_known(presented) || operators.verify(presented).await?)
    }

    /// Checks credentials that this installation accepts anywhere: those of the broker or of an
    /// operator, or a token. Tsuru sends the broker's password with the name of a service. The
    /// duration reveals which user names exist.
    async fn accepts(&self, request: &HttpRequest) -> Result<(), Denied> {
        self.caller_as(request, true).await.map(drop)
    }

    /// Whether the value of an `Authorization` header contains a current or former credential of
    /// this installation. No app may receive one.
    pub fn is_own_authorization(&self, value: &[u8]) -> bool {
        self.0.own.are_in_authorization(value)
    }

    /// Whether another text of a request contains a credential of this installation.
    pub fn is_own_credential(&self, text: &[u8]) -> bool {
        self.0.own.match_request(text)
    }

    /// Authenticates a scrape, or a request for the description of an app. The token of a
    /// provisioned Prometheus is evaluated in both modes, because its bindings contain scrape
    /// settings.
    ///
    /// # Errors
    /// Returns an error if a required token is missing or invalid.
    pub async fn scraper(&self, request: &HttpRequest) -> Result<Caller, Denied> {
        if self.0.token_required {
            return self.caller(request).await.map_err(|denied| self.denied(denied));
        }
        // Other credentials are intended for the app.
        if !self.has_own_credentials(request.headers()) {
            return Ok(Caller::Anyone);
        }
        Ok(match self.caller(request).await {
            Ok(Caller::Token(scope @ Scope::PrometheusTargets(..))) => Caller::Token(scope),
            Ok(Caller::Token(scope)) => Caller::OptionalToken(scope),
            Ok(caller) => caller,
            // Scraping requires no credentials, so wrong credentials are not an error.
            Err(_) => Caller::Anyone,
        })
    }

    /// Authenticates a client of events. If credentials are not `required`, those that cannot be
    /// credentials of this installation are ignored, and the client is `None`.
    ///
    /// # Errors
    /// Returns an error if required credentials are missing, and for wrong ones: the events of a
    /// client with a revoked token must not reach another queue.
    pub async fn events(
        &self,
        request: &HttpRequest,
        required: bool,
    ) -> Result<Option<(Caller, Identity)>, Denied> {
        if !required && !self.has_own_credentials(request.headers()) {
            return Ok(None);
        }
        self.known(request).await.map(Some)
    }

    /// Whether the credentials of a request look like those of this installation.
    fn has_own_credentials(&self, headers: &HeaderMap) -> bool {
        let presented = RequestCredentials::of(headers);
        presented.is_some_and(|RequestCredentials { user, secret }| {
            let is_own_user = user.is_some_and(|user| self.0.own.is_username(&user));
            is_own_user || secret.starts_with(TOKEN_PREFIX)
        })
    }

    /// Authenticates an operator or a client with a token, in both modes.
    ///
    /// # Errors
    /// Returns an error for all other clients.
    pub async fn known(&self, request: &HttpRequest) -> Result<(Caller, Identity), Denied> {
        let caller = self.caller(request).await.map_err(|denied| match denied {
            Denied::Missing if !self.has_operators() => Denied::NoOperators,
            other => other,
        });
        let caller = caller.map_err(|denied| self.denied(denied))?;
        let presented = RequestCredentials::of(request.headers());
        let RequestCredentials { user, secret } = presented.ok_or(self.denied(Denied::Missing))?;
        let identity = match caller {
            Caller::Operator => Identity::Operator(user.unwrap_or_default()),
            _ => Identity::Token(token_hash(&secret)),
        };
        Ok((caller, identity))
    }

    fn has_operators(&self) -> bool {
        self.0.broker.is_some() || !self.0.operators.is_empty()
    }

    /// Authenticates an operator.
    ///
    /// # Errors
    /// Returns an error for all other clients.
    pub async fn operator(&self, request: &HttpRequest) -> Result<(), Denied> {
        if !self.has_operators() {
            return Err(self.denied(Denied::NoOperators));
        }
        let denied = match self.caller(request).await {
            Ok(Caller::Operator) => return Ok(()),
            Ok(_) => Denied::OperatorsOnly,
            Err(Denied::Missing | Denied::Wrong) => Denied::OperatorRequired,
            Err(other) => other,
        };
        Err(self.denied(denied))
    }

    /// Authenticates a query to a Prometheus, by a token of its bindings or service keys, or as an
    /// operator. `is_it` compares an instance with the requested one. A token of another instance
    /// counts as invalid, so that clients cannot find out which instances exist.
    ///
    /// # Errors
    /// Returns an error for all other clients.
    pub async fn prometheus(
        &self,
        request: &HttpRequest,
        is_it: impl Fn(&InstanceId) -> bool,
    ) -> Result<Caller, Denied> {
        let denied = match self.caller(request).await {
            Ok(Caller::Operator) => return Ok(Caller::Operator),
            Ok(Caller::Token(Scope::Query(instance))) if is_it(&instance) => {
                return Ok(Caller::Token(Scope::Query(instance)));
            }
            Ok(_) => match RequestCredentials::of(request.headers()) {
                Some(presented) => self.wrong_token(origin(request.peer_addr()), &presented),
                None => Denied::Wrong,
            },
            Err(denied) => denied,
        };
        Err(self.denied(denied))
    }

    /// Counts and returns the refusal of a token that does not cover the request.
    pub fn forbidden(&self) -> Denied {
        self.denied(Denied::Forbidden)
    }

    /// Compares the credentials of a platform API, with the same limits.
    ///
    /// # Errors
    /// Returns an error if the credentials are missing or wrong, or if too many logins failed.
    pub fn platform(
        &self,
        peer: Option<SocketAddr>,
        headers: &HeaderMap,
        compare: impl FnOnce() -> bool,
    ) -> Result<(), Denied> {
        let checked = match RequestCredentials::of(headers) {
            None => Err(Denied::Missing),
            Some(presented) => self.compare(origin(peer), &presented, compare),
        };
        checked.map_err(|denied| self.denied(denied))
    }

    fn compare(
        &self,
        origin: Origin,
        presented: &RequestCredentials,
        compare: impl FnOnce() -> bool,
    ) -> Result<(), Denied> {
        let attempt = self.attempt(origin, presented)?;
        if !compare() {
            return Err(Denied::Wrong);
        }
        self.succeeded(origin, presented, attempt);
        Ok(())
    }

    /// Counts a login, unless its password was correct before.
    fn attempt(
        &self,
        origin: Origin,
        RequestCredentials { user, secret }: &RequestCredentials,
    ) -> Result<Option<Attempt<'_>>, Denied> {
        let Inner { proven, throttle, .. } = &*self.0;
        let user = user.as_deref().unwrap_or_default();
        if proven.knows(origin, user, secret, throttle) {
            return Ok(None);
        }
        throttle.begin(origin, user).map(Some).map_err(Denied::Throttled)
    }

    fn succeeded(
        &self,
        origin: Origin,
        RequestCredentials { user, secret }: &RequestCredentials,
        attempt: Option<Attempt<'_>>,
    ) {
        self.0.proven.note(origin, user.as_deref().unwrap_or_default(), secret);
        attempt.into_iter().for_each(Attempt::succeeded);
    }

    fn wrong_token(&self, origin: Origin, presented: &RequestCredentials) -> Denied {
        match self.0.throttle.wrong_token(origin, presented.user.as_deref()) {
            Ok(()) => Denied::Wrong,
            Err(wait) => Denied::Throttled(wait),
        }
    }

    fn denied(&self, denied: Denied) -> Denied {
        self.0.metrics.count(denied);
        denied
    }

    async fn caller(&self, request: &HttpRequest) -> Result<Caller, Denied> {
        let Inner { operators, failed_login, .. } = &*self.0;
        let started = Instant::now();
        let caller = self.caller_as(request, false).await;
        wait_if_wrong(request, &caller, started, || failed_login.duration(&[operators])).await;
        caller
    }

    /// With `any_user`, the broker's password is accepted with every user name.
    async fn caller_as(&self, request: &HttpRequest, any_user: bool) -> Result<Caller, Denied> {
        let Inner { bound, broker, operators, own, .. } = &*self.0;
        let presented = RequestCredentials::of(request.headers()).ok_or(Denied::Missing)?;
        if let Some(scope) = bound.scope_of_token(&presented.secret) {
            return Ok(Caller::Token(scope));
        }
        let origin = origin(request.peer_addr());
        let is_known_name = presented.user.as_deref().is_some_and(|user| own.is_username(user));
        let is_token = presented.user.is_none() || presented.secret.starts_with(TOKEN_PREFIX);
        if is_token && !is_known_name {
            return Err(self.wrong_token(origin, &presented));
        }
        let attempt = self.attempt(origin, &presented)?;
        let is_broker = broker.as_ref().is_some_and(|broker| match any_user {
            true => broker.has_password(presented.secret.as_bytes()),
            false => broker.match_request(request.headers()),
        });
        if is_broker || operators.is_known(&presented) || operators.verify(&presented).await? {
            self.succeeded(origin, &presented, attempt);
            return Ok(Caller::Operator);
        }
        Err(Denied::Wrong)
    }
}

/// Lets a failed login with a user name end after `duration`, for every name.
async fn wait_if_wrong<T>(
    request: &HttpRequest,
    login: &Result<T, Denied>,
    started: Instant,
    duration: impl FnOnce() -> Duration,
) {
    let presented = RequestCredentials::of(request.headers());
    if matches!(login, Err(Denied::Wrong)) && presented.is_some_and(|it| it.user.is_some()) {
        sleep_until(started + duration()).await;
    }
}

fn origin(peer: Option<SocketAddr>) -> Origin {
    Origin::of(peer.map(|peer| peer.ip()))
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("token_required", &self.0.token_required).finish()
    }
}

impl ResponseError for Denied {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Wrong | Self::OperatorRequired => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::OperatorsOnly => StatusCode::FORBIDDEN,
            Self::NoOperators => StatusCode::SERVICE_UNAVAILABLE,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::Missing | Self::Wrong => {
                response.append_header((header::WWW_AUTHENTICATE, CHALLENGE));
                response.append_header((header::WWW_AUTHENTICATE, BEARER_CHALLENGE));
            }
            Self::OperatorRequired => {
                response.append_header((header::WWW_AUTHENTICATE, CHALLENGE));
            }
            Self::Throttled(wait) => {
                response.append_header((header::RETRY_AFTER, seconds(*wait).to_string()));
            }
            Self::Forbidden | Self::OperatorsOnly | Self::NoOperators => {}
        }
        response.content_type(ContentType::plaintext()).body(format!("{self}\n"))
    }
}
