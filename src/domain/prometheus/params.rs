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
    /// How often targets are scraped.
    pub scrape_interval: Option<Period>,
    /// How long samples are kept.
    pub retention: Option<Period>,
    /// Recording and alerting rules, the text of a rule file.
    pub rules: Option<String>,
    /// Where alerts go.
    pub alertmanager_url: Option<AlertmanagerUrl>,
}

/// Every parameter that an instance may have, and what is shown of it once it is stored.
const PARAMETERS: [Parameter; 4] = [
    ("scrape_interval", Disclosure::Value),
    ("retention", Disclosure::Value),
    // The API of the Prometheus shows them.
    ("rules", Disclosure::Value),
    ("alertmanager_url", Disclosure::WithoutUserinfo),
];

/// The longest accepted rule file, in bytes.
const MAX_RULES: usize = 256 << 10;

impl PrometheusParams {
    /// Checks parameters. An empty text is as if it were not given, so that an
    /// update can take one back.
    ///
    /// # Errors
    /// Names the first parameter that is wrong, without its value.
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

    /// The parameters that may be shown to the platform's user again, without their
    /// secret parts. Instances of other plans have only parameters of the operator's own
    /// schema, of which nothing is shown: they may be secrets.
    pub fn without_secrets(parameters: &Map<String, Value>) -> Map<String, Value> {
        disclosure::disclosed(&PARAMETERS, parameters)
    }

    /// What comes of them with a plan.
    ///
    /// # Errors
    /// Names the parameter that is out of the plan's bounds.
    pub fn resolve(self, plan: &PrometheusPlan) -> Result<Spec, BindingError> {
        let within = |key: &str, wish: Option<Period>, bounds: Bounds| match wish {
            None => Ok(bounds.default),
            Some(wish) if bounds.min <= wish && wish <= bounds.max => Ok(wish),
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

/// A rule file as text, or as the same in JSON, which YAML contains.
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
