//! One request to Marathon or to the login endpoint of DC/OS.

use crate::{
    net::{self, ReadBodyError},
    tls::{ClientSettings, TlsError},
};
use awc::{
    Client,
    http::{
        Method,
        header::{self, HeaderValue},
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Timeout of one request, including the body. Shorter than half of the time that a pool gives a
/// locator, so that two hung hosts do not use it up.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum size of a response, bytes: an app with several thousand tasks.
const MAX_BODY: u64 = 16 << 20;

/// Clients with and without TLS. They follow no redirects, because requests contain tokens.
pub(super) struct HttpClients {
    plain: Client,
    secured: Client,
    pub(super) timeout: Duration,
}

/// Why a server gave no usable answer. The text follows the URL of the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallFailure {
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("did not respond within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("closed the connection before the response was complete: {0}")]
    Truncated(String),
    #[error("responded with more than {0} bytes")]
    TooLarge(u64),
    #[error("responded with a redirect (status {0}), which is not followed; check the URL")]
    Redirect(u16),
    #[error("responded with status {0}")]
    Status(u16),
    #[error("responded with something other than the JSON of {0}; check the URL")]
    NotJson(&'static str),
}

impl CallFailure {
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            300..=399 => Self::Redirect(status),
            _ => Self::Status(status),
        }
    }
}

impl From<ReadBodyError> for CallFailure {
    fn from(error: ReadBodyError) -> Self {
        match error {
            ReadBodyError::TooLarge(limit) => Self::TooLarge(limit),
            ReadBodyError::Truncated(reason) => Self::Truncated(reason),
        }
    }
}

impl HttpClients {
    /// Creates clients of this thread.
    ///
    /// # Errors
    /// A certificate cannot be used.
    pub(super) fn new(tls: &ClientSettings) -> Result<Self, TlsError> {
        let tls = Arc::new(tls.config()?);
        let client = |tls| net::client(net::connector(tls));
        Ok(Self { plain: client(None), secured: client(Some(tls)), timeout: TIMEOUT })
    }

    pub(super) async fn get(
        &self,
        url: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<(u16, Vec<u8>), CallFailure> {
        self.call(Method::GET, url, authorization, None).await
    }

    pub(super) async fn post(
        &self,
        url: &str,
        json: String,
    ) -> Result<(u16, Vec<u8>), CallFailure> {
        self.call(Method::POST, url, None, Some(json)).await
    }

    /// Sends a request and reads the response, whose status may be any.
    async fn call(
        &self,
        method: Method,
        url: &str,
        authorization: Option<&HeaderValue>,
        json: Option<String>,
    ) -> Result<(u16, Vec<u8>), CallFailure> {
        let mut request = match net::plain_http_url(url) {
            None => self.plain.request(method, url),
            Some(url) => self.secured.request(method, url),
        };
        // A connection is not reused: selections are seconds apart, and it could be closed by then.
        request = request.force_close().insert_header((header::ACCEPT, "application/json"));
        if let Some(authorization) = authorization {
            request = request.insert_header((header::AUTHORIZATION, authorization.clone()));
        }
        let exchange = async {
            let sent = match json {
                Some(json) => request
                    .insert_header((header::CONTENT_TYPE, "application/json"))
                    .send_body(json),
                None => net::send(request),
            };
            let mut response =
                sent.await.map_err(|error| CallFailure::Unreachable(net::reason(&error)))?;
            let body = net::read_body(&mut response, MAX_BODY).await?;
            Ok((response.status().as_u16(), body))
        };
        let timed_out = Err(CallFailure::Timeout(self.timeout));
        timeout(self.timeout, exchange).await.unwrap_or(timed_out)
    }
}
