//! The service catalog.
//!
//! The broker keeps the operator's document and shows it almost unchanged. Validation at startup
//! includes the rules of Cloud Controller, so that an invalid catalog is detected before its
//! registration.

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

/// A catalog that Cloud Controller accepts.
#[derive(Clone, Debug)]
pub struct Catalog {
    document: Value,
    services: Vec<Service>,
}

/// A service offering: the fields that the broker uses.
#[derive(Clone, Debug)]
pub struct Service {
    pub id: ServiceId,
    pub name: String,
    /// Plans; at least one.
    pub plans: Vec<Plan>,
    /// Whether an instance may change its plan. A plan can override it.
    pub plan_updateable: bool,
}

/// A plan of a service.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Unique across all services.
    pub id: PlanId,
    pub name: String,
    /// Whether the plan is free of charge.
    pub free: bool,
    /// Whether instances can be bound. Defaults to the value of the service.
    pub bindable: bool,
    /// Whether binding rotation is supported (OSB 2.17).
    pub binding_rotatable: bool,
    /// Whether an instance may change to another plan. Defaults to the value of the service.
    pub plan_updateable: bool,
    /// `maintenance_info.version`.
    pub maintenance_version: Option<String>,
    /// Schema of the parameters of provision requests.
    pub provision: Option<ParameterSchema>,
    /// Schema of the parameters of update requests.
    pub update: Option<ParameterSchema>,
    /// Schema of the parameters of bind requests.
    pub bind: Option<ParameterSchema>,
    /// The Prometheus settings of the plan (`metadata.prometheus`), if its instances are Prometheus
    /// servers.
    pub prometheus: Option<PrometheusPlan>,
    /// Whether each binding has a queue of events (`metadata.events`).
    pub has_events: bool,
}

/// A problem of a catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CatalogProblem {
    /// Path of the value, as in `services[0].plans[1].id`. It is empty for the document itself.
    pub path: String,
    /// What to change. The text continues a sentence that starts with the path.
    pub problem: String,
}

impl fmt::Display for CatalogProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "the catalog {}", self.problem),
            path => write!(f, "{path} {}", self.problem),
        }
    }
}

impl Catalog {
    /// Validates a catalog document after replacing `{base_url}` in its strings.
    ///
    /// # Errors
    /// Returns all problems, in document order.
    pub fn parse(document: &Value, base_url: &str) -> Result<Self, Vec<CatalogProblem>> {
        let mut document = document.clone();
        replace_base_url(&mut document, base_url);
        let services = check::services(&document)?;
        // OSB defines no other top-level keys.
        let mut document = serde_json::json!({ "services": document["services"].take() });
        write_flags(&mut document, &services);
        Ok(Self { document, services })
    }

    /// The body of `GET /v2/catalog`.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// All services, in document order.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The catalog without Prometheus plans, and without services that have no other plans. It is
    /// used when no provisioner is configured.
    #[must_use]
    pub fn without_prometheus(&self) -> Self {
        let mut services = self.services.clone();
        for service in &mut services {
            service.plans.retain(|plan| plan.prometheus.is_none());
        }
        services.retain(|service| !service.plans.is_empty());
        let has_no_prometheus = |plan: &Value| {
            let id = plan["id"].as_str().unwrap_or_default();
            let mut kept = services.iter().flat_map(|service| &service.plans);
            kept.any(|plan| plan.id.as_str() == id)
        };
        let mut document = self.document.clone();
        if let Some(shown) = document["services"].as_array_mut() {
            for service in &mut *shown {
                if let Some(plans) = service["plans"].as_array_mut() {
                    plans.retain(has_no_prometheus);
                }
            }
            shown.retain(|service| service["plans"].as_array().is_some_and(|it| !it.is_empty()));
        }
        Self { document, services }
    }

    /// Whether any plan provisions a Prometheus.
    pub fn offers_prometheus(&self) -> bool {
        self.services.iter().flat_map(|service| &service.plans).any(|it| it.prometheus.is_some())
    }

    pub fn service_by_name(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    pub fn service(&self, id: &ServiceId) -> Option<&Service> {
        self.services.iter().find(|service| service.id == *id)
    }
}

impl Service {
    /// The plan with this id, if it belongs to this service.
    pub fn plan(&self, id: &PlanId) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.id == *id)
    }

    /// The plan with this name, if it belongs to this service.
    pub fn plan_by_name(&self, name: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.name == name)
    }
}

/// Writes the effective flags into each plan. Some platforms, such as Korifi, treat a missing flag
/// as `false`. The specification defines other defaults.
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
