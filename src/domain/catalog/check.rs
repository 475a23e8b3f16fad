//! Validation of a catalog.
//!
//! The rules include those of Cloud Controller (cloudfoundry/cloud_controller_ng,
//! `lib/services/service_brokers/v2/catalog.rb`). Validation continues after a problem, so that an
//! operator sees all problems at once.

use super::{CatalogProblem, ParameterSchema, Plan, Service};
use crate::domain::{IdError, PlanId, prometheus::PrometheusPlan};
use serde_json::{Map, Value};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// Maximum length of a description, in characters.
const MAX_DESCRIPTION: usize = 10_000;
/// Maximum total length of the tags of a service, in characters.
const MAX_TAGS: usize = 2_048;
/// Maximum length of `maintenance_info` as JSON, in characters.
const MAX_MAINTENANCE_INFO: usize = 2_000;
/// Permissions that a service may require.
const PERMISSIONS: [&str; 3] = ["syslog_drain", "route_forwarding", "volume_mount"];

/// Returns the services of a document, or all problems.
pub(super) fn services(document: &Value) -> Result<Vec<Service>, Vec<CatalogProblem>> {
    let mut check = Check::default();
    let services = match document.as_object() {
        None => {
            check.mistake("", "must be an object with the key services");
            None
        }
        Some(map) => check.services(&Object { map, path: String::new() }),
    };
    match services {
        Some(services) if check.mistakes.is_empty() => Ok(services),
        _ => Err(check.mistakes),
    }
}

/// A JSON object and its path in the document.
struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Object<'a> {
    fn at(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// The value of a key. `null` counts as absent, as in Cloud Controller.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }
}

#[derive(Default)]
struct Check {
    mistakes: Vec<CatalogProblem>,
    service_ids: BTreeSet<String>,
    service_names: BTreeSet<String>,
    plan_ids: BTreeSet<String>,
    dashboard_clients: BTreeSet<String>,
}

impl Check {
    fn mistake(&mut self, path: impl Into<String>, problem: impl fmt::Display) {
        self.mistakes.push(CatalogProblem { path: path.into(), problem: problem.to_string() });
    }

    fn services(&mut self, document: &Object<'_>) -> Option<Vec<Service>> {
        let services = self.objects(document, "services");
        // Collecting into an `Option` directly would stop at the first problem.
        let services = services.iter().map(|service| self.service(service)).collect::<Vec<_>>();
        services.into_iter().collect()
    }

    fn service(&mut self, service: &Object<'_>) -> Option<Service> {
        let id = self.id(service);
        let name = self.text(service, "name");
        self.description(service);
        for (key, value, seen) in [
            ("id", service.get("id"), &mut self.service_ids),
            ("name", service.get("name"), &mut self.service_names),
        ] {
            if let Some(text) = value.and_then(Value::as_str)
                && !seen.insert(text.to_owned())
            {
                let problem = "is used by another service, too".to_owned();
                self.mistakes.push(CatalogProblem { path: service.at(key), problem });
            }
        }
        let bindable = self.flag(service, "bindable");
        if service.get("bindable").is_none() {
            self.mistake(service.at("bindable"), "is missing");
        }
        for flag in ["instances_retrievable", "bindings_retrievable", "allow_context_updates"] {
            self.flag(service, flag);
        }
        let plan_updateable = self.flag(service, "plan_updateable").unwrap_or(false);
        self.tags(service);
        self.requires(service);
        self.metadata(service);
        self.dashboard_client(service);
        let defaults = Defaults { bindable: bindable.unwrap_or(false), plan_updateable };
        let mut names = BTreeSet::new();
        let plans = self.objects(service, "plans");
        let plans =
            plans.iter().map(|plan| self.plan(plan, &defaults, &mut names)).collect::<Vec<_>>();
        Some(Service {
            id: id?,
            name: name?,
            plans: plans.into_iter().collect::<Option<_>>()?,
            plan_updateable,
        })
    }

