//! The gate in front of whole listeners, with the settings of a web configuration file
//! (`web_config_file`, in the format of exporter-toolkit): users, headers and a rate limit.
//!
//! With users, each request needs the password of one of them, or credentials that this
//! installation accepts anyway: those of the broker or of an operator, or a token. A user may pass
//! the gate and nothing else, and the credentials of a user never get past it.

use super::{
    Access, Attempt, BEARER_CHALLENGE, Denied, Inner, Operator, Operators, Origin, TOKEN_PREFIX,
    operators::FailedLogin, origin, proven::Proven, seconds, wait_if_wrong,
};
use crate::{
    http::{
        auth::{CHALLENGE, RequestCredentials},
        rate::RateLimit,
    },
    telemetry::metrics::register,
};
use actix_web::{
    Error, HttpRequest, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, ContentType, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use arc_swap::ArcSwap;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{runtime::Handle, time::Instant};

/// Settings of the gate.
#[derive(Clone, Debug, Default)]
pub struct GateSettings {
    /// If empty, requests need no credentials.
    pub users: Vec<Operator>,
    /// Headers of all responses.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub rate_limit: Option<GateRateLimit>,
}

/// A limit of all requests together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateRateLimit {
    /// One request is allowed per interval.
    pub interval: Duration,
    /// Number of requests that are allowed at once.
    pub burst: u32,
}

impl fmt::Display for GateRateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at once, 1 per {}", self.burst, humantime::format_duration(self.interval))
    }
}

/// The gate. Clones share its settings, which can be replaced.
#[derive(Clone)]
pub struct Gate(Arc<GateInner>);

struct GateInner {
    access: Access,
    /// Runtime that checks passwords.
    check_runtime: Handle,
    state: ArcSwap<State>,
    rate_limited: Counter,
}

struct State {
    /// None if requests need no credentials.
    users: Option<Operators>,
    /// Of the users, and of operators, whose credentials pass too.
    failed_login: FailedLogin,
    proven: Proven,
    headers: Vec<(HeaderName, HeaderValue)>,
    limiter: Option<Limiter>,
}

#[derive(Clone)]
struct Limiter {
    settings: GateRateLimit,
    requests: Arc<Mutex<RateLimit>>,
}

/// How a request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Unchanged,
    /// Without its credentials, which are only for the gate.
    WithoutCredentials,
}

/// Reasons why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum GateDenied {
    #[error("This server requires a user name and password, or a token.")]
    Missing,
    #[error("The user name or password, or the token, is wrong.")]
    Wrong,
    #[error("Too many logins from this address failed. Try again in {} s.", seconds(*.0))]
    Throttled(Duration),
    #[error("Rate limit exceeded. Try again in {} s.", seconds(*.0))]
    RateLimited(Duration),
}

impl Gate {
    /// Passwords are checked on `check_runtime`, which serves no requests.
    pub fn new(
        settings: GateSettings,
        access: Access,
        check_runtime: Handle,
        registry: &mut Registry,
    ) -> Self {
        let rate_limited = register(
            registry,
            "scrapebroker_web_rate_limited",
            "Requests refused because of rate_limit in the web configuration file",
            Counter::default(),
        );
        let state =
            ArcSwap::from_pointee(State::new(settings, &access, check_runtime.clone(), None));
        Self(Arc::new(GateInner { access, check_runtime, state, rate_limited }))
    }

    /// Replaces the settings. Passwords have to be sent again. Call it on a thread that may block.
    pub fn replace(&self, settings: GateSettings) {
        let before = self.0.state.load();
        let limiter = before.limiter.as_ref();
        let state = State::new(settings, &self.0.access, self.0.check_runtime.clone(), limiter);
        self.0.state.store(Arc::new(state));
    }

    /// Whether requests need credentials.
    pub fn has_users(&self) -> bool {
        self.0.state.load().users.is_some()
    }

    async fn admit(&self, request: &HttpRequest) -> Result<Pass, GateDenied> {
        let state = self.0.state.load_full();
        if let Some(Err(wait)) = state.limiter.as_ref().map(Limiter::take) {
            self.0.rate_limited.inc();
            return Err(GateDenied::RateLimited(wait));
        }
        let access = &self.0.access;
        self.login(request, &state).await.map_err(|denied| {
            // Counts the refusal.
            match access.denied(denied) {
                Denied::Missing => GateDenied::Missing,
                Denied::Throttled(wait) => GateDenied::Throttled(wait),
                _ => GateDenied::Wrong,
            }
        })
    }

    /// A failed login has the same duration for every user name.
    async fn login(&self, request: &HttpRequest, state: &State) -> Result<Pass, Denied> {
        let Some(users) = &state.users else { return Ok(Pass::Unchanged) };
        let started = Instant::now();
        let pass = self.check(request, users, &state.proven).await;
        let duration = || state.failed_login.duration(&[users, self.0.access.operators()]);
        wait_if_wrong(request, &pass, started, duration).await;
        pass
    }

