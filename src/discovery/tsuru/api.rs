//! The calls of Tsuru's API.

use super::TSURU_CALLS;
use crate::{
    discovery::{error::SourceError, fetch::fetch},
    net,
    tls::{ClientConfig, ClientSettings, TlsError},
};
use awc::{
    ClientRequest,
    http::{
        Uri,
        header::{self, HeaderValue},
    },
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// An idle connection is used again within this time only: apps are asked for
/// in bursts, and between these the API may have closed it.
const IDLE: Duration = Duration::from_secs(2);

/// Where Tsuru's API is, and how to be let in.
#[derive(Clone)]
pub struct TsuruApi {
    url: String,
    token: SecretString,
    tls: Arc<ClientConfig>,
    /// Calls that requests wait for.
    pub(super) calls: Arc<Semaphore>,
}

// What is inside holds a key.
impl fmt::Debug for TsuruApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TsuruApi").field("url", &self.url).finish_non_exhaustive()
    }
}

impl TsuruApi {
    /// The API at `url`, as in `https://tsuru.example.com`.
    ///
    /// # Errors
    /// When one of the certificates of `tls` cannot be used.
    pub fn new(url: &str, token: SecretString, tls: &ClientSettings) -> Result<Self, TlsError> {
        let tls = Arc::new(tls.config()?);
        let calls = Arc::new(Semaphore::new(TSURU_CALLS));
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token, tls, calls })
    }

    /// What to call it where people read it.
    pub(super) fn name(&self) -> String {
        let uri: Option<Uri> = self.url.parse().ok();
        let authority = uri.as_ref().and_then(Uri::authority);
        let host = authority.map(|it| it.as_str().rsplit('@').next().unwrap_or_default());
        host.map_or_else(|| "tsuru".to_owned(), |host| format!("tsuru {host}"))
    }
}

/// Asks the API, on the thread where it was made.
pub(super) struct Client {
    http: awc::Client,
    /// Of the API, for `http`.
    url: String,
    token: SecretString,
    body_bytes: u64,
}

impl Client {
    pub(super) fn new(api: TsuruApi, time: Duration, body_bytes: u64) -> Self {
        let (url, tls) = match net::plain_http_url(&api.url) {
            None => (api.url, None),
            Some(url) => (url, Some(api.tls)),
        };
        // The deadline is the caller's, and it covers the body.
        let http = net::client(net::connector(tls).timeout(time).conn_keep_alive(IDLE));
        Self { http, url, token: api.token, body_bytes }
    }

    /// What the API says of an app.
    pub(super) async fn ask(&self, app: &str) -> Result<Vec<u8>, SourceError> {
        let app = utf8_percent_encode(app, NON_ALPHANUMERIC);
        let request = self.get(&format!("/1.0/apps/{app}"))?;
        fetch(request, self.body_bytes).await.map_err(|error| match error {
            SourceError::Credentials(status) => SourceError::Token(status),
            error => error,
        })
    }

    /// A request with the token, not sent yet.
    pub(super) fn get(&self, path: &str) -> Result<ClientRequest, SourceError> {
        let url = format!("{}{path}", self.url);
        let url: Uri = url.parse().map_err(|_| SourceError::Url)?;
        let authorization = format!("bearer {}", self.token.expose_secret());
        let mut authorization =
            HeaderValue::from_str(&authorization).map_err(|_| SourceError::Url)?;
        authorization.set_sensitive(true);
        Ok(self.http.get(url).insert_header((header::AUTHORIZATION, authorization)))
    }
}
