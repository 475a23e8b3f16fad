//! Parameters of a Prometheus instance.

use super::{AlertmanagerUrl, Bounds, Period, PrometheusPlan, Spec};
use crate::domain::{
    BindingError,
    disclosure::{self, Disclosure, Parameter},
};
use serde_json::{Map, Value};

/// Validated parameters of a service instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrometheusParams {
    /// Interval between scrapes of a target.
    pub scrape_interval: Option<Period>,
    /// Retention time of samples.
    pub retention: Option<Period>,
    /// Recording and alerting rules, in the format of a rule file.
    pub rules: Option<String>,
    /// The Alertmanager that receives alerts.
    pub alertmanager_url: Option<AlertmanagerUrl>,
}

/// All parameters of an instance, and the part of each that may be shown after it was stored.
const PARAMETERS: [Parameter; 4] = [
    ("scrape_interval", Disclosure::Value),
    ("retention", Disclosure::Value),
    // The API of the Prometheus shows them anyway.
    ("rules", Disclosure::Value),
    ("alertmanager_url", Disclosure::WithoutUserinfo),
];

/// Maximum size of a rule file, in bytes.
const MAX_RULES: usize = 256 << 10;

impl PrometheusParams {
    /// Validates parameters. An empty string counts as absent, so that an update can remove a
    /// parameter.
    ///
    /// # Errors
    /// Names the first invalid parameter without its value.
    pub fn from_parameters(parameters: &Map<String, Value>) -> Result<Self, BindingError> {
        let is_unknown = |key: &&String| !disclosure::is_known(&PARAMETERS, key);
        if let Some(unknown) = parameters.keys().find(is_unknown) {
            let unknown: String = unknown.chars().filter(|c| !c.is_control()).take(60).collect();
            let known = disclosure::names(&PARAMETERS);
            return Err(wrong(&unknown, format!("is unknown; known are {known}")));
        }
        let text = |key: &str| match parameters.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(wrong(key, "must be a string".to_owned())),
        };
        let period = |key: &str| {
            let parsed = text(key)?.map(|text| text.trim().parse::<Period>());
            parsed.transpose().map_err(|error| wrong(key, error.to_string()))
        };
        let alertmanager_url = text("alertmanager_url")?.map(|text| text.trim().parse());
        Ok(Self {
            scrape_interval: period("scrape_interval")?,
            retention: period("retention")?,
            rules: rules(parameters.get("rules"))?,
            alertmanager_url: alertmanager_url
                .transpose()
                .map_err(|error: String| wrong("alertmanager_url", error))?,
        })
    }

    /// Removes parameters that must not be shown to the user again, and secret parts. No parameter
    /// of other plans is shown: the operator's schema defines these, and they may be secrets.
    pub fn without_secrets(parameters: &Map<String, Value>) -> Map<String, Value> {
        disclosure::disclosed(&PARAMETERS, parameters)
    }

    /// Applies the bounds and defaults of a plan.
    ///
    /// # Errors
    /// Names a parameter that is outside the plan's bounds.
    pub fn resolve(self, plan: &PrometheusPlan) -> Result<Spec, BindingError> {
        let within = |key: &str, requested: Option<Period>, bounds: Bounds| match requested {
            None => Ok(bounds.default),
            Some(requested) if bounds.min <= requested && requested <= bounds.max => Ok(requested),
            Some(_) => {
                let problem =
                    format!("must be from {} to {} with this plan", bounds.min, bounds.max);
                Err(wrong(key, problem))
            }
        };
        Ok(Spec {
            retention: within("retention", self.retention, plan.retention)?,
            retention_size: plan.retention_size,
            storage: plan.storage,
            replicas: plan.replicas,
            memory_limit: plan.memory_limit,
            scrape_interval: within("scrape_interval", self.scrape_interval, plan.scrape_interval)?,
            sample_limit: plan.sample_limit,
            remote_write: plan.remote_write.clone(),
            rules: self.rules,
            alertmanager_url: self.alertmanager_url,
        })
    }
}

/// A rule file as a string, or as a JSON object. JSON is a subset of YAML.
fn rules(value: Option<&Value>) -> Result<Option<String>, BindingError> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(_) => {
            let problem = "must be the text of a rule file, or an object with groups";
            return Err(wrong("rules", problem.to_owned()));
        }
    };
    if text.len() > MAX_RULES {
        return Err(wrong("rules", format!("is longer than {MAX_RULES} bytes")));
    }
    if text.contains('\0') {
        return Err(wrong("rules", "contains a NUL character".to_owned()));
    }
    Ok(Some(text))
}

fn wrong(field: &str, problem: String) -> BindingError {
    BindingError { field: field.to_owned(), problem }
}
