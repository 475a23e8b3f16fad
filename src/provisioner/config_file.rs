//! What a Prometheus is told at its start: prometheus.yml, the file that guards
//! its web interface, and its flags.
//!
//! Everything is written as JSON, which is YAML too, so that no text of a user
//! can become a key or a second document. The files are read by every version
//! since 2.42; nothing newer than that is used. One and the same input makes
//! the same bytes, so that equal texts mean that nothing has to be restarted.

mod query_limits;
mod yaml;

use super::DesiredInstance;
use crate::domain::prometheus::{AlertmanagerUrl, Period};
use percent_encoding::percent_decode_str;
use ring::digest;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

/// Name of the file with recording and alerting rules, beside prometheus.yml.
pub const RULES_FILE: &str = "rules.yml";

/// Prometheus looks at what was discovered every five seconds; health_probe less often would make new
/// targets wait twice.
const SLOWEST_DISCOVERY: Period = Period::seconds(5);
/// What Prometheus waits for a target when nothing is said.
const LONGEST_SCRAPE: Period = Period::seconds(10);
/// The least that there is. The password is derived from a key and cannot be
/// guessed, while each request with it costs Prometheus one such computation.
const BCRYPT_COST: u32 = 4;

/// What goes into prometheus.yml.
#[derive(Debug)]
struct Contents<'a> {
    /// The service instance.
    instance: &'a str,
    /// Which of its replicas, from 0.
    replica: u8,
    /// Where we are reached.
    base_url: &'a str,
    /// Shown to us by the Prometheus.
    scraper_token: &'a SecretString,
    /// Pause between two scrapes of a target.
    scrape_interval: Period,
    /// Most samples of a target; 0: no limit.
    sample_limit: u64,
    /// There is a file of rules.
    has_rules: bool,
    /// Where alerts go.
    alertmanager_url: Option<&'a Url>,
    /// Where samples are copied to.
    remote_write: Option<RemoteWrite<'a>>,
}

/// A long-term store.
#[derive(Debug)]
struct RemoteWrite<'a> {
    /// Where samples are posted to.
    url: &'a str,
    /// What it asks for.
    credentials: Option<Credentials<'a>>,
    /// Headers of each request, as in `X-Scope-OrgID`.
    headers: Vec<(&'a str, &'a SecretString)>,
}

/// How a Prometheus shows who it is.
#[derive(Debug)]
enum Credentials<'a> {
    /// User name and password.
    Basic(&'a str, &'a SecretString),
    /// A token.
    Bearer(&'a SecretString),
}

impl<'a> Contents<'a> {
    fn of(desired: &'a DesiredInstance, replica: u8) -> Self {
        let spec = &desired.spec;
        Self {
            instance: desired.instance_id.as_str(),
            replica,
            base_url: &desired.own.scrape_url,
            scraper_token: &desired.scraper_token,
            scrape_interval: spec.scrape_interval,
            sample_limit: spec.sample_limit,
            has_rules: spec.rules.is_some(),
            alertmanager_url: spec.alertmanager_url.as_ref().map(AlertmanagerUrl::url),
            remote_write: desired.remote_write.as_ref().map(RemoteWrite::of),
        }
    }
}

impl<'a> RemoteWrite<'a> {
    fn of(target: &'a super::RemoteWrite) -> Self {
        let basic = target.basic_auth.as_ref();
        let basic = basic.map(|(username, password)| Credentials::Basic(username, password));
        let headers = target.headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let bearer = || target.bearer_token.as_ref().map(Credentials::Bearer);
        Self { url: &target.url, credentials: basic.or_else(bearer), headers }
    }
}

/// prometheus.yml of a replica. It holds secrets.
pub fn render(desired: &DesiredInstance, replica: u8) -> String {
    text(&Contents::of(desired, replica))
}

