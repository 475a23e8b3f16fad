//! Calls of Tsuru's API.
//!
//! Each call has a timeout and a maximum response size, and closes its connection: calls are rare,
//! and a stale kept connection would fail the next call. An awc client cannot move between threads,
//! but the provisioner can, so each call creates its own client.

use super::{
    error::ApiError,
    stream,
    wire::{AppInfo, Variable},
};
use crate::{net, tls::ClientConfig};
use awc::{
    ClientRequest,
    http::{Method, header},
};
use futures_util::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use url::form_urlencoded::Serializer;

/// Maximum size of a response, in bytes; deploy logs are the longest.
const MAX_RESPONSE_SIZE: usize = 8 << 20;
/// Marks variables of Scrapebroker, so that `PruneUnused` removes those that are not needed any
/// more.
const MANAGED_BY: &str = "scrapebroker";

/// Client of Tsuru's API.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) url: String,
    pub(super) token: SecretString,
    pub(super) tls: Arc<ClientConfig>,
    /// Timeout of short calls.
    pub(super) timeout: Duration,
    /// Timeout of calls that stream their progress.
    pub(super) deploy_timeout: Duration,
}

/// Parameters of a new app.
#[derive(Clone, Debug)]
pub(super) struct NewApp {
    pub(super) name: String,
    pub(super) team: String,
    pub(super) pool: String,
    pub(super) plan: String,
    pub(super) router: String,
    pub(super) platform: String,
    pub(super) description: String,
    pub(super) tags: Vec<String>,
}

/// An environment variable of an app.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) value: SecretString,
    /// Whether Tsuru hides the value.
    pub(super) is_private: bool,
}

/// Outcome of the creation of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Created {
    Now,
    /// An app with this name exists, perhaps of another owner.
    AlreadyExists,
}

impl Api {
    pub(super) async fn app(&self, name: &str) -> Result<Option<AppInfo>, ApiError> {
        self.read(name, &path(name, "")).await
    }

