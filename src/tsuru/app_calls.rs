//! Calls that create, change and delete apps.

use super::{
    TsuruClient,
    app::{app_path, is_about},
    error::TsuruApiError,
    stream,
};
use awc::http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::collections::HashMap;
use url::form_urlencoded::Serializer;

/// Marks variables of Scrapebroker, so that `PruneUnused` removes those that are not needed any
/// more.
const MANAGED_BY: &str = "scrapebroker";

/// Parameters of a new app.
#[derive(Clone, Debug)]
pub struct NewApp {
    pub name: String,
    pub team: String,
    pub pool: String,
    pub plan: String,
    pub router: String,
    pub platform: String,
    pub description: String,
    pub tags: Vec<String>,
}

/// An environment variable of an app.
#[derive(Clone, Debug)]
pub struct AppVariable {
    pub name: &'static str,
    pub value: SecretString,
    /// Whether Tsuru hides the value.
    pub is_private: bool,
}

/// Outcome of the creation of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    Now,
    /// An app with this name exists, perhaps of another owner.
    AlreadyExists,
}

/// `GET /1.0/apps/{app}/env`
#[derive(Deserialize)]
struct Variable {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

impl TsuruClient {
    /// Creates an app without units.
    ///
    /// # Errors
    /// The call failed.
    pub async fn create(&self, app: &NewApp) -> Result<Created, TsuruApiError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("name", &app.name).append_pair("platform", &app.platform);
        let optional = [("pool", &app.pool), ("plan", &app.plan), ("router", &app.router)];
        form.extend_pairs(optional.into_iter().filter(|(_, value)| !value.is_empty()));
        form.append_pair("teamOwner", &app.team).append_pair("description", &app.description);
        for (nth, tag) in app.tags.iter().enumerate() {
            form.append_pair(&format!("tags.{nth}"), tag);
        }
        let timeout = self.limits.timeout;
        let sent = self.call(Method::POST, "/1.0/apps", Some(form.finish()), timeout).await?;
        match sent {
            (201 | 200, _) => Ok(Created::Now),
            (409, _) => Ok(Created::AlreadyExists),
            (status, body) => Err(TsuruApiError::of_status(status, &body)),
        }
    }

    /// Values of the app's variables with these names, if they exist.
    ///
    /// # Errors
    /// The call failed, or there is no such app.
    pub async fn variables(
        &self,
        app: &str,
        names: &[&str],
    ) -> Result<HashMap<String, String>, TsuruApiError> {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(names.iter().map(|name| ("env", name)));
        let path = app_path(app, &format!("/env?{}", query.finish()));
        let variables: Option<Option<Vec<Variable>>> =
            self.read(&path, |body| is_about(body, app)).await?;
        let variables = variables.ok_or_else(|| TsuruApiError::Gone(app.to_owned()))?;
        let variables = variables.into_iter().flatten();
        Ok(variables.map(|variable| (variable.name, variable.value)).collect())
    }

    /// Sets variables without a restart. With `is_all` other variables of Scrapebroker are removed.
    ///
    /// # Errors
    /// The call failed, or there is no such app.
    pub async fn set(
        &self,
        app: &str,
        variables: &[AppVariable],
        is_all: bool,
    ) -> Result<(), TsuruApiError> {
        let mut form = Serializer::new(String::new());
        for (nth, variable) in variables.iter().enumerate() {
            form.append_pair(&format!("Envs.{nth}.Name"), variable.name);
            form.append_pair(&format!("Envs.{nth}.Value"), variable.value.expose_secret());
            if variable.is_private {
                form.append_pair(&format!("Envs.{nth}.Private"), "true");
            }
        }
        form.append_pair("NoRestart", "true").append_pair("ManagedBy", MANAGED_BY);
        if is_all {
            form.append_pair("PruneUnused", "true");
        }
        let body = self.change(app, Method::POST, "/env", Some(form.finish())).await?;
        stream::check_lines(&body)
    }

    /// Deploys `image` with the current variables, and waits for the end of the deploy.
    ///
    /// # Errors
    /// The call failed, there is no such app, or the deploy failed.
    pub async fn deploy(&self, app: &str, image: &str) -> Result<(), TsuruApiError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("image", image).append_pair("origin", "image");
        form.append_pair("message", "scrapebroker");
        let body = self.change(app, Method::POST, "/deploy", Some(form.finish())).await?;
        stream::check_log(&body)
    }

    /// Deletes the app. Returns whether it existed.
    ///
    /// # Errors
    /// The call failed.
    pub async fn delete(&self, app: &str) -> Result<bool, TsuruApiError> {
        match self.change(app, Method::DELETE, "", None).await {
            Ok(body) => stream::check_lines(&body).map(|()| true),
            Err(TsuruApiError::Gone(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A call that changes an existing app and streams its progress.
    async fn change(
        &self,
        app: &str,
        method: Method,
        rest: &str,
        form: Option<String>,
    ) -> Result<Vec<u8>, TsuruApiError> {
        let path = app_path(app, rest);
        match self.call(method, &path, form, self.limits.stream_timeout).await? {
            (200..=204, body) => Ok(body),
            (404, _) => Err(TsuruApiError::Gone(app.to_owned())),
            (status, body) => Err(TsuruApiError::of_status(status, &body)),
        }
    }
}
