//! Scrape settings of a binding.

use super::{
    APP_LABELS, MetricsPath,
    disclosure::{self, Disclosure, Parameter},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Scrape settings of an app. All fields are optional. By default, `GET /metrics` is sent to the
/// instances of every process type.
#[derive(Clone, Debug, Default)]
pub struct ScrapeOptions {
    /// Path (and query) of the metrics.
    pub endpoint: Option<MetricsPath>,
    /// Query parameters, in addition to those of `endpoint`.
    pub params: BTreeMap<String, Vec<String>>,
    /// Request headers. Values are secrets, because they may be API keys.
    pub headers: BTreeMap<String, SecretString>,
    /// Credentials that the app requires.
    pub basic_auth: Option<BasicAuth>,
    /// Bearer token that the app requires.
    pub bearer_token: Option<SecretString>,
    /// Labels added to every sample, after [`APP_LABELS`].
    pub labels: BTreeMap<String, String>,
    /// Process types to scrape. If empty, all process types are scraped.
    pub process_types: BTreeSet<String>,
    /// Maximum number of samples per instance.
    pub sample_limit: Option<usize>,
}

/// A user name and a password.
#[derive(Clone, Debug)]
pub struct BasicAuth {
    /// Must not contain a colon (RFC 7617, section 2).
    pub username: String,
    /// Must not contain control characters.
    pub password: SecretString,
}

/// An invalid parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter {field} {problem}")]
pub struct BindingError {
    /// Key path of the parameter, as in `basic_auth.password`.
    pub field: String,
    /// What to change.
    pub problem: String,
}

/// All parameters of a binding, and the part of each that may be shown after it was stored.
const PARAMETERS: [Parameter; 8] = [
    ("endpoint", Disclosure::WithoutQuery),
    // Values are often API keys.
    ("params", Disclosure::Nothing),
    ("headers", Disclosure::Nothing),
    ("basic_auth", Disclosure::Nothing),
    ("bearer_token", Disclosure::Nothing),
    // The labels are on every sample anyway.
    ("labels", Disclosure::Value),
    ("process_types", Disclosure::Value),
    ("sample_limit", Disclosure::Value),
];

/// Maximum number of entries per parameter. It limits the length of the request line.
const MAX_ENTRIES: usize = 64;
/// Maximum length of a name or a value, in bytes.
const MAX_TEXT: usize = 4096;

fn wrong<T>(field: impl Into<String>, problem: impl std::fmt::Display) -> Result<T, BindingError> {
    Err(BindingError { field: field.into(), problem: problem.to_string() })
}

impl ScrapeOptions {
    /// Parses the parameters of a bind request.
    ///
    /// # Errors
    /// Names the first unknown or invalid parameter.
    pub fn from_parameters(parameters: &Map<String, Value>) -> Result<Self, BindingError> {
        let is_unknown = |key: &&String| !disclosure::is_known(&PARAMETERS, key);
        if let Some(unknown) = parameters.keys().find(is_unknown) {
            let known = disclosure::names(&PARAMETERS);
            return wrong(unknown, format!("is unknown; known are {known}"));
        }
        let basic_auth = match parameters.get("basic_auth") {
            None => None,
            Some(value) => Some(basic_auth(value)?),
        };
        let bearer_token = match parameters.get("bearer_token") {
            None => None,
            Some(value) => Some(SecretString::from(header_value("bearer_token", value)?)),
        };
        if basic_auth.is_some() && bearer_token.is_some() {
            return wrong("bearer_token", "cannot be combined with basic_auth");
        }
        let headers = headers(parameters.get("headers"))?;
        if headers.contains_key("authorization") && (basic_auth.is_some() || bearer_token.is_some())
        {
            return wrong(
                "headers.authorization",
                "cannot be combined with basic_auth or bearer_token",
            );
        }
        Ok(Self {
            endpoint: endpoint(parameters.get("endpoint"))?,
            params: params(parameters.get("params"))?,
            headers,
            basic_auth,
            bearer_token,
            labels: labels(parameters.get("labels"))?,
            process_types: process_types(parameters.get("process_types"))?,
            sample_limit: sample_limit(parameters.get("sample_limit"))?,
        })
    }

    /// Whether the options may contain secrets. Query parameters may be API keys.
    pub fn may_hold_secrets(&self) -> bool {
        let has_query = |endpoint: &MetricsPath| endpoint.as_str().contains('?');
        !self.headers.is_empty()
            || self.basic_auth.is_some()
            || self.bearer_token.is_some()
            || !self.params.is_empty()
            || self.endpoint.as_ref().is_some_and(has_query)
    }

    /// Removes parameters that must not be shown to the user again.
    pub fn without_secrets(parameters: &Map<String, Value>) -> Map<String, Value> {
        disclosure::disclosed(&PARAMETERS, parameters)
    }
}

/// Compares the exposed secrets, because `SecretString` does not implement `PartialEq`.
impl PartialEq for BasicAuth {
    fn eq(&self, other: &Self) -> bool {
        self.username == other.username
            && self.password.expose_secret() == other.password.expose_secret()
    }
}

fn text<'a>(field: &str, value: &'a Value) -> Result<&'a str, BindingError> {
    match value.as_str() {
        None => wrong(field, "must be a string"),
        Some(text) if text.len() > MAX_TEXT => {
            wrong(field, format!("is longer than {MAX_TEXT} bytes"))
        }
        Some(text) => Ok(text),
    }
}

