//! Requests to the replicas of an instance, and the responses that are forwarded.

use super::{PrometheusClient, ResponseBody, RulePathFormat, Tries, Upstream, tries::Winner};
use crate::{
    domain::prometheus::{Replica, WEB_USER},
    net,
};
use awc::{
    ClientResponse,
    error::{ConnectError, SendRequestError},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use bytes::Bytes;
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// Request headers that are forwarded: content negotiation and cache validation.
const REQUEST_HEADERS: [HeaderName; 4] =
    [header::ACCEPT, header::ACCEPT_ENCODING, header::IF_MODIFIED_SINCE, header::IF_NONE_MATCH];

/// Response headers that are forwarded. Others are dropped, such as hop-by-hop headers, cookies,
/// challenges, and CORS headers.
const RESPONSE_HEADERS: [HeaderName; 11] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CACHE_CONTROL,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    // The pages distinguish a stopping server from a starting one by it.
    HeaderName::from_static("x-prometheus-stopping"),
];

/// The number of the replica that responded.
const REPLICA: HeaderName = HeaderName::from_static("x-scrapebroker-replica");

/// Why a query failed. The texts are for users and contain no secrets or addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryFailure {
    /// No replica is reachable.
    #[error("no server of this Prometheus is reachable: {0}")]
    Unavailable(String),
    /// No connection was free in time.
    #[error(
        "other requests use all connections that backends.max_connections allows; try again in a few seconds"
    )]
    Busy,
    /// No response before the timeout.
    #[error("this Prometheus did not respond within {} s; query less data or a shorter time range", .0.as_secs())]
    Timeout(Duration),
    /// The connection ended before the response.
    #[error("this Prometheus ended the connection before it responded: it may be restarting")]
    Broken,
    /// Prometheus rejected the password.
    #[error("this Prometheus rejects Scrapebroker's password; ask the operator for help")]
    Refused,
    /// The response must not be forwarded.
    #[error("the response of this Prometheus cannot be forwarded: {0}")]
    Unusable(&'static str),
}

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

/// A response whose body is streamed.
#[derive(Debug)]
pub struct QueryResponse {
    pub status: StatusCode,
    /// The forwarded headers.
    pub headers: HeaderMap,
    /// Length of the body, if it was announced.
    pub length: Option<u64>,
    pub body: ResponseBody,
}

impl PrometheusClient {
    /// Sends the request to the ready replicas ([`Tries`]) until one of them responds.
    ///
    /// # Errors
    /// [`QueryFailure`] if there is no response that may be forwarded.
    pub async fn forward(
        &self,
        upstream: &Upstream,
        request: &QueryRequest<'_>,
    ) -> Result<QueryResponse, QueryFailure> {
        let permit = self.permit(&upstream.external_url).await?;
        self.states.count_query();
        let tries = Tries::new(self, upstream, request).run(permit);
        let responded = timeout(request.timeout, tries).await;
        let winner = responded.unwrap_or(Err(QueryFailure::Timeout(request.timeout)))?;
        response_to_forward(winner, upstream, request.files)
    }

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

/// Whether no connection was opened.
pub(super) fn is_unreachable(error: &ConnectError) -> bool {
    !matches!(error, ConnectError::Disconnected)
}

/// Explains a connection error without the address.
pub(super) fn explain(error: &ConnectError) -> String {
    match error {
        ConnectError::Timeout => "took too long to connect".to_owned(),
        ConnectError::Io(error) => format!("cannot be connected to: {error}"),
        ConnectError::Resolver(error) => format!("cannot be connected to: {error}"),
        _ => "cannot be connected to".to_owned(),
    }
}

pub(super) fn why_unavailable(replicas: &[Replica]) -> String {
    if replicas.is_empty() {
        return "it does not exist yet, or no longer".to_owned();
    }
    let one = |replica: &Replica| {
        let colon = if replica.problem.is_empty() { "" } else { ": " };
        let Replica { number, state, problem, .. } = replica;
        format!("server {number} is {}{colon}{problem}", state.as_str())
    };
    replicas.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Checks whether a response may be forwarded, and selects its headers.
fn response_to_forward(
    winner: Winner<'_>,
    upstream: &Upstream,
    files: Option<RulePathFormat>,
) -> Result<QueryResponse, QueryFailure> {
    let Winner { response, replica, permit } = winner;
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        return Err(QueryFailure::Refused);
    }
    let has_body = !status.is_informational()
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse().ok();
    let length = response.headers().get(header::CONTENT_LENGTH).and_then(number);
    let mut headers = HeaderMap::new();
    for name in RESPONSE_HEADERS {
        for value in response.headers().get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(REPLICA, u16::from(replica.number).into());
    if let Some(location) = headers.get(header::LOCATION)
        && !stays_on_host(location, &upstream.external_url)
    {
        return Err(QueryFailure::Unusable("it redirects to another host"));
    }
    let length = length.filter(|_| has_body);
    let body = ResponseBody::new(response, length, permit);
    let Some(files) = files else { return Ok(QueryResponse { status, headers, length, body }) };
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(QueryFailure::Unusable(
            "it is compressed, although compression was not requested",
        ));
    }
    Ok(QueryResponse { status, headers, length: None, body: body.without_folders(files) })
}

/// Whether a redirect stays on Scrapebroker's public host.
fn stays_on_host(location: &HeaderValue, external_url: &str) -> bool {
    let Ok(base) = Url::parse(external_url) else { return false };
    let next = location.to_str().ok().and_then(|location| base.join(location).ok());
    next.is_some_and(|next| next.origin() == base.origin())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::prometheus::ReplicaState;

    #[test]
    fn redirects_must_stay_on_the_public_host() {
        let base = "https://m.example.com/sub/prometheus/a";
        for (location, stays) in [
            ("/sub/prometheus/a/graph", true),
            ("graph", true),
            ("./query?x=1", true),
            ("https://m.example.com/sub/prometheus/a/graph", true),
            ("https://m.example.com:443/x", true),
            ("//evil.example.com/", false),
            ("https://evil.example.com/", false),
            ("http://m.example.com/", false),
            ("https://m.example.com:8443/", false),
            ("https://m.example.com@evil.example.com/", false),
            ("\\\\evil.example.com/", false),
            ("javascript:alert(1)", false),
        ] {
            let value = HeaderValue::from_static(location);
            assert_eq!(stays_on_host(&value, base), stays, "{location}");
        }
    }

    #[test]
    fn the_reason_is_given_for_each_unavailable_replica() {
        let replica = |number, state, problem: &str| Replica {
            number,
            url: String::new(),
            state,
            problem: problem.to_owned(),
        };
        let replicas = [
            replica(0, ReplicaState::Failed, "out of memory"),
            replica(1, ReplicaState::Starting, ""),
        ];
        assert_eq!(
            why_unavailable(&replicas),
            "server 0 is failed: out of memory; server 1 is starting"
        );
        assert_eq!(why_unavailable(&[]), "it does not exist yet, or no longer");
    }
}