    pub(super) async fn create(&self, app: &NewApp) -> Result<Created, ApiError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("name", &app.name).append_pair("platform", &app.platform);
        let optional = [("pool", &app.pool), ("plan", &app.plan), ("router", &app.router)];
        form.extend_pairs(optional.into_iter().filter(|(_, value)| !value.is_empty()));
        form.append_pair("teamOwner", &app.team).append_pair("description", &app.description);
        for (nth, tag) in app.tags.iter().enumerate() {
            form.append_pair(&format!("tags.{nth}"), tag);
        }
        let sent = self.call(Method::POST, "/1.0/apps", Some(form.finish()), self.timeout).await?;
        match sent {
            (201 | 200, _) => Ok(Created::Now),
            (409, _) => Ok(Created::AlreadyExists),
            (status, body) => Err(ApiError::of_status(status, &body)),
        }
    }

    /// Variables of the app with these names, if they exist.
    pub(super) async fn settings(
        &self,
        app: &str,
        names: &[&str],
    ) -> Result<Vec<Variable>, ApiError> {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(names.iter().map(|name| ("env", name)));
        let path = format!("{}?{}", path(app, "/env"), query.finish());
        let variables: Option<Option<Vec<Variable>>> = self.read(app, &path).await?;
        Ok(variables.ok_or_else(|| ApiError::Gone(app.to_owned()))?.unwrap_or_default())
    }

    /// Sets variables without a restart. With `is_all` other variables of Scrapebroker are removed.
    pub(super) async fn set(
        &self,
        app: &str,
        settings: &[Setting],
        is_all: bool,
    ) -> Result<(), ApiError> {
        let mut form = Serializer::new(String::new());
        for (nth, setting) in settings.iter().enumerate() {
            form.append_pair(&format!("Envs.{nth}.Name"), setting.name);
            form.append_pair(&format!("Envs.{nth}.Value"), setting.value.expose_secret());
            if setting.is_private {
                form.append_pair(&format!("Envs.{nth}.Private"), "true");
            }
        }
        form.append_pair("NoRestart", "true").append_pair("ManagedBy", MANAGED_BY);
        if is_all {
            form.append_pair("PruneUnused", "true");
        }
        let path = path(app, "/env");
        let body = self
            .call_existing(app, Method::POST, &path, Some(form.finish()), self.deploy_timeout)
            .await?;
        stream::check_lines(&body)
    }

    /// Deploys `image` with the current variables, and waits for the end of the deploy.
    pub(super) async fn deploy(&self, app: &str, image: &str) -> Result<(), ApiError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("image", image).append_pair("origin", "image");
        form.append_pair("message", "scrapebroker");
        let path = path(app, "/deploy");
        let body = self
            .call_existing(app, Method::POST, &path, Some(form.finish()), self.deploy_timeout)
            .await?;
        stream::check_log(&body)
    }

    /// Deletes the app. Returns whether it existed.
    pub(super) async fn delete(&self, app: &str) -> Result<bool, ApiError> {
        let path = path(app, "");
        match self.call_existing(app, Method::DELETE, &path, None, self.deploy_timeout).await {
            Ok(body) => stream::check_lines(&body).map(|()| true),
            Err(ApiError::Gone(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a JSON document of an app; `None` if there is no such app.
    async fn read<T: DeserializeOwned>(
        &self,
        app: &str,
        path: &str,
    ) -> Result<Option<T>, ApiError> {
        match self.call(Method::GET, path, None, self.timeout).await? {
            (200, body) => match serde_json::from_slice(&body) {
                Ok(document) => Ok(Some(document)),
                Err(error) if error.is_eof() => Err(ApiError::Truncated),
                Err(_) => Err(ApiError::NotTsuru),
            },
            // The response of Tsuru contains the name of the app. That of a proxy without a backend
            // does not, and must not count: the app would never be removed.
            (404, body) => match String::from_utf8_lossy(&body).contains(app) {
                true => Ok(None),
                false => Err(ApiError::NotTsuru),
            },
            (status, body) => Err(ApiError::of_status(status, &body)),
        }
    }

    /// A call for an app that must exist.
    async fn call_existing(
        &self,
        app: &str,
        method: Method,
        path: &str,
        form: Option<String>,
        limit: Duration,
    ) -> Result<Vec<u8>, ApiError> {
        match self.call(method, path, form, limit).await? {
            (200..=204, body) => Ok(body),
            (404, _) => Err(ApiError::Gone(app.to_owned())),
            (status, body) => Err(ApiError::of_status(status, &body)),
        }
    }

    /// Sends one request and reads the response.
    async fn call(
        &self,
        method: Method,
        path: &str,
        form: Option<String>,
        limit: Duration,
    ) -> Result<(u16, Vec<u8>), ApiError> {
        let request = request(&self.tls, method, &format!("{}{path}", self.url))
            .bearer_auth(self.token.expose_secret());
        let exchange = async {
            let request = match form {
                Some(form) => request
                    .insert_header((header::CONTENT_TYPE, "application/x-www-form-urlencoded"))
                    .send_body(form),
                None => net::send(request),
            };
            let sent = request.await;
            let mut response = sent.map_err(|error| ApiError::Unreachable(net::reason(&error)))?;
            let mut body = Vec::new();
            while let Some(chunk) = response.next().await {
                let chunk = chunk.map_err(|_| ApiError::Truncated)?;
                if body.len() + chunk.len() > MAX_RESPONSE_SIZE {
                    return Err(ApiError::TooLarge(MAX_RESPONSE_SIZE));
                }
                body.extend_from_slice(&chunk);
            }
            Ok((response.status().as_u16(), body))
        };
        timeout(limit, exchange).await.unwrap_or(Err(ApiError::Timeout(limit)))
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Result of a readiness request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProbeResult {
    /// The status of the response.
    Status(u16),
    /// No response, and the reason.
    NoResponse(String),
}

/// Sends a readiness request to the Prometheus at `url`.
pub(super) async fn probe_ready(
    tls: &Arc<ClientConfig>,
    url: &str,
    username: &str,
    password: &SecretString,
    limit: Duration,
) -> ProbeResult {
    let request = request(tls, Method::GET, &format!("{url}/-/ready"))
        .basic_auth(username, password.expose_secret());
    match timeout(limit, net::send(request)).await {
        Ok(Ok(response)) => ProbeResult::Status(response.status().as_u16()),
        Ok(Err(error)) => ProbeResult::NoResponse(net::reason(&error)),
        Err(_) => ProbeResult::NoResponse(ApiError::Timeout(limit).to_string()),
    }
}

/// A request on a new connection.
fn request(tls: &Arc<ClientConfig>, method: Method, url: &str) -> ClientRequest {
    let (url, tls) = match net::plain_http_url(url) {
        None => (url.to_owned(), None),
        Some(url) => (url, Some(Arc::clone(tls))),
    };
    // The callers have timeouts that include the body.
    let connector = net::connector(tls).timeout(Duration::from_secs(3600));
    net::client(connector).request(method, url).force_close()
}

fn path(app: &str, rest: &str) -> String {
    format!("/1.0/apps/{app}{rest}")
}
