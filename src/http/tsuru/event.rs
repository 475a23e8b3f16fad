//! Distinguishes Tsuru's own calls from forwarded requests of its users.
//!
//! Tsuru forwards requests of its users to `/resources/{instance}/…` with the credentials of the
//! service (tsuru/tsuru, service/endpoint.go, `Proxy`). It blocks only paths that are spelled like
//! those of bind calls. It creates an event for each request that may change something, and sets
//! `X-Tsuru-Eventid`. Only its own calls repeat that id in their body (service/payloads.go),
//! because Tsuru reads the body of a forwarded request before it creates the event.
//!
//! This is not a proof: an event id can be guessed from earlier ones, and Tsuru does not read the
//! form of a DELETE. So binds are confirmed with Tsuru's API if `routes.tsuru` is configured
//! ([`confirm`]).

use super::{TsuruError, TsuruState, fields::Fields};
use crate::domain::{
    CallsWithoutEventId, InstanceId,
    tsuru_ids::{self, Bindable},
};
use actix_web::{
    HttpRequest,
    http::{Method, header::HeaderMap},
    web,
};

/// Tsuru sets this header on each request that may change something, including forwarded requests.
pub(super) const EVENT_ID: &str = "X-Tsuru-Eventid";

/// Name of the field in the body.
const FIELD: &str = "eventid";

/// Accepts only Tsuru's own calls.
pub(super) fn check(request: &HttpRequest, fields: &Fields) -> Result<(), TsuruError> {
    let (header, body) = (in_header(request.headers())?, in_body(fields)?);
    match (header, body) {
        (Some(header), Some(body)) if header == body => Ok(()),
        (Some(_), Some(_)) => Err(refused("has another event id in its body than in its header")),
        (header, None) if accepts_no_body(request, header) => Ok(()),
        (None, Some(_)) if accepted(request) == CallsWithoutEventId::Accept => Ok(()),
        (None, _) => Err(refused("has no event id in its header")),
        (_, None) => Err(refused("has no event id in its body")),
    }
}

/// Refuses a bind that Tsuru does not know. Tsuru stores a bind before it calls the service
/// (tsuru/tsuru, service/service_instance.go, `BindApp` and `BindJob`). If the API is unavailable,
/// only the event id is checked.
pub(super) async fn confirm(
    state: &TsuruState,
    id: &InstanceId,
    bound: Bindable<'_>,
) -> Result<(), TsuruError> {
    let (Some(api), Some((service, instance))) = (&state.api, tsuru_ids::names_of(id)) else {
        return Ok(());
    };
    let is_known = match api.binds_of(service, instance).await {
        Ok(None) => false,
        Ok(Some(known)) => match bound {
            Bindable::App(name) => known.apps.contains(name),
            Bindable::Job(name) => known.jobs.is_none_or(|jobs| jobs.contains(name)),
        },
        Err(error) => {
            tracing::warn!(instance.id = %id, %error, "a bind could not be confirmed");
            true
        }
    };
    match is_known {
        true => Ok(()),
        false => Err(refused("names what Tsuru has not bound to the service instance")),
    }
}

/// Whether a call is accepted without an event id in its body.
fn accepts_no_body(request: &HttpRequest, header: Option<&str>) -> bool {
    match accepted(request) {
        CallsWithoutEventId::Refuse => false,
        CallsWithoutEventId::JobUnbinds => {
            let is_of_job = request.match_info().get("job").is_some();
            header.is_some() && is_of_job && request.method() == Method::DELETE
        }
        CallsWithoutEventId::Accept => true,
    }
}

fn accepted(request: &HttpRequest) -> CallsWithoutEventId {
    let state = request.app_data::<web::Data<TsuruState>>();
    state.map(|state| state.calls_without_event_id).unwrap_or_default()
}

fn in_header(headers: &HeaderMap) -> Result<Option<&str>, TsuruError> {
    let mut values = headers.get_all(EVENT_ID);
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(refused("has several event ids in its header"));
    }
    // An unreadable header never equals the id in the body.
    Ok(first.map(|value| value.to_str().unwrap_or_default()).filter(|id| !id.is_empty()))
}

fn in_body(fields: &Fields) -> Result<Option<&str>, TsuruError> {
    match fields.list(FIELD)?.as_slice() {
        [] | [""] => Ok(None),
        [id] => Ok(Some(*id)),
        _ => Err(refused("has several event ids in its body")),
    }
}

fn refused(problem: &'static str) -> TsuruError {
    tracing::warn!(problem, "tsuru call refused");
    TsuruError::NotOfTsuru { problem }
}
