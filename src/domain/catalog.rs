//! The catalog: what the platform's users can choose from.
//!
//! Ids, names and descriptions belong to the operator, so the document is kept
//! and shown as it was written. What the broker decides by is read from it
//! once, together with everything that Cloud Controller would refuse at
//! registration, so that a wrong catalog is found at the start, not by a user.

mod check;
mod schema;
mod texts;

use super::{
    ids::{PlanId, ServiceId},
    prometheus::PrometheusPlan,
};
pub use schema::ParameterSchema;
use serde_json::Value;
use std::fmt;

/// A catalog that Cloud Controller accepts (contract: osb.md 1.2).
#[derive(Clone, Debug)]
pub struct Catalog {
    document: Value,
    services: Vec<Service>,
}

/// A service offering, as far as the broker decides by it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Unique id.
    pub id: ServiceId,
    /// Name that users type.
    pub name: String,
    /// Its plans, at least one.
    pub plans: Vec<Plan>,
    /// Whether an instance may change its plan, where the plan does not say.
    pub plan_updateable: bool,
}

/// A plan of a service.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Unique id, over all services.
    pub id: PlanId,
    /// Name that users type.
    pub name: String,
    /// Whether it costs nothing.
    pub free: bool,
    /// Whether it can be bound; the service's word where the plan says nothing.
    pub bindable: bool,
    /// Whether a binding may be succeeded by another (OSB 2.17).
    pub binding_rotatable: bool,
    /// Whether an instance may leave this plan; the service's word where the plan says nothing.
    pub plan_updateable: bool,
    /// `maintenance_info.version`.
    pub maintenance_version: Option<String>,
    /// What `provision` accepts.
    pub provision: Option<ParameterSchema>,
    /// What `update` accepts.
    pub update: Option<ParameterSchema>,
    /// What `bind` accepts.
    pub bind: Option<ParameterSchema>,
    /// What it means, when an instance is a Prometheus (`metadata.prometheus`).
    pub prometheus: Option<PrometheusPlan>,
}

/// One thing to change in a catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CatalogMistake {
    /// Where, as in `services[0].plans[1].id`; empty for the whole document.
    pub path: String,
    /// What to change; reads after the path.
    pub problem: String,
}

impl fmt::Display for CatalogMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "the catalog {}", self.problem),
            path => write!(f, "{path} {}", self.problem),
        }
    }
}

impl Catalog {
    /// Checks a catalog document; `{base_url}` in its texts is replaced first.
    ///
    /// # Errors
    /// Every mistake at once, in the order of the document.
    pub fn parse(document: &Value, base_url: &str) -> Result<Self, Vec<CatalogMistake>> {
        let mut document = document.clone();
        replace_base_url(&mut document, base_url);
        let services = check::services(&document)?;
        // Other keys of the document are the operator's own, not OSB's.
        let mut document = serde_json::json!({ "services": document["services"].take() });
        write_flags(&mut document, &services);
        Ok(Self { document, services })
    }

    /// The body of `GET /v2/catalog`.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// All services, in the order of the document.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The catalog without plans whose instances are a Prometheus, and without
    /// services that have no other plans: for installations that provision none.
    #[must_use]
    pub fn without_prometheus(&self) -> Self {
        let mut services = self.services.clone();
        for service in &mut services {
            service.plans.retain(|plan| plan.prometheus.is_none());
        }
        services.retain(|service| !service.plans.is_empty());
        let is_kept = |plan: &Value| {
            let id = plan["id"].as_str().unwrap_or_default();
            let mut kept = services.iter().flat_map(|service| &service.plans);
            kept.any(|plan| plan.id.as_str() == id)
        };
        let mut document = self.document.clone();
        if let Some(shown) = document["services"].as_array_mut() {
            for service in &mut *shown {
                if let Some(plans) = service["plans"].as_array_mut() {
                    plans.retain(is_kept);
                }
            }
            shown.retain(|service| service["plans"].as_array().is_some_and(|it| !it.is_empty()));
        }
        Self { document, services }
    }

    /// Whether instances of some plan are a Prometheus.
    pub fn offers_prometheus(&self) -> bool {
        self.services.iter().flat_map(|service| &service.plans).any(|it| it.prometheus.is_some())
    }

    /// The service with this name.
    pub fn service_named(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The service with this id.
    pub fn service(&self, id: &ServiceId) -> Option<&Service> {
        self.services.iter().find(|service| service.id == *id)
    }
}

impl Service {
    /// The plan with this id, if it is one of this service.
    pub fn plan(&self, id: &PlanId) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.id == *id)
    }

    /// The plan with this name, if it is one of this service.
    pub fn plan_named(&self, name: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.name == name)
    }
}

/// Writes into each plan what holds for it. Some platforms take a flag that is missing for
/// `false` (Korifi), whatever the specification and the service say.
fn write_flags(document: &mut Value, services: &[Service]) {
    let shown = document["services"].as_array_mut().into_iter().flatten();
    for (shown, service) in shown.zip(services) {
        let shown = shown["plans"].as_array_mut().into_iter().flatten();
        for (shown, plan) in shown.zip(&service.plans) {
            shown["free"] = plan.free.into();
            shown["bindable"] = plan.bindable.into();
            shown["plan_updateable"] = plan.plan_updateable.into();
        }
    }
}

fn replace_base_url(value: &mut Value, base_url: &str) {
    match value {
        Value::String(text) if text.contains("{base_url}") => {
            *text = text.replace("{base_url}", base_url);
        }
        Value::Array(values) => {
            values.iter_mut().for_each(|value| replace_base_url(value, base_url))
        }
        Value::Object(map) => map.values_mut().for_each(|value| replace_base_url(value, base_url)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
