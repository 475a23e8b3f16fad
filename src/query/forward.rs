//! Forwards a request to the replicas of an instance, and the response of one of them.

use super::{
    PrometheusClient, QueryFailure, QueryRequest, ResponseBody, Server, Upstream,
    body::BodyEdit,
    gaps::WarningFilter,
    rule_paths::RulePathFilter,
    tries::{Tries, Winner},
};
use awc::http::{
    StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use url::Url;

/// Response headers that are forwarded. Others are dropped, such as hop-by-hop headers, cookies,
/// challenges, and CORS headers.
const RESPONSE_HEADERS: [HeaderName; 14] = [
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
    // What a remote write has stored, for its sender.
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

/// The name of the server that responded.
pub(super) const REPLICA: HeaderName = HeaderName::from_static("x-scrapebroker-replica");

/// A response whose body is streamed.
#[derive(Debug)]
pub struct QueryResponse {
    pub status: StatusCode,
    /// The server that responded.
    pub server: Server,
    /// The forwarded headers.
    pub headers: HeaderMap,
    /// Length of the body, if it was announced.
    pub length: Option<u64>,
    pub body: ResponseBody,
}

impl QueryResponse {
    /// Adds the warning that samples are missing, to a response that has warnings.
    pub(super) fn add_warning(&mut self) {
        let content_type = self.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_json = content_type.is_some_and(|it| it.starts_with(b"application/json"));
        if is_json && !self.headers.contains_key(header::CONTENT_ENCODING) {
            self.headers.remove(header::ETAG);
            self.length = None;
            self.body.edit(BodyEdit::Warning(WarningFilter::default()));
        }
    }
}

impl PrometheusClient {
    /// Sends the request to the servers ([`Tries`]) until one of them responds.
    ///
    /// # Errors
    /// [`QueryFailure`] if there is no response that may be forwarded.
    pub async fn forward(
        &self,
        upstream: &Upstream,
        request: &QueryRequest<'_>,
    ) -> Result<QueryResponse, QueryFailure> {
        let permit = self.permit(&upstream.external_url).await?;
        let winner = Tries::new(self, upstream, request).run(permit).await?;
        response_to_forward(winner, upstream, request)
    }
}

/// Checks whether a response may be forwarded, and selects its headers.
fn response_to_forward(
    winner: Winner<'_>,
    upstream: &Upstream,
    request: &QueryRequest<'_>,
) -> Result<QueryResponse, QueryFailure> {
    let Winner { response, server, permit } = winner;
    let status = response.status();
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
    if let Ok(name) = HeaderValue::from_str(&server.name) {
        headers.insert(REPLICA, name);
    }
    if let Some(mount) = request.mount
        && let Some(location) = headers.get(header::LOCATION)
        && let Some(location) = mounted(location, &server.url, mount)
    {
        headers.insert(header::LOCATION, location);
    }
    if let Some(location) = headers.get(header::LOCATION)
        && !stays_on_host(location, &upstream.external_url)
    {
        return Err(QueryFailure::Unusable("it redirects to another host"));
    }
    let length = length.filter(|_| has_body);
    if request.files.is_some() && headers.contains_key(header::CONTENT_ENCODING) {
        return Err(QueryFailure::Unusable(
            "it is compressed, although compression was not requested",
        ));
    }
    let edit = request.files.map(|files| BodyEdit::RulePaths(RulePathFilter::new(files)));
    let body = ResponseBody::new(response, length, edit, permit);
    // The filter changes the length.
    let length = length.filter(|_| request.files.is_none());
    Ok(QueryResponse { status, server: server.clone(), headers, length, body })
}

/// Replaces the path of a server by the public path in a redirect to a path of the server.
fn mounted(location: &HeaderValue, server: &str, mount: &str) -> Option<HeaderValue> {
    let location = location.to_str().ok()?;
    let prefix = Url::parse(server).ok()?.path().trim_end_matches('/').to_owned();
    let path = location.strip_prefix(server).or_else(|| location.strip_prefix(&prefix))?;
    let is_path = path.starts_with('/') && !path.starts_with("//");
    is_path.then(|| HeaderValue::try_from(format!("{mount}{path}")).ok())?
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

    #[test]
    fn redirects_to_a_path_of_the_server_get_the_public_path() {
        let mounted = |location: &'static str, server: &str| {
            let location = mounted(&HeaderValue::from_static(location), server, "/pools/a");
            location.map(|it| it.to_str().unwrap().to_owned())
        };
        let at_root = "http://10.0.0.1:9090";
        assert_eq!(mounted("/graph", at_root).as_deref(), Some("/pools/a/graph"));
        assert_eq!(
            mounted("http://10.0.0.1:9090/graph?x", at_root).as_deref(),
            Some("/pools/a/graph?x")
        );
        assert_eq!(mounted("/prom/graph", "http://h/prom").as_deref(), Some("/pools/a/graph"));
        for location in ["graph", "//evil.example.com", "http://evil.example.com/", "/other"] {
            assert_eq!(mounted(location, "http://h/prom"), None, "{location}");
        }
        assert_eq!(mounted("//evil.example.com", at_root), None);
    }

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
}