fn object<'a>(field: &str, value: &'a Value) -> Result<&'a Map<String, Value>, BindingError> {
    match value.as_object() {
        None => wrong(field, "must be an object"),
        Some(map) if map.len() > MAX_ENTRIES => {
            wrong(field, format!("has more than {MAX_ENTRIES} entries"))
        }
        Some(map) => Ok(map),
    }
}

fn endpoint(value: Option<&Value>) -> Result<Option<MetricsPath>, BindingError> {
    let Some(value) = value else { return Ok(None) };
    match text("endpoint", value)?.parse() {
        Ok(path) => Ok(Some(path)),
        Err(problem) => wrong("endpoint", problem),
    }
}

fn params(value: Option<&Value>) -> Result<BTreeMap<String, Vec<String>>, BindingError> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let mut params = BTreeMap::new();
    for (name, value) in object("params", value)? {
        let field = format!("params.{name}");
        let values = match value {
            Value::String(_) => vec![text(&field, value)?.to_owned()],
            Value::Array(values) if values.len() <= MAX_ENTRIES => values
                .iter()
                .map(|value| text(&field, value).map(str::to_owned))
                .collect::<Result<_, _>>()?,
            Value::Array(_) => return wrong(field, format!("has more than {MAX_ENTRIES} values")),
            _ => return wrong(field, "must be a string or a list of strings"),
        };
        params.insert(name.clone(), values);
    }
    Ok(params)
}

/// A valid header value (RFC 9110, section 5.5).
fn header_value(field: &str, value: &Value) -> Result<String, BindingError> {
    let text = text(field, value)?;
    if text.bytes().any(|b| b < b' ' && b != b'\t' || b >= 127) || text.trim() != text {
        return wrong(
            field,
            "must be printable ASCII without line breaks, and without blanks at its ends",
        );
    }
    Ok(text.to_owned())
}

/// Headers that are controlled by the connection or by Scrapebroker.
const FORBIDDEN_HEADERS: [&str; 14] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
    "accept",
    "accept-encoding",
    "x-prometheus-scrape-timeout-seconds",
    "x-promfetcher-scrapping",
    "x-scrapebroker-via",
];

fn headers(value: Option<&Value>) -> Result<BTreeMap<String, SecretString>, BindingError> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let mut headers = BTreeMap::new();
    for (name, value) in object("headers", value)? {
        let field = format!("headers.{name}");
        let is_token_char = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || name.len() > 256 || !name.bytes().all(is_token_char) {
            return wrong(field, "is not a header name");
        }
        let lower = name.to_ascii_lowercase();
        if FORBIDDEN_HEADERS.contains(&lower.as_str()) {
            return wrong(field, "is set by the router itself");
        }
        let secret = SecretString::from(header_value(&field, value)?);
        if headers.insert(lower, secret).is_some() {
            return wrong(field, "is given twice");
        }
    }
    Ok(headers)
}

fn basic_auth(value: &Value) -> Result<BasicAuth, BindingError> {
    let map = object("basic_auth", value)?;
    if let Some(unknown) = map.keys().find(|key| !["username", "password"].contains(&key.as_str()))
    {
        return wrong(format!("basic_auth.{unknown}"), "is unknown; known are username, password");
    }
    let part = |name: &str| match map.get(name) {
        None => wrong(format!("basic_auth.{name}"), "is missing"),
        Some(value) => {
            let field = format!("basic_auth.{name}");
            let text = text(&field, value)?;
            match text.chars().any(char::is_control) {
                true => wrong(field, "contains a control character"),
                false => Ok(text.to_owned()),
            }
        }
    };
    let (username, password) = (part("username")?, part("password")?);
    if username.contains(':') {
        return wrong("basic_auth.username", "must not contain a colon");
    }
    Ok(BasicAuth { username, password: SecretString::from(password) })
}

fn labels(value: Option<&Value>) -> Result<BTreeMap<String, String>, BindingError> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let mut labels = BTreeMap::new();
    for (name, value) in object("labels", value)? {
        let field = format!("labels.{name}");
        let first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
        let is_name = name.bytes().next().is_some_and(first)
            && name.bytes().all(|b| first(b) || b.is_ascii_digit());
        if !is_name {
            return wrong(field, "is not a label name; use letters, digits and _");
        }
        if name.starts_with("__") {
            return wrong(field, "must not begin with __, which Prometheus keeps for itself");
        }
        let is_reserved = APP_LABELS.contains(&name.as_str()) || name == "process_type";
        if is_reserved || name == "le" || name == "quantile" {
            return wrong(field, "is set by the router or by the app's own metrics");
        }
        labels.insert(name.clone(), text(&field, value)?.to_owned());
    }
    Ok(labels)
}

