//! Checks before each broker request, and a header of each response.

use super::{OsbError, OsbState};
use crate::http::access::Access;
use actix_web::{
    HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderMap, HeaderName},
    middleware::Next,
    web,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tracing::Instrument;

const API_VERSION: &str = "X-Broker-API-Version";
const ORIGINATING_IDENTITY: &str = "X-Broker-API-Originating-Identity";
const REQUEST_IDENTITY: HeaderName = HeaderName::from_static("x-broker-api-request-identity");

/// Checks the credentials, then the API version, in the order that osb-checker expects. Copies the
/// request identity to the response (OSB specification, sections "API Version Header" and "Request
/// Identity").
pub(super) async fn enforce(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let identity = request.headers().get(&REQUEST_IDENTITY).cloned();
    let checked = check(&request);
    let mut response = match checked {
        Err(refusal) => {
            request.into_response(HttpResponse::from_error(refusal)).map_into_right_body()
        }
        Ok(()) => {
            let span = span(request.headers());
            next.call(request).instrument(span).await?.map_into_left_body()
        }
    };
    if let Some(identity) = identity {
        response.headers_mut().insert(REQUEST_IDENTITY, identity);
    }
    Ok(response)
}

fn check(request: &ServiceRequest) -> Result<(), OsbError> {
    let credentials = request
        .app_data::<web::Data<OsbState>>()
        .and_then(|state| state.credentials.as_ref())
        .ok_or(OsbError::NotConfigured)?;
    let are_valid = || credentials.match_request(request.headers());
    match request.app_data::<web::Data<Access>>() {
        Some(access) => access.platform(request.peer_addr(), request.headers(), are_valid)?,
        None if are_valid() => {}
        None => return Err(OsbError::Unauthorized),
    }
    if !is_supported(request.headers()) {
        return Err(OsbError::UnsupportedVersion);
    }
    // actix would replace invalid characters.
    match percent_decode_str(request.uri().path()).decode_utf8() {
        Ok(_) => Ok(()),
        Err(_) => Err(OsbError::Malformed("the URL is not UTF-8".to_owned())),
    }
}

/// Accepts all 2.x versions, because newer ones add only optional fields.
fn is_supported(headers: &HeaderMap) -> bool {
    let version = headers.get(API_VERSION).and_then(|value| value.to_str().ok());
    let minor = version.and_then(|version| version.strip_prefix("2."));
    minor.is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit()))
}

/// A span with the platform's user, for the log.
fn span(headers: &HeaderMap) -> tracing::Span {
    let span = tracing::info_span!(
        "osb",
        originating.platform = tracing::field::Empty,
        originating.user = tracing::field::Empty,
    );
    if let Some(header) = headers.get(ORIGINATING_IDENTITY) {
        match header.to_str().ok().and_then(originating_user) {
            Some((platform, user)) => {
                // Debug formatting escapes control characters.
                span.record("originating.platform", tracing::field::debug(platform));
                span.record("originating.user", tracing::field::debug(user));
            }
            None => tracing::warn!("unreadable {ORIGINATING_IDENTITY}"),
        }
    }
    span
}

/// Parses `cloudfoundry <base64 of {"user_id": …}>` into platform and user. Kubernetes uses
/// `username`.
fn originating_user(header: &str) -> Option<(&str, String)> {
    let (platform, encoded) = header.split_once(' ')?;
    let json = STANDARD.decode(encoded.trim()).ok()?;
    let identity: Value = serde_json::from_slice(&json).ok()?;
    let user = identity.get("user_id").or_else(|| identity.get("username"))?;
    Some((platform, user.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn all_2_x_versions_are_supported() {
        for (version, expected) in [
            ("2.13", true),
            ("2.17", true),
            ("2.99999", true),
            ("", false),
            ("2", false),
            ("2.", false),
            ("2.x", false),
            ("2.+1", false),
            ("1.17", false),
            ("3.0", false),
            ("22.1", false),
        ] {
            let mut headers = HeaderMap::new();
            let name = HeaderName::from_bytes(API_VERSION.as_bytes()).unwrap();
            headers.insert(name, HeaderValue::from_str(version).unwrap());
            assert_eq!(is_supported(&headers), expected, "{version:?}");
        }
        assert!(!is_supported(&HeaderMap::new()));
    }

    #[test]
    fn the_originating_user_is_parsed() {
        let encode = |text: &str| STANDARD.encode(text);
        let user = |header: &str| originating_user(header).map(|(_, user)| user);
        let cf = format!("cloudfoundry {}", encode(r#"{"user_id": "4711"}"#));
        assert_eq!(originating_user(&cf), Some(("cloudfoundry", "4711".to_owned())));
        let kubernetes = format!("kubernetes {}", encode(r#"{"username": "duke", "uid": "1"}"#));
        assert_eq!(user(&kubernetes), Some("duke".to_owned()));
        for invalid in ["", "cloudfoundry", "cloudfoundry %%%", "cloudfoundry AAAA"] {
            assert_eq!(user(invalid), None, "{invalid}");
        }
        for json in ["[]", "5", "{}", r#"{"user_id": 5}"#] {
            assert_eq!(user(&format!("cloudfoundry {}", encode(json))), None, "{json}");
        }
    }
}
