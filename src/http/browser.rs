//! Security headers for browsers, and the refusal of cross-site requests.
//!
//! A browser sends cached credentials along with whatever a page of another site
//! makes it request, so a form on that site could use the APIs of a person who is
//! logged in. Requests that come from another site are refused by the headers with
//! which browsers mark them: `Sec-Fetch-Site` (W3C Fetch Metadata) and `Origin`
//! (RFC 6454). Clients that are no browsers send neither.

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

/// The policy for everything that is not a page: nothing may be loaded, sent or framed.
const NOTHING: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The policy for own pages: only the own style sheet.
pub(super) const PAGES: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

/// The policy for pages of Prometheus, which contain inline scripts and styles in each version. They
/// load everything else from this server.
pub(super) const PROMETHEUS_PAGES: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; object-src 'none'; base-uri 'self'; \
     form-action 'self'; frame-ancestors 'none'",
);

/// APIs of platforms. No link leads to them, so even navigations are refused.
const APIS: [&str; 2] = ["/broker", "/tsuru"];

/// The public origin, shared by all workers.
#[derive(Clone, Debug)]
pub struct OwnOrigin(BaseUrl);

impl OwnOrigin {
    pub fn of(base_url: BaseUrl) -> Self {
        Self(base_url)
    }

    /// Whether the value of an `Origin` names this installation: as users reach it, or
    /// as this request does. A page cannot choose the `Host` that its browser sends.
    fn is_named_by(&self, origin: &str, host: Option<&str>) -> bool {
        // Also false for `null`, which hides a foreign origin.
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

/// A middleware that refuses requests from other sites, and adds to each answer what
/// keeps browsers from using it for anything else. Needs [`OwnOrigin`] as app data.
///
/// # Errors
/// Those of the service.
pub async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let mut response = if is_foreign(request.request()) {
        let refused = refuse(request.path());
        request.into_response(refused).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, NOTHING),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

fn is_foreign(request: &HttpRequest) -> bool {
    let headers = request.headers();
    // A sibling domain is refused too: it may belong to an app of a tenant.
    let is_from_elsewhere = headers
        .get_all("sec-fetch-site")
        .any(|site| ![&b"same-origin"[..], b"none"].contains(&site.as_bytes()));
    let own = request.app_data::<web::Data<OwnOrigin>>();
    let host = request.uri().authority().map(|authority| authority.as_str());
    let host = host.or_else(|| text(headers, &HOST));
    let names_another = headers.get_all(ORIGIN).any(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        !own.is_some_and(|own| own.is_named_by(origin, host))
    });
    names_another || (is_from_elsewhere && !is_link(request))
}

/// Whether this is a navigation to a page, whose answer the other site cannot read.
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
    // Also below the path of `base_url`.
    path.split('/').any(|segment| APIS.iter().any(|api| segment == api.trim_start_matches('/')))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// In the format of the requested API.
fn refuse(path: &str) -> HttpResponse {
    const WHY: &str = "This request was made by a page of another site, so it is refused. \
                       If it is yours, set base_url to the URL at which browsers reach this page.";
    let mut response = HttpResponse::build(StatusCode::FORBIDDEN);
    match path.split('/').any(|segment| segment == "broker") {
        true => response.json(json!({ "description": WHY })),
        false => response.content_type("text/plain; charset=utf-8").body(format!("{WHY}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_ours_by_base_url_or_by_the_host_that_was_asked() {
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
            assert_eq!(own.is_named_by(origin, host), is_ours, "{origin} {host:?}");
        }
    }
}
