//! Checks before every request of Tsuru.

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

/// Accepts requests of Tsuru only.
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
    let is_right = || {
        credentials.are_in(request.headers())
            || credentials.password_is_in(request.headers(), &service)
    };
    match request.app_data::<web::Data<Access>>() {
        Some(access) => access.platform(request.peer_addr(), request.headers(), is_right)?,
        None if is_right() => {}
        None => return Err(TsuruError::Unauthorized),
    }
    // actix would decode it to replacement characters.
    if percent_decode_str(request.uri().path()).decode_utf8().is_err() {
        return Err(TsuruError::Malformed("the URL is not UTF-8".to_owned()));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) && !is_plain(request) {
        return Err(TsuruError::NotPlain);
    }
    let catalog = state.broker.catalog();
    // Instances of services that left the catalog can still be removed.
    if catalog.service_named(&service).is_none() && request.method() != Method::DELETE {
        let names = catalog.services().iter().map(|service| service.name.as_str());
        return Err(TsuruError::UnknownService { known: names.collect::<Vec<_>>().join(", ") });
    }
    Ok(())
}

/// Whether the URL is spelled as in Tsuru's own calls, which need no encoding, no query and no dots.
/// Another spelling may circumvent the paths that Tsuru's proxy does not forward.
fn is_plain(request: &ServiceRequest) -> bool {
    let uri = request.uri();
    // Without the name of the service, which may contain any character. actix has decoded this.
    let path = request.match_info().unprocessed();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
    path.bytes().all(is_plain)
        && !path.contains("//")
        && !path.ends_with('/')
        && uri.path().ends_with(path)
        && uri.query().is_none()
}

/// Tsuru's user, for the log only.
fn span(headers: &HeaderMap) -> tracing::Span {
    // Debug output escapes control characters.
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    tracing::info_span!("tsuru", tsuru.user = ?text(USER), tsuru.event = ?text(EVENT_ID))
}
