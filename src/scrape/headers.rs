//! Which of the scraper's headers an instance gets to see.

use awc::http::header::{HeaderMap, HeaderName, HeaderValue};

/// Names that stay here: about the connection, the body, the scraper's own
/// software, or the way it took; never about the app.
const KEPT: [&str; 25] = [
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

/// Beginnings of such names.
const KEPT_PREFIXES: [&str; 12] = [
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

/// Set anew for each instance.
const REPLACED: [&str; 2] = ["x-prometheus-scrape-timeout-seconds", "x-promfetcher-scrapping"];

/// The scraper's headers that go on to the instances of an app.
///
/// `connection` may name more headers that end here (RFC 9110, section 7.6.1).
pub fn passed_on(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let named_by_connection: Vec<String> = headers
        .get_all("connection")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let passes = |name: &str| {
        !KEPT.contains(&name)
            && !REPLACED.contains(&name)
            && !KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !named_by_connection.iter().any(|named| named == name)
    };
    headers
        .iter()
        .filter(|(name, _)| passes(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// promfetcher, gap 21: headers for the app are passed on, not only Authorization.
    #[test]
    fn gap_21_headers_for_the_app_pass_and_headers_of_the_way_do_not() {
        let passing = ["authorization", "x-api-key", "accept-language", "x-tenant"];
        let staying = [
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
        for name in passing.into_iter().chain(staying) {
            headers.insert(name.parse().unwrap(), HeaderValue::from_static("x"));
        }
        headers.insert("connection".parse().unwrap(), HeaderValue::from_static("close, X-Named"));
        let mut passed: Vec<_> =
            passed_on(&headers).into_iter().map(|(name, _)| name.to_string()).collect();
        passed.sort();
        let mut expected = passing;
        expected.sort_unstable();
        assert_eq!(passed, expected);
    }
}