fn process_types(value: Option<&Value>) -> Result<BTreeSet<String>, BindingError> {
    let Some(value) = value else { return Ok(BTreeSet::new()) };
    let Some(values) = value.as_array() else {
        return wrong("process_types", "must be a list like [\"web\", \"worker\"]");
    };
    if values.is_empty() || values.len() > MAX_ENTRIES {
        return wrong("process_types", format!("must name 1 to {MAX_ENTRIES} process types"));
    }
    values
        .iter()
        .map(|value| match text("process_types", value)? {
            "" => wrong("process_types", "must not contain an empty string"),
            text => Ok(text.to_owned()),
        })
        .collect()
}

fn sample_limit(value: Option<&Value>) -> Result<Option<usize>, BindingError> {
    let Some(value) = value else { return Ok(None) };
    match value.as_u64().and_then(|limit| usize::try_from(limit).ok()) {
        Some(limit) if limit > 0 => Ok(Some(limit)),
        _ => wrong("sample_limit", "must be a whole number above 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<ScrapeOptions, BindingError> {
        ScrapeOptions::from_parameters(value.as_object().unwrap())
    }

    #[test]
    fn a_binding_may_set_every_parameter() {
        let options = parse(json!({
            "endpoint": "actuator/prometheus",
            "params": {"module": "http", "collect[]": ["cpu", "mem"]},
            "headers": {"X-Api-Key": "k"},
            "basic_auth": {"username": "u", "password": "p"},
            "labels": {"team": "checkout"},
            "process_types": ["web", "worker"],
            "sample_limit": 1000
        }))
        .unwrap();
        assert_eq!(options.endpoint.unwrap().as_str(), "/actuator/prometheus");
        assert_eq!(options.params["collect[]"], ["cpu", "mem"]);
        assert_eq!(options.headers["x-api-key"].expose_secret(), "k");
        assert_eq!(options.basic_auth.unwrap().username, "u");
        assert_eq!(options.labels["team"], "checkout");
        assert!(options.process_types.contains("worker"));
        assert_eq!(options.sample_limit, Some(1000));
    }

    #[test]
    fn each_wrong_parameter_is_named() {
        let cases = [
            (json!({"metrics_path": "/x"}), "metrics_path"),
            (json!({"endpoint": 5}), "endpoint"),
            (json!({"endpoint": "//evil"}), "endpoint"),
            (json!({"params": ["x"]}), "params"),
            (json!({"params": {"a": {"b": 1}}}), "params.a"),
            (json!({"headers": {"A B": "x"}}), "headers.A B"),
            (json!({"headers": {"X": "a\r\nHost: evil"}}), "headers.X"),
            (json!({"headers": {"Host": "evil"}}), "headers.Host"),
            (json!({"headers": {"X": "1", "x": "2"}}), "headers.x"),
            (json!({"basic_auth": {"username": "u"}}), "basic_auth.password"),
            (json!({"basic_auth": {"username": "u:v", "password": ""}}), "basic_auth.username"),
            (json!({"basic_auth": {"username": "u", "password": "", "x": 1}}), "basic_auth.x"),
            (json!({"bearer_token": "a\nb"}), "bearer_token"),
            (
                json!({"bearer_token": "t", "basic_auth": {"username": "u", "password": "p"}}),
                "bearer_token",
            ),
            (json!({"labels": {"__x": "1"}}), "labels.__x"),
            (json!({"labels": {"app_id": "1"}}), "labels.app_id"),
            (json!({"labels": {"le": "1"}}), "labels.le"),
            (json!({"labels": {"a-b": "1"}}), "labels.a-b"),
            (json!({"labels": {"a": 1}}), "labels.a"),
            (json!({"process_types": []}), "process_types"),
            (json!({"process_types": "web"}), "process_types"),
            (json!({"sample_limit": 0}), "sample_limit"),
            (json!({"sample_limit": -1}), "sample_limit"),
            (json!({"sample_limit": "many"}), "sample_limit"),
        ];
        for (parameters, field) in cases {
            let error = parse(parameters.clone()).unwrap_err();
            assert_eq!(error.field, field, "{parameters}");
        }
    }

    #[test]
    fn stored_secrets_are_not_shown() {
        let parameters = json!({
            "endpoint": "/x?key=canary",
            "params": {"key": "canary"},
            "headers": {"X-Api-Key": "canary"},
            "basic_auth": {"username": "canary", "password": "canary"},
            "bearer_token": "canary",
            "labels": {"team": "a"},
            "process_types": ["web"],
            "sample_limit": 5
        });
        let shown = ScrapeOptions::without_secrets(parameters.as_object().unwrap());
        let expected = json!({
            "endpoint": "/x", "labels": {"team": "a"}, "process_types": ["web"], "sample_limit": 5
        });
        assert_eq!(Value::Object(shown), expected);
    }
}