fn text(contents: &Contents<'_>) -> String {
    let interval = contents.scrape_interval;
    let refresh_interval = interval.clamp(Period::seconds(1), SLOWEST_DISCOVERY);
    let discovery = json!({
        "url": format!("{}/sd", contents.base_url.trim_end_matches('/')),
        "refresh_interval": refresh_interval.to_string(),
        "authorization": bearer(contents.scraper_token),
        "follow_redirects": false,
    });
    let mut apps = json!({
        "job_name": "apps",
        "honor_labels": true,
        "http_sd_configs": [discovery],
        "authorization": bearer(contents.scraper_token),
        // The token is for us, not for whom a redirect may name.
        "follow_redirects": false,
    });
    if contents.sample_limit > 0 {
        apps["sample_limit"] = contents.sample_limit.into();
    }
    let mut config = json!({
        "global": {
            "scrape_interval": interval.to_string(),
            "scrape_timeout": interval.min(LONGEST_SCRAPE).to_string(),
            "evaluation_interval": interval.to_string(),
            "external_labels": {
                "prometheus_instance": escaped(contents.instance),
                "prometheus_replica": contents.replica.to_string(),
            },
        },
        "scrape_configs": [apps],
    });
    if contents.has_rules {
        config["rule_files"] = json!([RULES_FILE]);
    }
    if let Some(alertmanager) = contents.alertmanager_url.and_then(alertmanager) {
        config["alerting"] = json!({
            "alertmanagers": [alertmanager],
            // Alerts of all replicas are one alert.
            "alert_relabel_configs": [{ "action": "labeldrop", "regex": "prometheus_replica" }],
        });
    }
    if let Some(remote_write) = &contents.remote_write {
        config["remote_write"] = json!([self::remote_write(remote_write)]);
    }
    yaml::text(&config)
}

/// The file that lets in who knows `password`, and nobody else.
///
/// # Errors
/// When the password cannot be hashed.
pub fn web_config(password: &SecretString) -> Result<String, bcrypt::BcryptError> {
    let password = password.expose_secret();
    // Chosen by the password, so that the same password gives the same file.
    let digest = digest::digest(&digest::SHA256, password.as_bytes());
    let mut salt = [0; 16];
    salt.iter_mut().zip(digest.as_ref()).for_each(|(salt, byte)| *salt = *byte);
    let hash = bcrypt::hash_with_salt(password, BCRYPT_COST, salt)?;
    let hash = hash.format_for_version(bcrypt::Version::TwoB);
    Ok(yaml::text(&json!({ "basic_auth_users": { DesiredInstance::WEB_USER: hash } })))
}

/// Flags that say what is kept, under which address it is reached, and what queries may take: the
/// name of each, without dashes, and its value.
///
/// `route_prefix` is the path of everything as it reaches Prometheus, decoded.
/// Prometheus takes `:` and `*` at the beginning of one of its segments, or within,
/// for a wildcard and does not start, so ids must not stand in it as they are.
pub fn flags(desired: &DesiredInstance, route_prefix: &str) -> Vec<(&'static str, String)> {
    let mut flags = vec![
        ("storage.tsdb.retention.time", desired.spec.retention.to_string()),
        ("web.external-url", desired.external_url()),
        ("web.route-prefix", route_prefix.to_owned()),
    ];
    if let Some(bytes) = desired.spec.retention_size {
        flags.push(("storage.tsdb.retention.size", format!("{bytes}B")));
    }
    flags.extend(query_limits::flags(desired.spec.memory_limit));
    let features = features(desired.instance_id.as_str());
    flags.extend(features.map(|feature| ("enable-feature", feature.to_owned())));
    flags
}

/// Since version 3 a dollar in an external label begins the name of a variable, before it does so
/// only with this feature. Where there is a dollar it is doubled, and needs the feature.
fn features(instance: &str) -> Option<&'static str> {
    instance.contains('$').then_some("expand-external-labels")
}

fn escaped(label: &str) -> String {
    label.replace('$', "$$")
}

fn bearer(token: &SecretString) -> Value {
    json!({ "type": "Bearer", "credentials": token.expose_secret() })
}

fn basic(username: &str, password: &str) -> Value {
    json!({ "username": username, "password": password })
}

/// None for a URL without a host; that was refused long before.
fn alertmanager(url: &Url) -> Option<Value> {
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    let mut alertmanager = Map::new();
    let mut set = |key: &str, value: Value| alertmanager.insert(key.to_owned(), value);
    set("scheme", url.scheme().into());
    set("static_configs", json!([{ "targets": [format!("{host}:{port}")] }]));
    // Where the alerts go was checked; a redirect could lead elsewhere.
    set("follow_redirects", false.into());
    let prefix = decoded(url.path());
    if prefix != "/" {
        set("path_prefix", prefix.into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        let password = decoded(url.password().unwrap_or_default());
        set("basic_auth", basic(&decoded(url.username()), &password));
    }
    Some(alertmanager.into())
}

fn remote_write(remote_write: &RemoteWrite<'_>) -> Value {
    let mut entry = json!({ "url": remote_write.url });
    match remote_write.credentials {
        None => {}
        Some(Credentials::Basic(username, password)) => {
            entry["basic_auth"] = basic(username, password.expose_secret());
        }
        Some(Credentials::Bearer(token)) => entry["authorization"] = bearer(token),
    }
    for (name, value) in &remote_write.headers {
        entry["headers"][*name] = value.expose_secret().into();
    }
    entry
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