    /// Checks the password in the list that has the user name.
    async fn check(
        &self,
        request: &HttpRequest,
        users: &Operators,
        proven: &Proven,
    ) -> Result<Pass, Denied> {
        let access = &self.0.access;
        let presented = RequestCredentials::of(request.headers()).ok_or(Denied::Missing)?;
        if users.has_user(&presented) && !presented.secret.starts_with(TOKEN_PREFIX) {
            let origin = origin(request.peer_addr());
            return self.login_of_user(origin, &presented, users, proven).await;
        }
        access.accepts(request).await.map(|()| Pass::Unchanged)
    }

    /// The name of a user may also be that of an operator.
    async fn login_of_user(
        &self,
        origin: Origin,
        presented: &RequestCredentials,
        users: &Operators,
        proven: &Proven,
    ) -> Result<Pass, Denied> {
        let access = &self.0.access;
        let Inner { proven: own_proven, throttle, .. } = &*access.0;
        let (user, secret) = (presented.user.as_deref().unwrap_or_default(), &*presented.secret);
        let is_own_name = access.is_own_user(presented);
        let is_proven = proven.knows(origin, user, secret, throttle)
            || is_own_name && own_proven.knows(origin, user, secret, throttle);
        let attempt = match is_proven {
            true => None,
            false => Some(throttle.begin(origin, user).map_err(Denied::Throttled)?),
        };
        let pass = if is_own_name && access.is_operator_password(presented).await? {
            own_proven.note(origin, user, secret);
            Pass::Unchanged
        } else if users.is_known(presented) || users.verify(presented).await? {
            proven.note(origin, user, secret);
            Pass::WithoutCredentials
        } else {
            return Err(Denied::Wrong);
        };
        attempt.into_iter().for_each(Attempt::succeeded);
        Ok(pass)
    }
}

impl State {
    fn new(
        settings: GateSettings,
        access: &Access,
        check_runtime: Handle,
        before: Option<&Limiter>,
    ) -> Self {
        let GateSettings { users, headers, rate_limit } = settings;
        let limiter = rate_limit.map(|settings| match before {
            Some(limiter) if limiter.settings == settings => limiter.clone(),
            _ => Limiter::new(settings),
        });
        let users = (!users.is_empty()).then(|| {
            let users = Operators::new(users, check_runtime);
            users.measure();
            users
        });
        let lists: Vec<_> = users.iter().chain([access.operators()]).collect();
        let failed_login = FailedLogin::of(&lists);
        Self { users, failed_login, proven: Proven::default(), headers, limiter }
    }
}

impl Limiter {
    fn new(settings: GateRateLimit) -> Self {
        let requests = RateLimit::new(settings.interval, settings.burst);
        Self { settings, requests: Arc::new(Mutex::new(requests)) }
    }

    fn take(&self) -> Result<(), Duration> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.take(0, Instant::now())
    }
}

/// Middleware that refuses requests. Requires [`Gate`] as app data.
///
/// # Errors
/// Returns errors of the wrapped service.
pub async fn check<B: MessageBody + 'static>(
    gate: web::Data<Gate>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match gate.admit(request.request()).await {
        Ok(Pass::Unchanged) => {}
        Ok(Pass::WithoutCredentials) => {
            request.headers_mut().remove(header::AUTHORIZATION);
        }
        Err(denied) => return Ok(request.into_response(denied.error_response())),
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// Middleware that adds the headers to all responses. Requires [`Gate`] as app data.
///
/// A second `Content-Security-Policy` is added: browsers enforce both. Other headers replace those
/// of the response.
///
/// # Errors
/// Returns errors of the wrapped service.
pub async fn add_headers<B: MessageBody>(
    gate: web::Data<Gate>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let mut response = next.call(request).await?;
    let state = gate.0.state.load();
    for (name, value) in &state.headers {
        match *name {
            header::CONTENT_SECURITY_POLICY => {
                response.headers_mut().append(name.clone(), value.clone());
            }
            _ => {
                response.headers_mut().insert(name.clone(), value.clone());
            }
        }
    }
    Ok(response)
}

impl ResponseError for GateDenied {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Wrong => StatusCode::UNAUTHORIZED,
            Self::Throttled(_) | Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::Missing | Self::Wrong => {
                response.append_header((header::WWW_AUTHENTICATE, CHALLENGE));
                response.append_header((header::WWW_AUTHENTICATE, BEARER_CHALLENGE));
            }
            Self::Throttled(wait) | Self::RateLimited(wait) => {
                response.append_header((header::RETRY_AFTER, seconds(*wait).to_string()));
            }
        }
        response.content_type(ContentType::plaintext()).body(format!("{self}\n"))
    }
}

#[cfg(test)]
mod tests;
