//! Environment variables of Cloud Foundry, Tsuru and systemd.

use super::{Mistakes, Platform, ServiceManagerSettings, values};
use crate::domain::{BaseUrl, DatabaseUrl};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Settings that the platform provides. All are defaults, except `port`, which takes precedence.
#[derive(Debug, Default)]
pub(super) struct PlatformEnv {
    pub(super) platform: Option<Platform>,
    pub(super) port: Option<Port>,
    pub(super) service_manager: ServiceManagerSettings,
    pub(super) base_url: Option<BaseUrl>,
    /// Folders of `PATH`, in which programs are looked up.
    pub(super) search: Vec<PathBuf>,
    /// Variables of oneShotMetricsServer: whether events have explicit timestamps, and the level of
    /// the log.
    pub(super) explicit_timestamps: bool,
    pub(super) log_level: Option<&'static str>,
    /// URL of the first PostgreSQL that is bound to this app, or why it cannot be used.
    pub(super) database_url: Option<Result<DatabaseUrl, String>>,
}

/// A port that replaces that of the first address in `listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) number: u16,
    /// The variable `PORT`, which is the port to which the platform sends requests, or a flag.
    pub(super) source: &'static str,
}

/// Default of `PATH`, as in the C library.
const PATH: &str = "/bin:/usr/bin";

/// Variables that only Tsuru sets.
const TSURU: [&str; 2] = ["TSURU_APPNAME", "TSURU_PROCESSNAME"];

/// Tags and URL schemes of PostgreSQL services.
const POSTGRES: [&str; 2] = ["postgresql", "postgres"];

impl PlatformEnv {
    pub(super) fn read(environment: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Self {
        let variable = |name: &str| environment.get(name).filter(|text| !text.trim().is_empty());
        let port = variable("PORT").and_then(|text| {
            let port = values::number(1..=u16::MAX)(text.trim());
            let number = port.map_err(|problem| mistakes.add("PORT", problem)).ok()?;
            Some(Port { number, source: "PORT" })
        });
        let mut json = |name: &str| {
            let parsed = serde_json::from_str(variable(name)?);
            parsed.map_err(|_| mistakes.add(name, "is not JSON")).ok()
        };
        let (application, services): (Option<Value>, Option<Value>) =
            (json("VCAP_APPLICATION"), json("VCAP_SERVICES"));
        let platform = if variable("VCAP_APPLICATION").is_some() {
            Some(Platform::CloudFoundry)
        } else if TSURU.iter().any(|name| variable(name).is_some()) {
            Some(Platform::Tsuru)
        } else {
            None
        };
        Self {
            platform,
            port,
            service_manager: service_manager(&variable),
            search: std::env::split_paths(variable("PATH").map_or(PATH, String::as_str)).collect(),
            base_url: application.as_ref().and_then(first_route),
            explicit_timestamps: variable("USE_EXPLICIT_TIMESTAMPS")
                .is_some_and(|text| text.trim().eq_ignore_ascii_case("true")),
            log_level: variable("LOG_LEVEL").and_then(|text| log_level(text)),
            database_url: services.as_ref().and_then(postgres),
        }
    }
}

/// A watchdog of another process, such as a parent, is ignored.
fn service_manager<'a>(variable: &impl Fn(&str) -> Option<&'a String>) -> ServiceManagerSettings {
    let pid = variable("WATCHDOG_PID").map(|pid| pid.trim());
    let is_own = pid.is_none_or(|pid| pid == std::process::id().to_string());
    let micros = variable("WATCHDOG_USEC").and_then(|text| text.trim().parse().ok());
    let watchdog = micros.filter(|micros| *micros > 0 && is_own).map(Duration::from_micros);
    ServiceManagerSettings { notify_socket: variable("NOTIFY_SOCKET").cloned(), watchdog }
}

/// Other texts are those of other programs.
fn log_level(text: &str) -> Option<&'static str> {
    let levels = ["error", "warn", "info", "debug"];
    levels.into_iter().find(|level| level.eq_ignore_ascii_case(text.trim()))
}

fn first_route(application: &Value) -> Option<BaseUrl> {
    let route = application.get("application_uris")?.get(0)?.as_str()?;
    format!("https://{route}").parse().ok()
}

/// Returns the URL of the first PostgreSQL that has one. Services are ordered by name, and the
/// instances of a service as the platform lists them.
fn postgres(services: &Value) -> Option<Result<DatabaseUrl, String>> {
    let mut services: Vec<_> = services.as_object()?.iter().collect();
    services.sort_by_key(|(name, _)| name.as_str());
    let instances: Vec<_> =
        services.into_iter().filter_map(|(_, instances)| instances.as_array()).flatten().collect();
    let problem = |instance: &Value, problem: &str| {
        let name = instance.get("name").and_then(Value::as_str).unwrap_or_default();
        format!("the bound PostgreSQL {name:?}: {problem}; fix it, or set database_url")
    };
    let with_url = instances.iter().find_map(|instance| Some((instance, url_of(instance)?)));
    match with_url {
        Some((instance, url)) => {
            Some(url.parse().map_err(|error| problem(instance, &format!("its uri {error}"))))
        }
        None => instances
            .iter()
            .find(|instance| is_tagged(instance))
            .map(|instance| Err(problem(instance, "has no uri that begins with postgres://"))),
    }
}

fn url_of(instance: &Value) -> Option<&str> {
    let credentials = instance.get("credentials")?;
    let mut texts =
        ["uri", "url", "database_url"].into_iter().filter_map(|key| credentials.get(key)?.as_str());
    texts.find(|text| DatabaseUrl::is_postgres(text))
}

fn is_tagged(instance: &Value) -> bool {
    let tags = instance.get("tags").and_then(Value::as_array).into_iter().flatten();
    tags.filter_map(Value::as_str).any(|tag| POSTGRES.contains(&tag.to_lowercase().as_str()))
}
