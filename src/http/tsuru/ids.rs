//! Ids derived from names of Tsuru.
//!
//! Ids must be unique, so a part before a separator does not contain it: names of instances, apps and
//! jobs have no colon, names of teams no slash. Only the name of a service may contain any character,
//! and it is the first part.

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

/// What follows `/resources/` and is no instance.
const PLANS: &str = "plans";

/// The service of the path; the catalog that it is of stays the same during the request.
#[derive(Clone)]
pub(super) struct ServicePath {
    catalog: Arc<Catalog>,
    name: String,
}

/// The instance of the path.
#[derive(Clone)]
pub(super) struct InstancePath {
    pub(super) service: ServicePath,
    pub(super) name: String,
    pub(super) id: InstanceId,
}

/// What is bound.
#[derive(Clone, Copy)]
pub(super) enum Bindable<'a> {
    App(&'a str),
    Job(&'a str),
}

fn parsed<T>(what: &str, id: Result<T, IdError>) -> Result<T, TsuruError> {
    id.map_err(|error| TsuruError::Malformed(format!("{what} {error}")))
}

/// Tsuru's own rule, without its limits of length.
fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.chars().all(good)
}

impl ServicePath {
    /// The service, as the catalog has it.
    pub(super) fn service(&self) -> Result<&Service, TsuruError> {
        self.catalog.service_named(&self.name).ok_or(TsuruError::NotFound)
    }

    /// What the catalog says of the plans, as names and descriptions.
    pub(super) fn plans(&self) -> impl Iterator<Item = (&str, &str)> {
        let services = self.catalog.document()["services"].as_array().into_iter().flatten();
        let service = services.filter(|service| service["name"] == self.name.as_str());
        let plans = service.filter_map(|service| service["plans"].as_array()).flatten();
        plans.map(|plan| {
            let text = |key: &str| plan[key].as_str().unwrap_or_default();
            (text("name"), text("description"))
        })
    }

    /// The plan with this name, or the first one.
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

    /// The id of an instance of this service.
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

/// The id of an instance.
pub(super) fn instance_id(service: &str, name: &str) -> Result<InstanceId, TsuruError> {
    parsed("name", format!("{TSURU_PREFIX}{service}:{name}").parse())
}

/// The names of the service and the instance that an id was made of; none if it is no id of
/// Tsuru.
pub(super) fn names_of(id: &InstanceId) -> Option<(&str, &str)> {
    id.as_str().strip_prefix(TSURU_PREFIX)?.rsplit_once(':')
}

/// What is bound, by the id of its binding.
pub(super) fn bindable_of<'a>(instance: &InstanceId, id: &'a BindingId) -> Option<Bindable<'a>> {
    let rest = id.as_str().strip_prefix(instance.as_str())?.strip_prefix(':')?;
    match rest.split_once(':')? {
        ("app", name) => Some(Bindable::App(name)),
        ("job", name) => Some(Bindable::Job(name)),
        _ => None,
    }
}

impl InstancePath {
    /// The id of a binding.
    pub(super) fn binding_id(&self, bound: Bindable<'_>) -> Result<BindingId, TsuruError> {
        binding_id(&self.id, bound)
    }
}

/// The id of a binding.
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

/// An app of the platform.
pub(super) fn app_guid(name: &str) -> Result<AppGuid, TsuruError> {
    parsed("app-name", TsuruApp::guid(name))
}

/// A team is an organization.
pub(super) fn organization(team: &str) -> Result<OrganizationGuid, TsuruError> {
    if team.contains('/') {
        return Err(TsuruError::Malformed("team must not contain a slash".to_owned()));
    }
    parsed("team", format!("{TSURU_PREFIX}{team}").parse())
}

/// The team of an organization; empty if it is none of Tsuru.
pub(super) fn team_of(organization: &OrganizationGuid) -> &str {
    organization.as_str().strip_prefix(TSURU_PREFIX).unwrap_or_default()
}

/// The pool of a space; empty if it is none of Tsuru.
pub(super) fn pool_of<'a>(organization: &OrganizationGuid, space: &'a SpaceGuid) -> &'a str {
    let pool = space.as_str().strip_prefix(organization.as_str());
    pool.and_then(|pool| pool.strip_prefix('/')).unwrap_or_default()
}

/// A pool is a space of each of its teams.
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
            // What no create takes is not there.
            let id = service.instance_id(&name).map_err(|_| TsuruError::UnknownInstance)?;
            Ok(Self { service, name, id })
        }))
    }
}

/// A part of the path, percent-decoded.
pub(super) fn part(request: &HttpRequest, name: &str) -> String {
    let text = request.match_info().get(name).unwrap_or_default();
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
