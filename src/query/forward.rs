//! One request, to the first replica that takes it.

use super::{Body, Client, Failure, FilesIn, Upstream};
use crate::{
    domain::prometheus::{Replica, ReplicaState, WEB_USER},
    net::{self, Permit},
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

/// What a read needs of its request: how the answer is to be written, and what the
/// user has of it already.
const OF_REQUEST: [HeaderName; 4] =
    [header::ACCEPT, header::ACCEPT_ENCODING, header::IF_MODIFIED_SINCE, header::IF_NONE_MATCH];

/// What a reader needs of an answer. All others stay behind: those of the
/// connection, cookies, challenges, and what opens it to other sites.
const OF_ANSWER: [HeaderName; 11] = [
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
    // The pages tell a server that stops from one that starts by it.
    HeaderName::from_static("x-prometheus-stopping"),
];

/// A request to pass on.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Path and query, below the instance's own path.
    pub target: String,
    /// The user's headers; only what a read needs of them goes along.
    pub headers: &'a HeaderMap,
    /// X-Forwarded-For of the request.
    pub forwarded_for: Option<HeaderValue>,
    /// Parameters as a form, instead of in the query.
    pub form: Option<Bytes>,
    /// The answer names rule files: their folders are left out of it.
    pub files: Option<FilesIn>,
    /// How long the answer may take to begin.
    pub patience: Duration,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// What a reader needs of its headers.
    pub headers: HeaderMap,
    /// The length of the body, when it was announced.
    pub length: Option<u64>,
    /// The body.
    pub body: Body,
}

impl Client {
    /// Asks the replicas that are ready, one after the other, until one takes the
    /// connection.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer that may be passed on.
    pub async fn forward(&self, upstream: &Upstream, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let permit = self.permit(&upstream.external_url).await?;
        let mut refused = None;
        for replica in upstream.replicas.iter().filter(|it| it.state == ReplicaState::Ready) {
            match timeout(ask.patience, self.send(replica, upstream, ask)).await {
                Err(_) => return Err(Failure::Late(ask.patience)),
                Ok(Ok(response)) => return answer(response, upstream, ask.files, permit),
                // Nothing was sent yet.
                Ok(Err(SendRequestError::Connect(error))) if is_unreachable(&error) => {
                    let why = explain(&error);
                    tracing::debug!(
                        instance = upstream.external_url,
                        replica.number,
                        why,
                        "prometheus server unreachable"
                    );
                    refused = Some(format!("server {} {why}", replica.number));
                }
                Ok(Err(_)) => return Err(Failure::Broken),
            }
        }
        Err(Failure::Away(refused.unwrap_or_else(|| why_nobody_is_ready(&upstream.replicas))))
    }

    async fn send(
        &self,
        replica: &Replica,
        upstream: &Upstream,
        ask: &Ask<'_>,
    ) -> Result<ClientResponse, SendRequestError> {
        let url = format!("{}{}", replica.url, ask.target);
        let (client, url) = self.of(&url);
        let request = match &ask.form {
            None => client.get(url),
            Some(_) => client.post(url),
        };
        let mut request = request
            .force_close()
            .no_decompress()
            .basic_auth(WEB_USER, upstream.password.expose_secret())
            .insert_header((
                header::USER_AGENT,
                concat!("scrapebroker/", env!("CARGO_PKG_VERSION")),
            ));
        // What is looked into must not be compressed.
        let is_sent = |name: &HeaderName| ask.files.is_none() || *name != header::ACCEPT_ENCODING;
        for name in OF_REQUEST.into_iter().filter(is_sent) {
            for value in ask.headers.get_all(&name) {
                request = request.append_header((name.clone(), value.clone()));
            }
        }
        if let Some(chain) = &ask.forwarded_for {
            request = request.insert_header(("x-forwarded-for", chain.clone()));
        }
        match &ask.form {
            None => net::send(request).await,
            Some(form) => {
                request
                    .content_type("application/x-www-form-urlencoded")
                    .send_body(form.clone())
                    .await
            }
        }
    }
}

/// Whether there was no connection at all.
fn is_unreachable(error: &ConnectError) -> bool {
    !matches!(error, ConnectError::Disconnected)
}

/// In words, without an address.
fn explain(error: &ConnectError) -> String {
    match error {
        ConnectError::Timeout => "took too long to connect".to_owned(),
        ConnectError::Io(error) => format!("cannot be connected to: {error}"),
        _ => "cannot be connected to".to_owned(),
    }
}

fn why_nobody_is_ready(replicas: &[Replica]) -> String {
    if replicas.is_empty() {
        return "it is not there yet, or not any more".to_owned();
    }
    let one = |replica: &Replica| {
        let colon = if replica.problem.is_empty() { "" } else { ": " };
        let Replica { number, state, problem, .. } = replica;
        format!("server {number} is {}{colon}{problem}", state.as_str())
    };
    replicas.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Decides whether an answer may be passed on, and what of it.
fn answer(
    response: ClientResponse,
    upstream: &Upstream,
    files: Option<FilesIn>,
    permit: Permit,
) -> Result<Answer, Failure> {
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        return Err(Failure::Refused);
    }
    let has_body = !status.is_informational()
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse().ok();
    let length = response.headers().get(header::CONTENT_LENGTH).and_then(number);
    let mut headers = HeaderMap::new();
    for name in OF_ANSWER {
        for value in response.headers().get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Some(location) = headers.get(header::LOCATION)
        && !stays_here(location, &upstream.external_url)
    {
        return Err(Failure::Unfit("it leads to another host"));
    }
    let length = length.filter(|_| has_body);
    let body = Body::new(response, length, permit);
    let Some(files) = files else { return Ok(Answer { status, headers, length, body }) };
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Failure::Unfit("it is compressed, though that was not asked for"));
    }
    Ok(Answer { status, headers, length: None, body: body.without_folders(files) })
}

/// Whether a redirect keeps its user on our host.
fn stays_here(location: &HeaderValue, external_url: &str) -> bool {
    let Ok(base) = Url::parse(external_url) else { return false };
    let next = location.to_str().ok().and_then(|location| base.join(location).ok());
    next.is_some_and(|next| next.origin() == base.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_stays_on_our_host() {
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
            assert_eq!(stays_here(&value, base), stays, "{location}");
        }
    }

    #[test]
    fn who_is_not_ready_says_why() {
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
            why_nobody_is_ready(&replicas),
            "server 0 is failed: out of memory; server 1 is starting"
        );
        assert_eq!(why_nobody_is_ready(&[]), "it is not there yet, or not any more");
    }
}
