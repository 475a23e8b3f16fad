//! Forwards a request to the replicas of an instance, and the response of one of them.

use super::{
    PrometheusClient, QueryFailure, QueryRequest, ResponseBody, RulePathFormat, Upstream,
    tries::{Tries, Winner},
};
use awc::http::{
    StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use url::Url;

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

/// The name of the server that responded.
const REPLICA: HeaderName = HeaderName::from_static("x-scrapebroker-replica");

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
        response_to_forward(winner, upstream, request.files)
    }
}

/// Checks whether a response may be forwarded, and selects its headers.
fn response_to_forward(
    winner: Winner<'_>,
    upstream: &Upstream,
    files: Option<RulePathFormat>,
) -> Result<QueryResponse, QueryFailure> {
    let Winner { response, server, permit } = winner;
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
    if let Ok(name) = HeaderValue::from_str(&server.name) {
        headers.insert(REPLICA, name);
    }
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
