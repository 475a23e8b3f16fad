//! The desired app of a replica: its parameters and variables. Pure functions.

use super::{
    Team, TsuruSettings,
    policy::{MAX_VALUE_LEN, NO_TMPFS},
};
use crate::{
    domain::{
        InstanceId, OrganizationGuid,
        prometheus::{MAX_REPLICAS, Storage, slug},
        tsuru_ids,
    },
    provisioner::{DesiredInstance, Failure, config_file},
    tsuru::{AppVariable, NewApp, one_line},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest;
use secrecy::{ExposeSecret, SecretString};
use std::{fmt::Write, ops::Range};

/// Maximum length of the name of an app (tsuru/tsuru, validation/validation.go).
const MAX_NAME_LEN: usize = 40;

/// An app has its own host name, so its paths have no prefix.
const ROUTE_PREFIX: &str = "/";

/// Variable with the fingerprint of the variables that are set.
pub(super) const FINGERPRINT: &str = "PROMETHEUS_FINGERPRINT";
/// Variable with the fingerprint of the variables at the last deploy.
pub(super) const DEPLOYED: &str = "PROMETHEUS_DEPLOYED";

/// Variables that follow from `PROMETHEUS_MEMORY_LIMIT`. They are excluded from the fingerprint:
/// apps of earlier versions, which have none, would be deployed again and could lose samples.
const QUERY_LIMITS: [&str; 2] = [QUERY_MAX_CONCURRENCY, QUERY_MAX_SAMPLES];
const QUERY_MAX_CONCURRENCY: &str = "PROMETHEUS_QUERY_MAX_CONCURRENCY";
const QUERY_MAX_SAMPLES: &str = "PROMETHEUS_QUERY_MAX_SAMPLES";

/// The desired app of a replica.
#[derive(Debug)]
pub(super) struct DesiredApp {
    pub(super) app: NewApp,
    pub(super) variables: Vec<AppVariable>,
    pub(super) fingerprint: String,
    pub(super) password: SecretString,
}

/// Name of the app of a replica. It must not change while the prefix is the same.
pub(super) fn app_name(prefix: &str, id: &InstanceId, replica: u8) -> String {
    let slug = slug(id);
    // Cut at the start, because the hash is at the end.
    let max_len = MAX_NAME_LEN.saturating_sub(prefix.len() + 2);
    let start = slug.len().saturating_sub(max_len);
    let slug = slug.get(start..).unwrap_or_default().trim_start_matches('-');
    format!("{prefix}{slug}-{replica}")
}

/// Tags that mark an app of Scrapebroker, and of this instance. The id is encoded, because Tsuru
/// trims blanks.
pub(super) fn tags(id: &InstanceId) -> [String; 2] {
    let id = utf8_percent_encode(id.as_str(), NON_ALPHANUMERIC);
    ["managed-by:scrapebroker".to_owned(), format!("scrapebroker-instance:{id}")]
}

/// Numbers of the replicas that must not exist.
pub(super) fn surplus(replicas: u8) -> Range<u8> {
    replicas.min(MAX_REPLICAS)..MAX_REPLICAS
}

pub(super) fn build(
    settings: &TsuruSettings,
    desired: &DesiredInstance,
    replica: u8,
) -> Result<DesiredApp, Failure> {
    let DesiredInstance { instance_id: id, spec, .. } = desired;
    let password = desired.web_password.clone();
    let mut variables = variables(settings, desired, replica)?;
    let deployed = variables.iter().filter(|it| !QUERY_LIMITS.contains(&it.name));
    let fingerprint = fingerprint(&settings.image, deployed);
    variables.push(public(FINGERPRINT, fingerprint.clone()));
    let plan = match (spec.storage, &settings.tmpfs_plan) {
        (Storage::Tmpfs, Some(plan)) => plan.clone(),
        (Storage::Tmpfs, None) => return Err(Failure::permanent(NO_TMPFS)),
        (Storage::Disk, _) => settings.plan.clone(),
    };
    let app = NewApp {
        name: app_name(&settings.app_prefix, id, replica),
        team: team(&settings.team, &desired.organization_guid)?,
        pool: settings.pool.clone(),
        plan,
        router: settings.router.clone(),
        platform: settings.platform.clone(),
        description: format!("Prometheus of {}, replica {replica}", shown_id(id)),
        tags: tags(id).into(),
    };
    Ok(DesiredApp { app, variables, fingerprint, password })
}

fn variables(
    settings: &TsuruSettings,
    desired: &DesiredInstance,
    replica: u8,
) -> Result<Vec<AppVariable>, Failure> {
    let spec = &desired.spec;
    let web_config = config_file::web_config(&desired.web_password).map_err(|error| {
        Failure::transient(format!("the web password cannot be hashed: {error}"))
    })?;
    let config = config_file::render(desired, replica);
    let mut variables = vec![
        private("PROMETHEUS_CONFIG", config),
        private("PROMETHEUS_WEB_CONFIG", web_config),
        public("PROMETHEUS_MEMORY_LIMIT", format!("{}B", spec.memory_limit)),
        public("PROMETHEUS_STORAGE_PATH", settings.storage_path.clone()),
    ];
    if let Some(rules) = &spec.rules {
        // Rules are not secret, but would clutter the list of variables.
        variables.push(private("PROMETHEUS_RULES", rules.clone()));
    }
    for (flag, value) in config_file::flags(desired, ROUTE_PREFIX) {
        let name = match flag {
            "storage.tsdb.retention.time" => "PROMETHEUS_RETENTION_TIME",
            "storage.tsdb.retention.size" => "PROMETHEUS_RETENTION_SIZE",
            "web.external-url" => "PROMETHEUS_EXTERNAL_URL",
            "web.route-prefix" => "PROMETHEUS_ROUTE_PREFIX",
            "query.max-concurrency" => QUERY_MAX_CONCURRENCY,
            "query.max-samples" => QUERY_MAX_SAMPLES,
            _ => "PROMETHEUS_FEATURES",
        };
        variables.push(public(name, value));
    }
    match variables.iter().find(|it| it.value.expose_secret().len() > MAX_VALUE_LEN) {
        None => Ok(variables),
        Some(long) => Err(Failure::permanent(format!(
            "{} would be longer than {MAX_VALUE_LEN} bytes, and no program starts with such a variable",
            long.name
        ))),
    }
}

fn private(name: &'static str, value: String) -> AppVariable {
    AppVariable { name, value: value.into(), is_private: true }
}

pub(super) fn public(name: &'static str, value: String) -> AppVariable {
    AppVariable { name, value: value.into(), is_private: false }
}

/// Hash of everything that requires a deploy. It contains secrets, but these are derived from a key
/// and cannot be guessed.
fn fingerprint<'a>(image: &str, variables: impl Iterator<Item = &'a AppVariable>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |text: &str| {
        context.update(&text.len().to_be_bytes());
        context.update(text.as_bytes());
    };
    add(image);
    for variable in variables {
        add(variable.name);
        add(variable.value.expose_secret());
    }
    let mut hex = String::new();
    for byte in context.finish().as_ref().iter().take(16) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn team(team: &Team, organization: &OrganizationGuid) -> Result<String, Failure> {
    match team {
        Team::Fixed(team) => Ok(team.clone()),
        Team::FromRequest => match tsuru_ids::team_of(organization) {
            "" => Err(Failure::permanent(
                "the instance was not requested by a team of Tsuru, so the operator must name one in prometheus.tsuru.team",
            )),
            team => Ok(team.to_owned()),
        },
    }
}

/// An arbitrary id, shortened to one line.
fn shown_id(id: &InstanceId) -> String {
    one_line(id.as_str())
}

#[cfg(test)]
mod tests;
