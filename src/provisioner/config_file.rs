//! Configuration of Prometheus: prometheus.yml, the web configuration file and flags.
//!
//! The files are JSON, which is valid YAML, so that no text of a user can become a key or a second
//! document. They work with every version of Prometheus since 2.42. The same input gives the same
//! bytes, so that an unchanged file needs no restart.

mod exemplars;
mod query_limits;

use super::DesiredInstance;
use crate::domain::prometheus::{AlertmanagerUrl, Period};
use percent_encoding::percent_decode_str;
use ring::digest;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use url::Url;

/// File name of recording and alerting rules, next to prometheus.yml.
pub const RULES_FILE: &str = "rules.yml";

/// Prometheus applies discovered targets every five seconds. A longer refresh interval would delay
/// new targets further.
const MAX_REFRESH_INTERVAL: Period = Period::seconds(5);
/// Default scrape timeout of Prometheus.
const MAX_SCRAPE_TIMEOUT: Period = Period::seconds(10);
/// The minimum cost of bcrypt. The password is derived from a key and cannot be guessed, and
/// Prometheus computes the hash at each request.
const BCRYPT_COST: u32 = 4;

/// Input of prometheus.yml.
#[derive(Debug)]
struct ConfigContents<'a> {
    instance: &'a str,
    /// Number of the replica, from 0.
    replica: u8,
    /// URL of Scrapebroker.
    base_url: &'a str,
    /// Bearer token for Scrapebroker.
    scraper_token: &'a SecretString,
    scrape_interval: Period,
    /// Maximum number of samples per scrape; 0: no limit.
    sample_limit: u64,
    /// Memory limit of the plan, in bytes.
    memory_limit: u64,
    has_rules: bool,
    alertmanager_url: Option<&'a Url>,
    remote_write: Option<RemoteWriteSection<'a>>,
}

/// The `remote_write` section.
#[derive(Debug)]
struct RemoteWriteSection<'a> {
    url: &'a str,
    credentials: Option<RemoteWriteAuth<'a>>,
    /// Additional request headers, for example `X-Scope-OrgID`.
    headers: Vec<(&'a str, &'a SecretString)>,
}

/// Authorization of remote write requests.
#[derive(Debug)]
enum RemoteWriteAuth<'a> {
    /// User name and password.
    Basic(&'a str, &'a SecretString),
    Bearer(&'a SecretString),
}

impl<'a> ConfigContents<'a> {
    fn of(desired: &'a DesiredInstance, replica: u8) -> Self {
        let spec = &desired.spec;
        Self {
            instance: desired.instance_id.as_str(),
            replica,
            base_url: desired.own.scrape_url.as_str(),
            scraper_token: &desired.scraper_token,
            scrape_interval: spec.scrape_interval,
            sample_limit: spec.sample_limit,
            memory_limit: spec.memory_limit,
            has_rules: spec.rules.is_some(),
            alertmanager_url: spec.alertmanager_url.as_ref().map(AlertmanagerUrl::url),
            remote_write: desired.remote_write.as_ref().map(RemoteWriteSection::of),
        }
    }
}

impl<'a> RemoteWriteSection<'a> {
    fn of(target: &'a super::RemoteWrite) -> Self {
        let basic = target.basic_auth.as_ref();
        let basic = basic.map(|it| RemoteWriteAuth::Basic(&it.username, &it.password));
        let headers = target.headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let bearer = || target.bearer_token.as_ref().map(RemoteWriteAuth::Bearer);
        Self { url: &target.url, credentials: basic.or_else(bearer), headers }
    }
}

/// prometheus.yml of a replica. It contains secrets.
pub fn render(desired: &DesiredInstance, replica: u8) -> String {
    text(&ConfigContents::of(desired, replica))
}

