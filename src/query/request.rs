//! Requests to the servers of an instance.

use super::{PrometheusClient, RulePathFormat};
use crate::{
    domain::prometheus::{Replica, WEB_USER},
    net,
};
use awc::{
    ClientResponse,
    error::SendRequestError,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// A Prometheus instance that can be queried.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Public URL of the instance.
    pub external_url: String,
    /// Its replicas, in the order in which they are tried.
    pub replicas: Vec<Replica>,
    /// Password of the instance's web endpoint.
    pub password: SecretString,
}

/// Request headers that are forwarded: content negotiation and cache validation.
const REQUEST_HEADERS: [HeaderName; 4] =
    [header::ACCEPT, header::ACCEPT_ENCODING, header::IF_MODIFIED_SINCE, header::IF_NONE_MATCH];

/// A request to forward.
#[derive(Clone, Debug)]
pub struct QueryRequest<'a> {
    /// Path and query, relative to the instance's path.
    pub target: String,
    /// The user's headers; those that a read needs are forwarded.
    pub headers: &'a HeaderMap,
    /// X-Forwarded-For of the request.
    pub forwarded_for: Option<HeaderValue>,
    /// Parameters as a form instead of the query.
    pub form: Option<Bytes>,
    /// The response contains paths of rule files, whose folders are removed.
    pub files: Option<RulePathFormat>,
    /// Timeout until the response starts.
    pub timeout: Duration,
}

impl PrometheusClient {
    pub(super) async fn send(
        &self,
        replica: &Replica,
        upstream: &Upstream,
        request: &QueryRequest<'_>,
    ) -> Result<ClientResponse, SendRequestError> {
        let url = format!("{}{}", replica.url, request.target);
        let (client, url) = self.of(&url);
        let http_request = match &request.form {
            None => client.get(url),
            Some(_) => client.post(url),
        };
        let mut http_request = http_request
            .force_close()
            .no_decompress()
            .basic_auth(WEB_USER, upstream.password.expose_secret())
            .insert_header((
                header::USER_AGENT,
                concat!("scrapebroker/", env!("CARGO_PKG_VERSION")),
            ));
        // A body that is edited must not be compressed.
        let is_sent =
            |name: &HeaderName| request.files.is_none() || *name != header::ACCEPT_ENCODING;
        for name in REQUEST_HEADERS.into_iter().filter(is_sent) {
            for value in request.headers.get_all(&name) {
                http_request = http_request.append_header((name.clone(), value.clone()));
            }
        }
        if let Some(chain) = &request.forwarded_for {
            http_request = http_request.insert_header(("x-forwarded-for", chain.clone()));
        }
        match &request.form {
            None => net::send(http_request).await,
            Some(form) => {
                http_request
                    .content_type("application/x-www-form-urlencoded")
                    .send_body(form.clone())
                    .await
            }
        }
    }
}
