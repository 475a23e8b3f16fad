//! Security headers for browsers, and protection against cross-site requests.
//!
//! A browser sends stored credentials with requests that a page of another site makes. So a form on
//! that site could use the APIs with the credentials of a logged-in user. Cross-site requests are
//! refused by the headers `Sec-Fetch-Site` (W3C Fetch Metadata) and `Origin` (RFC 6454). Clients
//! other than browsers usually send neither.

use crate::domain::BaseUrl;
use actix_web::{
    HttpRequest, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{
            CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::Next,
    web,
};
use serde_json::json;

/// Policy for responses that are not pages: they may not load, send or frame anything.
const DENY_ALL: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Policy for Scrapebroker's pages: they may load and send only to this server. Inline styles and
/// scripts are forbidden.
pub(super) const PAGES: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// Policy for pages of Prometheus. All versions of these pages contain inline scripts and styles.
/// Everything else is loaded from this server.
pub(super) const PROMETHEUS_PAGES: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; object-src 'none'; base-uri 'self'; \
     form-action 'self'; frame-ancestors 'none'",
);

/// Path prefixes of platform APIs. No page links to them, so navigations are refused too.
const APIS: [&str; 2] = ["/broker", "/tsuru"];

/// The public origin, shared by all workers.
#[derive(Clone, Debug)]
pub struct OwnOrigin(BaseUrl);

impl OwnOrigin {
    pub fn of(base_url: BaseUrl) -> Self {
        Self(base_url)
    }

    /// Whether the value of an `Origin` header identifies this installation, by its public URL or by
    /// the `Host` of the request. A page cannot choose the `Host` header.
    fn matches(&self, origin: &str, host: Option<&str>) -> bool {
        // Also false for `null`, which hides the origin.
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let port = if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" };
        let authority = without_port(authority, port);
        let own = self.0.target();
        host.is_some_and(|host| without_port(host, port).eq_ignore_ascii_case(authority))
            || without_port(&own, port).eq_ignore_ascii_case(authority)
    }
}

fn without_port<'a>(authority: &'a str, port: &str) -> &'a str {
    authority.strip_suffix(port).and_then(|rest| rest.strip_suffix(':')).unwrap_or(authority)
}

/// Middleware that refuses cross-site requests, and adds security headers to each response.
/// Requires [`OwnOrigin`] as app data.
///
/// # Errors
/// Returns errors of the wrapped service.
pub async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let mut response = if is_cross_site(request.request()) {
        let refused = refuse(request.path());
        request.into_response(refused).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, DENY_ALL),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // With `no-referrer`, browsers would send `Origin: null` with the forms of the pages.
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

fn is_cross_site(request: &HttpRequest) -> bool {
    let headers = request.headers();
    // Sibling domains are refused too, because they may belong to apps of other tenants.
    let has_foreign_site = headers
        .get_all("sec-fetch-site")
        .any(|site| ![&b"same-origin"[..], b"none"].contains(&site.as_bytes()));
    let own = request.app_data::<web::Data<OwnOrigin>>();
    let host = request.uri().authority().map(|authority| authority.as_str());
    let host = host.or_else(|| text(headers, &HOST));
    let has_foreign_origin = headers.get_all(ORIGIN).any(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        !own.is_some_and(|own| own.matches(origin, host))
    });
    has_foreign_origin || (has_foreign_site && !is_link(request))
}

/// Whether the request is a navigation to a page. The other site cannot read the response.
fn is_link(request: &HttpRequest) -> bool {
    let is = |name: &'static str, value: &str| {
        text(request.headers(), &HeaderName::from_static(name)) == Some(value)
    };
    matches!(*request.method(), Method::GET | Method::HEAD)
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
        && !is_api(request.path())
}

fn is_api(path: &str) -> bool {
    // API paths can also be below the path of `base_url`.
    path.split('/').any(|segment| APIS.iter().any(|api| segment == api.trim_start_matches('/')))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Refuses the request in the error format of the requested API.
fn refuse(path: &str) -> HttpResponse {
    const REASON: &str = "This request was made by a page of another site, so it is refused. \
                       If it is yours, set base_url to the URL at which browsers reach this page.";
    let mut response = HttpResponse::build(StatusCode::FORBIDDEN);
    match path.split('/').any(|segment| segment == "broker") {
        true => response.json(json!({ "description": REASON })),
        false => response.content_type("text/plain; charset=utf-8").body(format!("{REASON}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_matches_the_base_url_or_the_host_header() {
        let own = OwnOrigin::of("https://broker.example.com/sub".parse().unwrap());
        for (origin, host, is_ours) in [
            ("https://broker.example.com", None, true),
            ("https://BROKER.example.com:443", None, true),
            ("https://broker.example.com:8443", None, false),
            ("http://10.0.0.1:8085", Some("10.0.0.1:8085"), true),
            ("http://x", Some("x:80"), true),
            ("http://[::1]:8085", Some("[::1]:8085"), true),
            ("https://evil.example", Some("broker.example.com"), false),
            ("https://evil.broker.example.com", Some("broker.example.com"), false),
            ("https://broker.example.com.evil.example", Some("x"), false),
            ("null", Some("null"), false),
            ("", Some(""), false),
        ] {
            assert_eq!(own.matches(origin, host), is_ours, "{origin} {host:?}");
        }
    }
}
