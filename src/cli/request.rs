//! Requests of subcommands to a running installation.

use super::failure::Failure;
use crate::{
    net,
    tls::{ClientSettings, TlsError},
};
use awc::{
    Client, ClientRequest, SendClientRequest,
    error::SendRequestError,
    http::{
        Method, StatusCode,
        header::{ACCEPT, HeaderMap, RETRY_AFTER},
    },
};
use secrecy::{ExposeSecret, SecretString};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use url::Url;

/// Maximum length of an error text, in characters.
const MAX_ERROR: usize = 500;

/// Longest pause that a server can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

#[derive(clap::Args)]
pub(super) struct TokenFile {
    /// Holds a token, or USER:PASSWORD of an operator. With -, standard input is read
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl TokenFile {
    pub(super) fn read(&self) -> Result<Option<SecretString>, RequestError> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let text = match file.as_os_str() == "-" {
            true => io::read_to_string(io::stdin()),
            false => std::fs::read_to_string(file),
        };
        let text = text.map_err(|error| RequestError::TokenFile(file.clone(), error))?;
        Ok(Some(text.trim().into()))
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(
        "--url must be a URL like https://scrapebroker.example.com, without user and password; those belong into --token-file"
    )]
    Url,
    #[error("cannot read {0}: {1}")]
    TokenFile(PathBuf, io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("no answer: {0}")]
    Unreachable(String),
    #[error("answered {status}: {text}")]
    Status { status: StatusCode, text: String, retry_after: Option<Duration> },
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match &error {
            RequestError::Url | RequestError::TokenFile(..) => Self::usage(error),
            RequestError::Unreachable(_) => Self::unavailable(error),
            RequestError::Status { status, .. }
                if status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS =>
            {
                Self::unavailable(error)
            }
            RequestError::Status { .. } | RequestError::Tls(_) => Self::other(error),
        }
    }
}

/// Parses the URL of an installation. `path` is used if the URL has none.
pub(super) fn installation_url(text: &str, path: &str) -> Result<Url, RequestError> {
    let mut url: Url = text.parse().map_err(|_| RequestError::Url)?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    if !matches!(url.scheme(), "http" | "https") || has_user {
        return Err(RequestError::Url);
    }
    if url.path() == "/" {
        url.set_path(path);
    }
    url.set_fragment(None);
    Ok(url)
}

/// Sends requests to an installation.
pub(super) struct InstallationClient {
    client: Client,
    secret: Option<SecretString>,
}

impl InstallationClient {
    /// A client for the scheme of `url`. `timeout` applies to each new connection.
    pub(super) fn new(
        url: &Url,
        secret: Option<SecretString>,
        timeout: Duration,
    ) -> Result<Self, RequestError> {
        let tls = match url.scheme() {
            "https" => Some(Arc::new(ClientSettings::default().config()?)),
            _ => None,
        };
        Ok(Self { client: net::client(net::connector(tls).timeout(timeout)), secret })
    }

    /// A request that accepts JSON, with the credentials.
    pub(super) fn request(&self, method: Method, url: &Url) -> ClientRequest {
        let url = net::plain_http_url(url.as_str()).unwrap_or_else(|| url.to_string());
        let request = self.client.request(method, url).insert_header((ACCEPT, "application/json"));
        let Some(secret) = self.secret.as_ref().map(ExposeSecret::expose_secret) else {
            return request;
        };
        match secret.split_once(':') {
            Some((username, password)) => request.basic_auth(username, password),
            None => request.bearer_auth(secret),
        }
    }
}

/// The body of a response with status 200, which may have at most `max` bytes.
pub(super) async fn body_of(sent: SendClientRequest, max: u64) -> Result<Vec<u8>, RequestError> {
    let mut response = sent.await.map_err(|error| match error {
        SendRequestError::Url(_) => RequestError::Url,
        error => RequestError::Unreachable(net::reason(&error)),
    })?;
    let body = net::read_body(&mut response, max).await;
    let body = body.map_err(|error| RequestError::Unreachable(error.to_string()))?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(body);
    }
    let text = String::from_utf8_lossy(&body);
    let text = text.trim().chars().filter(|c| !c.is_control()).take(MAX_ERROR).collect();
    Err(RequestError::Status { status, text, retry_after: retry_after(response.headers()) })
}

/// A number of seconds. Dates are ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
