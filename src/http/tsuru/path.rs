//! The service and the instance in a path.

use super::{TsuruError, TsuruState};
use crate::domain::{
    BindingId, Catalog, InstanceId, Plan, Service,
    tsuru_ids::{self, Bindable},
};
use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use percent_encoding::percent_decode_str;
use std::{
    fmt::Display,
    future::{Ready, ready},
    sync::Arc,
};

/// The service in the path. It keeps the catalog, so that the catalog does not change during the
/// request.
#[derive(Clone)]
pub(super) struct ServicePath {
    catalog: Arc<Catalog>,
    name: String,
}

/// The instance in the path.
#[derive(Clone)]
pub(super) struct InstancePath {
    pub(super) service: ServicePath,
    pub(super) name: String,
    pub(super) id: InstanceId,
}

impl ServicePath {
    /// The service, if it is in the catalog.
    pub(super) fn service(&self) -> Result<&Service, TsuruError> {
        self.catalog.service_by_name(&self.name).ok_or(TsuruError::NotFound)
    }

    /// Names and descriptions of the plans in the catalog.
    pub(super) fn plans(&self) -> impl Iterator<Item = (&str, &str)> {
        let services = self.catalog.document()["services"].as_array().into_iter().flatten();
        let service = services.filter(|service| service["name"] == self.name.as_str());
        let plans = service.filter_map(|service| service["plans"].as_array()).flatten();
        plans.map(|plan| {
            let text = |key: &str| plan[key].as_str().unwrap_or_default();
            (text("name"), text("description"))
        })
    }

    /// The plan with this name. The default is the first plan.
    pub(super) fn plan(&self, name: Option<&str>) -> Result<&Plan, TsuruError> {
        let service = self.service()?;
        let plan = match name {
            Some(name) => service.plan_by_name(name),
            None => service.plans.first(),
        };
        plan.ok_or_else(|| {
            let names: Vec<_> = service.plans.iter().map(|plan| plan.name.as_str()).collect();
            TsuruError::UnknownPlan { known: names.join(", ") }
        })
    }

    pub(super) fn instance_id(&self, name: &str) -> Result<InstanceId, TsuruError> {
        checked("name", tsuru_ids::instance(&self.name, name))
    }
}

impl InstancePath {
    pub(super) fn binding_id(&self, bound: Bindable<'_>) -> Result<BindingId, TsuruError> {
        let field = match bound {
            Bindable::App(_) => "app-name",
            Bindable::Job(_) => "the job's name",
        };
        checked(field, tsuru_ids::binding(&self.id, bound))
    }
}

/// An id that was derived from a field.
pub(super) fn checked<T, E: Display>(field: &str, id: Result<T, E>) -> Result<T, TsuruError> {
    id.map_err(|error| TsuruError::Malformed(format!("{field} {error}")))
}

impl FromRequest for ServicePath {
    type Error = TsuruError;
    type Future = Ready<Result<Self, TsuruError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = request.app_data::<web::Data<TsuruState>>().ok_or(TsuruError::NotConfigured);
        let name = part(request, "service");
        ready(state.map(|state| Self { catalog: state.broker.catalog(), name }))
    }
}

impl FromRequest for InstancePath {
    type Error = TsuruError;
    type Future = Ready<Result<Self, TsuruError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let service = ServicePath::from_request(request, payload).into_inner();
        ready(service.and_then(|service| {
            let name = part(request, "instance");
            // Names that cannot be created do not exist.
            let id = service.instance_id(&name).map_err(|_| TsuruError::UnknownInstance)?;
            Ok(Self { service, name, id })
        }))
    }
}

/// A segment of the path, percent-decoded.
pub(super) fn part(request: &HttpRequest, name: &str) -> String {
    let text = request.match_info().get(name).unwrap_or_default();
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
