//! Ids that are derived from Tsuru names.
//!
//! Ids must be unique, so a part before a separator must not contain the separator. Names of
//! instances, apps and jobs contain no colon, and names of teams contain no slash. Names of
//! services may contain any character, and are the first part.

use super::{TsuruError, TsuruState};
use crate::domain::{
    AppGuid, BindingId, Catalog, IdError, InstanceId, OrganizationGuid, Plan, Service, SpaceGuid,
    TSURU_PREFIX, TsuruApp,
};
use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use percent_encoding::percent_decode_str;
use std::{
    future::{Ready, ready},
    sync::Arc,
};

/// A path segment below `/resources/` that is not the name of an instance.
const PLANS: &str = "plans";

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

/// An object that can be bound.
#[derive(Clone, Copy)]
pub(super) enum Bindable<'a> {
    App(&'a str),
    Job(&'a str),
}

fn parsed<T>(subject: &str, id: Result<T, IdError>) -> Result<T, TsuruError> {
    id.map_err(|error| TsuruError::Malformed(format!("{subject} {error}")))
}

/// Tsuru's own rule, without limits of length.
fn is_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.chars().all(is_allowed)
}

impl ServicePath {
    /// The service, if it is in the catalog.
    pub(super) fn service(&self) -> Result<&Service, TsuruError> {
        self.catalog.service_named(&self.name).ok_or(TsuruError::NotFound)
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
            Some(name) => service.plan_named(name),
            None => service.plans.first(),
        };
        plan.ok_or_else(|| {
            let names: Vec<_> = service.plans.iter().map(|plan| plan.name.as_str()).collect();
            TsuruError::UnknownPlan { known: names.join(", ") }
        })
    }

    pub(super) fn instance_id(&self, name: &str) -> Result<InstanceId, TsuruError> {
        if !is_name(name) {
            let problem = "name must be made of letters, digits, - and _";
            return Err(TsuruError::Malformed(problem.to_owned()));
        }
        if name == PLANS {
            let problem = "name must not be \"plans\": Tsuru could not ask for its info";
            return Err(TsuruError::Malformed(problem.to_owned()));
        }
        instance_id(&self.name, name)
    }
}

pub(super) fn instance_id(service: &str, name: &str) -> Result<InstanceId, TsuruError> {
    parsed("name", format!("{TSURU_PREFIX}{service}:{name}").parse())
}

/// The names of the service and the instance in an id. Returns `None` if the id is not derived from
/// Tsuru names.
pub(super) fn names_of(id: &InstanceId) -> Option<(&str, &str)> {
    id.as_str().strip_prefix(TSURU_PREFIX)?.rsplit_once(':')
}

/// The app or job in the id of a binding.
pub(super) fn bindable_of<'a>(instance: &InstanceId, id: &'a BindingId) -> Option<Bindable<'a>> {
    let rest = id.as_str().strip_prefix(instance.as_str())?.strip_prefix(':')?;
    match rest.split_once(':')? {
        ("app", name) => Some(Bindable::App(name)),
        ("job", name) => Some(Bindable::Job(name)),
        _ => None,
    }
}

impl InstancePath {
    pub(super) fn binding_id(&self, bound: Bindable<'_>) -> Result<BindingId, TsuruError> {
        binding_id(&self.id, bound)
    }
}

pub(super) fn binding_id(
    instance: &InstanceId,
    bound: Bindable<'_>,
) -> Result<BindingId, TsuruError> {
    let (field, kind, name) = match bound {
        Bindable::App(name) => ("app-name", "app", name),
        Bindable::Job(name) => ("the job's name", "job", name),
    };
    if !is_name(name) {
        let problem = "must be made of letters, digits, - and _";
        return Err(TsuruError::Malformed(format!("{field} {problem}")));
    }
    parsed(field, format!("{instance}:{kind}:{name}").parse())
}

/// The GUID of an app.
pub(super) fn app_guid(name: &str) -> Result<AppGuid, TsuruError> {
    parsed("app-name", TsuruApp::guid(name))
}

/// The GUID of the organization that represents a team.
pub(super) fn organization(team: &str) -> Result<OrganizationGuid, TsuruError> {
    if team.contains('/') {
        return Err(TsuruError::Malformed("team must not contain a slash".to_owned()));
    }
    parsed("team", format!("{TSURU_PREFIX}{team}").parse())
}

/// The team of an organization. Returns an empty string if the organization is not from Tsuru.
pub(super) fn team_of(organization: &OrganizationGuid) -> &str {
    organization.as_str().strip_prefix(TSURU_PREFIX).unwrap_or_default()
}

/// The pool of a space. Returns an empty string if the space is not from Tsuru.
pub(super) fn pool_of<'a>(organization: &OrganizationGuid, space: &'a SpaceGuid) -> &'a str {
    let pool = space.as_str().strip_prefix(organization.as_str());
    pool.and_then(|pool| pool.strip_prefix('/')).unwrap_or_default()
}

/// The GUID of the space that represents a pool of a team.
pub(super) fn space(team: &str, pool: &str) -> Result<SpaceGuid, TsuruError> {
    parsed("team and pool", format!("{TSURU_PREFIX}{team}/{pool}").parse())
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
