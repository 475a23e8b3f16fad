//! Checks before each request of Tsuru.

use super::{TsuruError, TsuruState, event::EVENT_ID};
use crate::http::access::Access;
use actix_web::{
    HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, header::HeaderMap},
    middleware::Next,
    web,
};
use percent_encoding::percent_decode_str;
use tracing::Instrument;

const USER: &str = "X-Tsuru-User";

/// Accepts only requests with the credentials of the platform.
pub(super) async fn enforce(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    match check(&request) {
        Err(refusal) => {
            Ok(request.into_response(HttpResponse::from_error(refusal)).map_into_right_body())
        }
        Ok(()) => {
            let span = span(request.headers());
            Ok(next.call(request).instrument(span).await?.map_into_left_body())
        }
    }
}

fn check(request: &ServiceRequest) -> Result<(), TsuruError> {
    let state = request.app_data::<web::Data<TsuruState>>().ok_or(TsuruError::NotConfigured)?;
    let credentials = state.credentials.as_ref().ok_or(TsuruError::NotConfigured)?;
    let service = request.match_info().get("service").unwrap_or_default();
    let service = percent_decode_str(service).decode_utf8_lossy();
    let are_valid = || {
        credentials.match_request(request.headers())
            || credentials.match_password(request.headers(), &service)
    };
    match request.app_data::<web::Data<Access>>() {
        Some(access) => access.platform(request.peer_addr(), request.headers(), are_valid)?,
        None if are_valid() => {}
        None => return Err(TsuruError::Unauthorized),
    }
    // actix would replace invalid characters.
    if percent_decode_str(request.uri().path()).decode_utf8().is_err() {
        return Err(TsuruError::Malformed("the URL is not UTF-8".to_owned()));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) && !is_plain(request) {
        return Err(TsuruError::NotPlain);
    }
    let catalog = state.broker.catalog();
    // Instances of services that were removed from the catalog can still be deleted.
    if catalog.service_by_name(&service).is_none() && request.method() != Method::DELETE {
        let names = catalog.services().iter().map(|service| service.name.as_str());
        return Err(TsuruError::UnknownService { known: names.collect::<Vec<_>>().join(", ") });
    }
    Ok(())
}

/// Whether the path is spelled as in Tsuru's own calls, without percent-encoding, query and dots.
/// Other spellings could bypass the path filter of Tsuru's proxy.
fn is_plain(request: &ServiceRequest) -> bool {
    let uri = request.uri();
    // The name of the service is excluded, because it may contain any character. actix has already
    // decoded it.
    let path = request.match_info().unprocessed();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
    path.bytes().all(is_plain)
        && !path.contains("//")
        && !path.ends_with('/')
        && uri.path().ends_with(path)
        && uri.query().is_none()
}

/// A span with Tsuru's user, for the log.
fn span(headers: &HeaderMap) -> tracing::Span {
    // Debug formatting escapes control characters.
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    tracing::info_span!("tsuru", tsuru.user = ?text(USER), tsuru.event = ?text(EVENT_ID))
}
