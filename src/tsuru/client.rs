//! Sends calls and reads the responses.

use super::{TsuruApi, error::TsuruApiError};
use crate::net;
use awc::http::{
    Method,
    header::{self, HeaderValue},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use std::{fmt, time::Duration};
use tokio::time::timeout;

/// Idle connections are reused only within this time. Apps are polled in bursts, and the API may
/// close connections in between.
const IDLE: Duration = Duration::from_secs(2);
/// Connecting is limited by the timeout of the call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3600);

/// Characters of a name that are encoded in a path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Limits of one call.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Timeout of short calls, including the body.
    pub timeout: Duration,
    /// Timeout of calls that stream their progress.
    pub stream_timeout: Duration,
    /// Maximum size of a response, in bytes.
    pub body_bytes: u64,
}

/// A client of one thread. Clones share its connections.
#[derive(Clone)]
pub struct TsuruClient {
    http: awc::Client,
    /// URL of the API for `http`.
    url: String,
    token: SecretString,
    pub(super) limits: CallLimits,
    keeps_connections: bool,
}

impl fmt::Debug for TsuruClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TsuruClient").field("url", &self.url).finish_non_exhaustive()
    }
}

impl TsuruClient {
    pub(super) fn new(api: &TsuruApi, limits: CallLimits) -> Self {
        let (url, tls) = match net::plain_http_url(api.url.as_str()) {
            None => (api.url.to_string(), None),
            Some(url) => (url, Some(api.tls.clone())),
        };
        let connector = net::connector(tls).timeout(CONNECT_TIMEOUT).conn_keep_alive(IDLE);
        let http = net::client(connector);
        Self { http, url, token: api.token.clone(), limits, keeps_connections: false }
    }

    /// Keeps connections for further calls. By default each call closes its connection: a stale one
    /// would fail the next call, which may not be repeatable.
    #[must_use]
    pub fn keeping_connections(self) -> Self {
        Self { keeps_connections: true, ..self }
    }

    /// Reads a JSON document. None if the API answers 404 with a body that `is_missing` recognizes.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        is_missing: impl FnOnce(&str) -> bool,
    ) -> Result<Option<T>, TsuruApiError> {
        let (status, body) = self.call(Method::GET, path, None, self.limits.timeout).await?;
        document(status, &body, is_missing)
    }

    /// Sends one request and reads the response, whose status may be any.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        form: Option<String>,
        limit: Duration,
    ) -> Result<(u16, Vec<u8>), TsuruApiError> {
        let mut authorization =
            HeaderValue::from_str(&format!("bearer {}", self.token.expose_secret()))
                .map_err(|_| TsuruApiError::Token)?;
        authorization.set_sensitive(true);
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .insert_header((header::AUTHORIZATION, authorization));
        if !self.keeps_connections {
            request = request.force_close();
        }
        let exchange = async {
            let sent = match form {
                Some(form) => request
                    .insert_header((header::CONTENT_TYPE, "application/x-www-form-urlencoded"))
                    .send_body(form),
                None => net::send(request),
            };
            let mut response =
                sent.await.map_err(|error| TsuruApiError::Unreachable(net::reason(&error)))?;
            let body = net::read_body(&mut response, self.limits.body_bytes).await?;
            Ok((response.status().as_u16(), body))
        };
        timeout(limit, exchange).await.unwrap_or(Err(TsuruApiError::Timeout(limit)))
    }
}

/// A name as a segment of a path.
pub(super) fn segment(name: &str) -> impl fmt::Display {
    utf8_percent_encode(name, ENCODED)
}

pub(super) fn document<T: DeserializeOwned>(
    status: u16,
    body: &[u8],
    is_missing: impl FnOnce(&str) -> bool,
) -> Result<Option<T>, TsuruApiError> {
    match status {
        200 => match serde_json::from_slice(body) {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.is_eof() => Err(TsuruApiError::Truncated),
            Err(_) => Err(TsuruApiError::NotTsuru(status)),
        },
        // A proxy without a backend also answers 404.
        404 if is_missing(&String::from_utf8_lossy(body)) => Ok(None),
        404 => Err(TsuruApiError::NotTsuru(status)),
        _ => Err(TsuruApiError::of_status(status, body)),
    }
}
