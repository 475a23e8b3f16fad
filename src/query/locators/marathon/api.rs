//! Reads apps from the first Marathon host that responds.

use super::{
    MarathonSettings,
    app::{AppDocument, MarathonApp},
    app_id::MarathonAppId,
    call::{CallFailure, HttpClients},
    dcos::{DcosLogin, DcosLoginError},
};
use crate::{domain::BaseUrl, tls::TlsError};
use awc::http::header::HeaderValue;
use futures_util::future::join_all;
use serde::Deserialize;
use std::cell::Cell;

/// Path of Marathon behind the admin router of DC/OS.
const DCOS_PATH: &str = "/marathon";

/// A client of one Marathon, which may have several hosts.
pub(super) struct MarathonApi {
    pub(super) http: HttpClients,
    /// URLs without a slash at the end.
    hosts: Vec<String>,
    /// Index of the host that is called first.
    preferred: Cell<usize>,
    login: Option<DcosLogin>,
    token: Option<HeaderValue>,
}

/// Why an app was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MarathonError {
    /// The failure of each host.
    #[error("{0}")]
    NoHost(String),
    #[error("Marathon requires a login (status 401); set principal_secret_file")]
    LoginRequired,
    #[error("Marathon does not accept the token of a new login (status 401)")]
    TokenRejected,
    #[error("the login endpoint {0} {1}")]
    Login(BaseUrl, DcosLoginError),
    #[error("Marathon has no such app (status 404); check apps")]
    NoSuchApp,
    #[error("Marathon does not allow to read the app (status 403); check its permissions")]
    Forbidden,
    #[error("Marathon responded with status {0}")]
    Refused(u16),
}

/// The answer of a host. Others would give the same.
enum HostAnswer {
    App(Box<MarathonApp>),
    Unauthorized,
    Refusal(MarathonError),
}

/// An error of Marathon. Proxies answer in HTML.
#[derive(Deserialize)]
struct ErrorDocument {
    #[serde(rename = "message")]
    _message: String,
}

impl MarathonApi {
    /// Reads the certificates.
    ///
    /// # Errors
    /// A certificate cannot be used.
    pub(super) fn new(settings: &MarathonSettings) -> Result<Self, TlsError> {
        let is_dcos = settings.login.is_some();
        let base = |url: &BaseUrl| match is_dcos && url.path().is_empty() {
            true => format!("{url}{DCOS_PATH}"),
            false => url.to_string(),
        };
        Ok(Self {
            http: HttpClients::new(&settings.tls)?,
            hosts: settings.urls.iter().map(base).collect(),
            preferred: Cell::new(0),
            login: settings.login.clone(),
            token: None,
        })
    }

    /// Reads all apps concurrently, in the order of `ids`. If the token is rejected, logs in once and
    /// repeats the calls concerned once.
    pub(super) async fn apps(
        &mut self,
        ids: &[&MarathonAppId],
    ) -> Vec<Result<MarathonApp, MarathonError>> {
        if self.token.is_none()
            && let Err(error) = self.log_in().await
        {
            return ids.iter().map(|_| Err(error.clone())).collect();
        }
        let first = self.call_all(ids).await;
        let is_rejected =
            |answer: &Result<HostAnswer, _>| matches!(answer, Ok(HostAnswer::Unauthorized));
        let rejected: Vec<_> =
            ids.iter().zip(&first).filter(|(_, it)| is_rejected(it)).map(|(id, _)| *id).collect();
        if rejected.is_empty() || self.login.is_none() {
            return first.into_iter().map(|answer| self.result(answer)).collect();
        }
        let mut second = match self.log_in().await {
            Err(error) => rejected.iter().map(|_| Err(error.clone())).collect(),
            Ok(()) => self.call_all(&rejected).await,
        }
        .into_iter();
        let last = |answer| match is_rejected(&answer) {
            true => second.next().unwrap_or(answer),
            false => answer,
        };
        first.into_iter().map(last).map(|answer| self.result(answer)).collect()
    }

    /// Replaces the token, if a login is configured.
    async fn log_in(&mut self) -> Result<(), MarathonError> {
        self.token = None;
        if let Some(login) = &self.login {
            let token = login.log_in(&self.http).await;
            let failed = |error| MarathonError::Login(login.endpoint().clone(), error);
            self.token = Some(token.map_err(failed)?);
        }
        Ok(())
    }

    async fn call_all(&self, ids: &[&MarathonAppId]) -> Vec<Result<HostAnswer, MarathonError>> {
        let first = self.preferred.get();
        // If the caller drops this future because the host hangs, the next call begins with another.
        self.preferred.set(first + 1);
        join_all(ids.iter().map(|id| self.call(first, id))).await
    }

    /// Calls one host after the other until one gives an answer.
    async fn call(&self, first: usize, id: &MarathonAppId) -> Result<HostAnswer, MarathonError> {
        let mut failures = Vec::new();
        let indexes = 0..self.hosts.len();
        for index in indexes.map(|nth| (first + nth) % self.hosts.len()) {
            match self.call_host(&self.hosts[index], id).await {
                Ok(answer) => {
                    self.preferred.set(index);
                    return Ok(answer);
                }
                Err(failure) => failures.push(format!("{} {failure}", self.hosts[index])),
            }
        }
        Err(MarathonError::NoHost(failures.join("; ")))
    }

    async fn call_host(&self, host: &str, id: &MarathonAppId) -> Result<HostAnswer, CallFailure> {
        let url = format!("{host}/v2/apps/{}", id.path());
        let (status, body) = self.http.get(&url, self.token.as_ref()).await?;
        let is_of_marathon = || serde_json::from_slice::<ErrorDocument>(&body).is_ok();
        match status {
            200 => match serde_json::from_slice::<AppDocument>(&body) {
                Ok(document) => Ok(HostAnswer::App(Box::new(document.app))),
                Err(_) => Err(CallFailure::NotJson("an app of Marathon")),
            },
            401 => Ok(HostAnswer::Unauthorized),
            403 => Ok(HostAnswer::Refusal(MarathonError::Forbidden)),
            404 if is_of_marathon() => Ok(HostAnswer::Refusal(MarathonError::NoSuchApp)),
            400..=499 if is_of_marathon() => {
                Ok(HostAnswer::Refusal(MarathonError::Refused(status)))
            }
            _ => Err(CallFailure::of_status(status)),
        }
    }

    fn result(
        &self,
        answer: Result<HostAnswer, MarathonError>,
    ) -> Result<MarathonApp, MarathonError> {
        match answer? {
            HostAnswer::App(app) => Ok(*app),
            HostAnswer::Refusal(error) => Err(error),
            HostAnswer::Unauthorized if self.login.is_some() => Err(MarathonError::TokenRejected),
            HostAnswer::Unauthorized => Err(MarathonError::LoginRequired),
        }
    }
}