fn text(contents: &ConfigContents<'_>) -> String {
    let interval = contents.scrape_interval;
    let refresh_interval = interval.clamp(Period::seconds(1), MAX_REFRESH_INTERVAL);
    let discovery = json!({
        "url": format!("{}/sd", contents.base_url),
        "refresh_interval": refresh_interval.to_string(),
        "authorization": bearer(contents.scraper_token),
        "follow_redirects": false,
    });
    let mut apps = json!({
        "job_name": "apps",
        "honor_labels": true,
        "http_sd_configs": [discovery],
        "authorization": bearer(contents.scraper_token),
        // A redirect would send the token to another host.
        "follow_redirects": false,
    });
    if contents.sample_limit > 0 {
        apps["sample_limit"] = contents.sample_limit.into();
    }
    let mut config = json!({
        "global": {
            "scrape_interval": interval.to_string(),
            "scrape_timeout": interval.min(MAX_SCRAPE_TIMEOUT).to_string(),
            "evaluation_interval": interval.to_string(),
            "external_labels": {
                "prometheus_instance": escaped(contents.instance),
                "prometheus_replica": contents.replica.to_string(),
            },
        },
        "scrape_configs": [apps],
        "storage": {
            "exemplars": { "max_exemplars": exemplars::max_exemplars(contents.memory_limit) },
        },
    });
    if contents.has_rules {
        config["rule_files"] = json!([RULES_FILE]);
    }
    if let Some(alertmanager) = contents.alertmanager_url.and_then(alertmanager) {
        config["alerting"] = json!({
            "alertmanagers": [alertmanager],
            // Alertmanager deduplicates alerts of replicas only if their labels are equal.
            "alert_relabel_configs": [{ "action": "labeldrop", "regex": "prometheus_replica" }],
        });
    }
    if let Some(remote_write) = &contents.remote_write {
        config["remote_write"] = json!([self::remote_write(remote_write)]);
    }
    yaml_text(&config)
}

/// The web configuration file (basic auth) for this password.
///
/// # Errors
/// If the password cannot be hashed.
pub fn web_config(password: &SecretString) -> Result<String, bcrypt::BcryptError> {
    let password = password.expose_secret();
    // Derived from the password, so that the same password gives the same file.
    let digest = digest::digest(&digest::SHA256, password.as_bytes());
    let mut salt = [0; 16];
    salt.iter_mut().zip(digest.as_ref()).for_each(|(salt, byte)| *salt = *byte);
    let hash = bcrypt::hash_with_salt(password, BCRYPT_COST, salt)?;
    let hash = hash.format_for_version(bcrypt::Version::TwoB);
    Ok(yaml_text(&json!({ "basic_auth_users": { DesiredInstance::WEB_USER: hash } })))
}

/// Flags for retention, URLs and query limits: names without dashes, and values.
///
/// `route_prefix` is the decoded path prefix of requests that reach Prometheus. Prometheus treats
/// `:` and `*` in it as wildcards and does not start, so it must not contain raw ids.
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
    flags.push(("enable-feature", features(desired.instance_id.as_str()).to_owned()));
    flags
}

/// All versions of Prometheus store exemplars only with a feature.
///
/// Prometheus 3 expands `$` in external labels. Prometheus 2 does so only with a feature. The
/// configuration contains `$$` for each `$`, so labels with `$` need it.
fn features(instance: &str) -> &'static str {
    match instance.contains('$') {
        true => "exemplar-storage,expand-external-labels",
        false => "exemplar-storage",
    }
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

/// `None` for a URL without a host, which was refused before.
fn alertmanager(url: &Url) -> Option<Value> {
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    let mut alertmanager = Map::new();
    let mut set = |key: &str, value: Value| alertmanager.insert(key.to_owned(), value);
    set("scheme", url.scheme().into());
    set("static_configs", json!([{ "targets": [format!("{host}:{port}")] }]));
    // The address was validated; a redirect could lead to another one.
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

fn remote_write(remote_write: &RemoteWriteSection<'_>) -> Value {
    let mut entry = json!({ "url": remote_write.url });
    match remote_write.credentials {
        None => {}
        Some(RemoteWriteAuth::Basic(username, password)) => {
            entry["basic_auth"] = basic(username, password.expose_secret());
        }
        Some(RemoteWriteAuth::Bearer(token)) => entry["authorization"] = bearer(token),
    }
    for (name, value) in &remote_write.headers {
        entry["headers"][*name] = value.expose_secret().into();
    }
    entry
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Formats JSON so that every YAML parser reads the same value.
fn yaml_text(value: &Value) -> String {
    let json = format!("{value:#}");
    let mut text = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        match is_special(character) {
            true => {
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            false => text.push(character),
        }
    }
    text.push('\n');
    text
}

/// Characters that JSON permits in strings, but that YAML forbids or normalizes. They occur only in
/// strings, where both formats accept the same escape.
fn is_special(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

#[cfg(test)]
mod tests;
