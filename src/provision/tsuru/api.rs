//! The calls of Tsuru's API that a provisioner needs.
//!
//! Each has a time limit, reads no more than it must, and ends its connection:
//! calls are rare, and a kept connection that died would fail the next one.
//! Clients of awc stay on their thread while the provisioner does not, so each
//! call makes its own.

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

/// The largest accepted answer, in bytes; logs of deploys are the longest.
const MAX_ANSWER: usize = 8 << 20;
/// Marks our variables, so that those that are not wanted any more go away.
const MANAGED_BY: &str = "scrapebroker";

/// Tsuru's API, with the right to use it.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) url: String,
    pub(super) token: SecretString,
    pub(super) tls: Arc<ClientConfig>,
    /// For calls that are answered at once.
    pub(super) timeout: Duration,
    /// For those that stream how they get on.
    pub(super) deploy_timeout: Duration,
}

/// An app to be made.
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

/// A variable of an app.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) value: SecretString,
    /// Tsuru shows it to nobody.
    pub(super) is_private: bool,
}

/// Whether an app was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Created {
    Now,
    /// There is one of that name, perhaps ours.
    Before,
}

impl Api {
    /// The app, if there is one.
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
            (409, _) => Ok(Created::Before),
            (status, body) => Err(ApiError::of_status(status, &body)),
        }
    }

    /// What the app has under these names; without those that it has not.
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

    /// Sets variables without a restart; with `is_all` those of ours that are not among them go.
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
        let body =
            self.must(app, Method::POST, &path, Some(form.finish()), self.deploy_timeout).await?;
        stream::check_lines(&body)
    }

    /// Starts `image` with the variables that are set, and waits until Tsuru has done so.
    pub(super) async fn deploy(&self, app: &str, image: &str) -> Result<(), ApiError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("image", image).append_pair("origin", "image");
        form.append_pair("message", "scrapebroker");
        let path = path(app, "/deploy");
        let body =
            self.must(app, Method::POST, &path, Some(form.finish()), self.deploy_timeout).await?;
        stream::check_log(&body)
    }

    /// Whether there was one to delete.
    pub(super) async fn delete(&self, app: &str) -> Result<bool, ApiError> {
        let path = path(app, "");
        match self.must(app, Method::DELETE, &path, None, self.deploy_timeout).await {
            Ok(body) => stream::check_lines(&body).map(|()| true),
            Err(ApiError::Gone(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A JSON document about an app, if there is one.
    async fn read<T: DeserializeOwned>(
        &self,
        app: &str,
        path: &str,
    ) -> Result<Option<T>, ApiError> {
        match self.call(Method::GET, path, None, self.timeout).await? {
            (200, body) => match serde_json::from_slice(&body) {
                Ok(document) => Ok(Some(document)),
                Err(error) if error.is_eof() => Err(ApiError::Cut),
                Err(_) => Err(ApiError::NotTsuru),
            },
            // Tsuru names the app. A proxy without a Tsuru behind it does not, and
            // to believe it would be to leave apps behind that nobody knows of.
            (404, body) => match String::from_utf8_lossy(&body).contains(app) {
                true => Ok(None),
                false => Err(ApiError::NotTsuru),
            },
            (status, body) => Err(ApiError::of_status(status, &body)),
        }
    }

    /// A call about an app that should be there.
    async fn must(
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

    /// One request, and the whole answer.
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
                let chunk = chunk.map_err(|_| ApiError::Cut)?;
                if body.len() + chunk.len() > MAX_ANSWER {
                    return Err(ApiError::TooLarge(MAX_ANSWER));
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

/// How a Prometheus answers whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// With this status.
    Status(u16),
    /// Not at all.
    Nothing(String),
}

/// Asks the Prometheus at `url`.
pub(super) async fn ask_ready(
    tls: &Arc<ClientConfig>,
    url: &str,
    username: &str,
    password: &SecretString,
    limit: Duration,
) -> Answer {
    let request = request(tls, Method::GET, &format!("{url}/-/ready"))
        .basic_auth(username, password.expose_secret());
    match timeout(limit, net::send(request)).await {
        Ok(Ok(response)) => Answer::Status(response.status().as_u16()),
        Ok(Err(error)) => Answer::Nothing(net::reason(&error)),
        Err(_) => Answer::Nothing(ApiError::Timeout(limit).to_string()),
    }
}

/// A request on a connection of its own.
fn request(tls: &Arc<ClientConfig>, method: Method, url: &str) -> ClientRequest {
    let (url, tls) = match net::plain_http_url(url) {
        None => (url.to_owned(), None),
        Some(url) => (url, Some(Arc::clone(tls))),
    };
    // The deadlines are the callers', and they cover bodies.
    let connector = net::connector(tls).timeout(Duration::from_secs(3600));
    net::client(connector).request(method, url).force_close()
}

fn path(app: &str, rest: &str) -> String {
    format!("/1.0/apps/{app}{rest}")
}