    fn plan(
        &mut self,
        plan: &Object<'_>,
        defaults: &Defaults,
        names: &mut BTreeSet<String>,
    ) -> Option<Plan> {
        let id: Option<PlanId> = self.id(plan);
        if let Some(id) = &id
            && !self.plan_ids.insert(id.to_string())
        {
            self.mistake(plan.at("id"), "is used by another plan, too");
        }
        let name = self.text(plan, "name");
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            self.mistake(plan.at("name"), "is used by another plan of this service, too");
        }
        self.description(plan);
        let free = self.flag(plan, "free").unwrap_or(true);
        self.metadata(plan);
        if let Some(value) = plan.get("maximum_polling_duration")
            && !value.is_u64()
        {
            self.mistake(plan.at("maximum_polling_duration"), "must be whole seconds");
        }
        let [provision, update, bind] = self.schemas(plan);
        let prometheus = self.prometheus(plan);
        let has_events = self.events(plan);
        Some(Plan {
            bindable: self.flag(plan, "bindable").unwrap_or(defaults.bindable),
            binding_rotatable: self.flag(plan, "binding_rotatable").unwrap_or(false),
            plan_updateable: self.flag(plan, "plan_updateable").unwrap_or(defaults.plan_updateable),
            maintenance_version: self.maintenance_version(plan),
            id: id?,
            name: name?,
            free,
            provision,
            update,
            bind,
            prometheus: prometheus.ok()?,
            has_events,
        })
    }

    /// An array of objects that must not be empty.
    fn objects<'a>(&mut self, parent: &Object<'a>, key: &str) -> Vec<Object<'a>> {
        let path = parent.at(key);
        let Some(values) = parent.get(key).and_then(Value::as_array).filter(|v| !v.is_empty())
        else {
            self.mistake(path, "must be a list with at least one entry");
            return Vec::new();
        };
        let mut objects = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match value.as_object() {
                Some(map) => objects.push(Object { map, path }),
                None => self.mistake(path, "must be an object"),
            }
        }
        objects
    }

    fn object<'a>(&mut self, parent: &Object<'a>, key: &str) -> Option<Object<'a>> {
        let value = parent.get(key)?;
        match value.as_object() {
            Some(map) => Some(Object { map, path: parent.at(key) }),
            None => {
                self.mistake(parent.at(key), "must be an object");
                None
            }
        }
    }

    fn text(&mut self, parent: &Object<'_>, key: &str) -> Option<String> {
        match parent.get(key).map(Value::as_str) {
            Some(Some(text)) if !text.trim().is_empty() => return Some(text.to_owned()),
            Some(Some(_)) => self.mistake(parent.at(key), "must not be empty"),
            Some(None) => self.mistake(parent.at(key), "must be a string"),
            None => self.mistake(parent.at(key), "is missing"),
        }
        None
    }

    fn id<T: FromStr<Err = IdError>>(&mut self, parent: &Object<'_>) -> Option<T> {
        let parsed = self.text(parent, "id")?.parse();
        parsed.map_err(|error| self.mistake(parent.at("id"), error)).ok()
    }

    fn description(&mut self, parent: &Object<'_>) {
        let text = self.text(parent, "description").unwrap_or_default();
        if text.chars().count() > MAX_DESCRIPTION {
            let problem = format!("is longer than {MAX_DESCRIPTION} characters");
            self.mistake(parent.at("description"), problem);
        }
    }

    fn flag(&mut self, parent: &Object<'_>, key: &str) -> Option<bool> {
        let value = parent.get(key)?;
        if !value.is_boolean() {
            self.mistake(parent.at(key), "must be true or false, without quotes");
        }
        value.as_bool()
    }

    fn texts<'a>(&mut self, parent: &Object<'a>, key: &str) -> Vec<&'a str> {
        let Some(value) = parent.get(key) else { return Vec::new() };
        let texts = value.as_array().map(|values| values.iter().map(Value::as_str).collect());
        match texts {
            Some(Some(texts)) => texts,
            _ => {
                self.mistake(parent.at(key), "must be a list of strings");
                Vec::new()
            }
        }
    }

    fn tags(&mut self, service: &Object<'_>) {
        let tags = self.texts(service, "tags");
        if tags.iter().map(|tag| tag.chars().count()).sum::<usize>() > MAX_TAGS {
            let problem = format!("are longer than {MAX_TAGS} characters together");
            self.mistake(service.at("tags"), problem);
        }
    }

    fn requires(&mut self, service: &Object<'_>) {
        for permission in self.texts(service, "requires") {
            if !PERMISSIONS.contains(&permission) {
                let problem = format!("knows only {}", PERMISSIONS.join(", "));
                self.mistake(service.at("requires"), problem);
            }
        }
    }

    fn metadata(&mut self, parent: &Object<'_>) {
        if let Some(metadata) = self.object(parent, "metadata") {
            self.flag(&metadata, "shareable");
        }
    }

    fn dashboard_client(&mut self, service: &Object<'_>) {
        let Some(client) = self.object(service, "dashboard_client") else { return };
        if client.map.is_empty() {
            return;
        }
        self.text(&client, "secret");
        self.text(&client, "redirect_uri");
        if let Some(id) = self.text(&client, "id")
            && !self.dashboard_clients.insert(id)
        {
            self.mistake(client.at("id"), "is used by another service, too");
        }
    }

    fn maintenance_version(&mut self, plan: &Object<'_>) -> Option<String> {
        let info = self.object(plan, "maintenance_info")?;
        for key in info.map.keys().filter(|key| !["version", "description"].contains(&key.as_str()))
        {
            self.mistake(info.at(key), "is unknown; known are version, description");
        }
        if let Some(description) = info.get("description")
            && !description.is_string()
        {
            self.mistake(info.at("description"), "must be a string");
        }
        let json = serde_json::to_string(info.map).unwrap_or_default();
        if json.chars().count() > MAX_MAINTENANCE_INFO {
            let problem = format!("is longer than {MAX_MAINTENANCE_INFO} characters");
            self.mistake(info.path.clone(), problem);
        }
        let version = self.text(&info, "version")?;
        if semver::Version::parse(&version).is_err() {
            self.mistake(info.at("version"), "must be a version like 1.2.0 (semver.org)");
        }
        Some(version)
    }

    /// The Prometheus settings of the plan.
    fn prometheus(&mut self, plan: &Object<'_>) -> Result<Option<PrometheusPlan>, Recorded> {
        let Some(metadata) = plan.get("metadata").and_then(Value::as_object) else {
            return Ok(None);
        };
        let Some(prometheus) = metadata.get("prometheus") else { return Ok(None) };
        let parsed = PrometheusPlan::parse(prometheus);
        let mistakes = match parsed {
            Ok(parsed) => return Ok(Some(parsed)),
            Err(mistakes) => mistakes,
        };
        for (key, problem) in mistakes {
            let path = plan.at("metadata.prometheus");
            let path = if key.is_empty() { path } else { format!("{path}.{key}") };
            self.mistake(path, problem);
        }
        Err(Recorded)
    }

    /// Whether the bindings of the plan have queues of events: `metadata.events` is an empty object.
    fn events(&mut self, plan: &Object<'_>) -> bool {
        let metadata = plan.get("metadata").and_then(Value::as_object);
        let Some(events) = metadata.and_then(|it| it.get("events")) else { return false };
        let path = plan.at("metadata.events");
        if events.as_object().is_none_or(|it| !it.is_empty()) {
            self.mistake(path.clone(), "must be {}: queues of events have no settings of a plan");
        }
        if metadata.is_some_and(|it| it.contains_key("prometheus")) {
            self.mistake(path, "excludes metadata.prometheus: use another plan");
        }
        if plan.get("binding_rotatable").and_then(Value::as_bool) == Some(true) {
            let problem = "must be false with metadata.events: a new binding has a new queue";
            self.mistake(plan.at("binding_rotatable"), problem);
        }
        true
    }

    /// The parameter schemas of provision, update and bind requests.
    fn schemas(&mut self, plan: &Object<'_>) -> [Option<ParameterSchema>; 3] {
        let Some(schemas) = self.object(plan, "schemas") else { return [None, None, None] };
        let instance = self.object(&schemas, "service_instance");
        let binding = self.object(&schemas, "service_binding");
        [(&instance, "create"), (&instance, "update"), (&binding, "create")].map(
            |(object, action)| {
                let action = self.object(object.as_ref()?, action)?;
                let schema = action.get("parameters")?;
                let parsed = ParameterSchema::parse(schema);
                parsed.map_err(|problem| self.mistake(action.at("parameters"), problem)).ok()
            },
        )
    }
}

/// A mistake was recorded.
struct Recorded;

/// Flags that plans inherit from their service.
struct Defaults {
    bindable: bool,
    plan_updateable: bool,
}
