//! Selects the scraper's headers that are forwarded to instances.

use awc::http::header::{HeaderMap, HeaderName, HeaderValue};

/// Headers that are not forwarded, because they concern the connection, the body, the scraper's
/// software or the proxies in between, and not the app.
const NOT_FORWARDED: [&str; 25] = [
    "accept",
    "accept-encoding",
    "b3",
    "baggage",
    "connection",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "sentry-trace",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-real-ip",
];

/// Prefixes of such headers.
const NOT_FORWARDED_PREFIXES: [&str; 12] = [
    "content-",
    "if-",
    "x-forwarded-",
    "x-cf-",
    "x-vcap-",
    "x-b3-",
    "x-amzn-trace-",
    "x-request-",
    "x-cloud-trace-",
    "uber-trace-",
    "x-datadog-",
    "x-scrapebroker-",
];

/// Headers that are set for each instance.
const REPLACED: [&str; 2] = ["x-prometheus-scrape-timeout-seconds", "x-promfetcher-scrapping"];

/// The scraper's headers that are forwarded to the instances of an app.
///
/// Headers named by `Connection` are not forwarded (RFC 9110, section 7.6.1).
pub fn forwarded_headers(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let named_by_connection: Vec<String> = headers
        .get_all("connection")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let is_forwarded = |name: &str| {
        !NOT_FORWARDED.contains(&name)
            && !REPLACED.contains(&name)
            && !NOT_FORWARDED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !named_by_connection.iter().any(|named| named == name)
    };
    headers
        .iter()
        .filter(|(name, _)| is_forwarded(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_for_the_app_are_forwarded_and_hop_by_hop_and_proxy_headers_are_not() {
        let forwarded = ["authorization", "x-api-key", "accept-language", "x-tenant"];
        let not_forwarded = [
            "Host",
            "Accept",
            "Accept-Encoding",
            "User-Agent",
            "Cookie",
            "Content-Type",
            "Content-Length",
            "If-None-Match",
            "Range",
            "Expect",
            "Forwarded",
            "X-Forwarded-For",
            "X-Real-IP",
            "X-CF-App-Instance",
            "X-Vcap-Request-Id",
            "traceparent",
            "X-B3-TraceId",
            "Connection",
            "Transfer-Encoding",
            "X-Named",
            "X-Prometheus-Scrape-Timeout-Seconds",
            "X-Scrapebroker-Via",
        ];
        let mut headers = HeaderMap::new();
        for name in forwarded.into_iter().chain(not_forwarded) {
            headers.insert(name.parse().unwrap(), HeaderValue::from_static("x"));
        }
        headers.insert("connection".parse().unwrap(), HeaderValue::from_static("close, X-Named"));
        let mut found: Vec<_> =
            forwarded_headers(&headers).into_iter().map(|(name, _)| name.to_string()).collect();
        found.sort();
        let mut expected = forwarded;
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
