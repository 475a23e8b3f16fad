//! Client of Tsuru's API.

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

/// Idle connections are reused only within this time. Apps are polled in bursts, and the API may
/// close connections in between.
const IDLE: Duration = Duration::from_secs(2);

/// URL and credentials of Tsuru's API.
#[derive(Clone)]
pub struct TsuruApi {
    url: String,
    token: SecretString,
    tls: Arc<ClientConfig>,
    /// Limits concurrent calls of [`TsuruApi::binds_of`].
    pub(super) calls: Arc<Semaphore>,
}

// The configuration contains a private key.
impl fmt::Debug for TsuruApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TsuruApi").field("url", &self.url).finish_non_exhaustive()
    }
}

impl TsuruApi {
    /// `url` is for example `https://tsuru.example.com`.
    ///
    /// # Errors
    /// A certificate in `tls` cannot be used.
    pub fn new(url: &str, token: SecretString, tls: &ClientSettings) -> Result<Self, TlsError> {
        let tls = Arc::new(tls.config()?);
        let calls = Arc::new(Semaphore::new(TSURU_CALLS));
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token, tls, calls })
    }

    /// Display name.
    pub(super) fn name(&self) -> String {
        let uri: Option<Uri> = self.url.parse().ok();
        let authority = uri.as_ref().and_then(Uri::authority);
        let host = authority.map(|it| it.as_str().rsplit('@').next().unwrap_or_default());
        host.map_or_else(|| "tsuru".to_owned(), |host| format!("tsuru {host}"))
    }
}

/// A client. It must stay on the thread that created it.
pub(super) struct Client {
    http: awc::Client,
    /// URL of the API for `http`.
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
        // The caller sets the timeout, which includes the body.
        let http = net::client(net::connector(tls).timeout(time).conn_keep_alive(IDLE));
        Self { http, url, token: api.token, body_bytes }
    }

    /// Returns the description of an app.
    pub(super) async fn fetch_app(&self, app: &str) -> Result<Vec<u8>, SourceError> {
        let app = utf8_percent_encode(app, NON_ALPHANUMERIC);
        let request = self.get(&format!("/1.0/apps/{app}"))?;
        fetch(request, self.body_bytes).await.map_err(|error| match error {
            SourceError::Credentials(status) => SourceError::Token(status),
            error => error,
        })
    }

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
