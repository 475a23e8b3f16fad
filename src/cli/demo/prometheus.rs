//! The demo's Prometheus. It requires a `prometheus` executable.

use super::{
    output::StartProgress,
    platform::{self, Credentials, Platform},
};
use crate::{cli::Environment, provisioner::process::find_program};
use anyhow::anyhow;
use serde_json::{Value, json};
use std::{
    env, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// Number of ports for it, beginning at a free one.
const PORTS: u16 = 20;
/// Timeout for the first samples. Service discovery runs every five seconds.
const SAMPLES_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// A series of the demo's app.
const SERIES: &str = "demo_http_requests_total";

/// The series of events.
const EVENTS: &str = "events_to_metrics";

/// The series of alerts.
const ALERTS: &str = "ALERTS";

/// A pool of the servers of the demo's Prometheus.
const POOLS: &str =
    r#"[{"name": "demo", "selection_interval": "1s", "locators": [{"provisioned": "all"}]}]"#;

/// Maximum storage of the demo's Prometheus.
const RETENTION_SIZE: &str = "128MiB";

#[derive(Clone, Debug)]
pub(super) enum DemoPrometheus {
    /// It runs and has samples, and the query pool of its servers is ready.
    Runs,
    /// There is no executable.
    NoProgram,
    /// It could not be created.
    Failed(String),
}

/// Paths of the executables.
pub(super) struct PrometheusPrograms {
    prometheus: PathBuf,
    /// Some packages of Prometheus do not have it. Without it there are no alerts.
    promtool: Option<PathBuf>,
}

impl PrometheusPrograms {
    /// The programs that are in the `PATH`, if Prometheus is.
    pub(super) fn find(environment: &Environment) -> Option<Self> {
        let folders: Vec<_> = env::split_paths(environment.get("PATH")?).collect();
        let program = |name: &str| find_program(Path::new(name), &folders).ok();
        Some(Self { prometheus: program("prometheus")?, promtool: program("promtool") })
    }

    /// A rule whose alert fires for the instance that fails, if rules can be checked.
    fn rules(&self) -> Option<Value> {
        self.promtool.as_ref()?;
        let rule = json!({
            "alert": "InstanceFailing",
            "expr": "up == 0",
            "labels": {"severity": "warning"},
            "annotations": {"summary": "{{ $labels.instance }} cannot be scraped"},
        });
        Some(json!({"groups": [{"name": "demo", "rules": [rule]}]}))
    }
}

/// Settings with which all files of Prometheus are in `folder`, and with a query pool at `pool`.
pub(super) fn settings(
    programs: Option<&PrometheusPrograms>,
    folder: &Path,
    pool: SocketAddr,
) -> io::Result<Vec<(&'static str, String)>> {
    let Some(PrometheusPrograms { prometheus, promtool }) = programs else {
        return Ok(vec![("PROMETHEUS__PROVISIONER", "none".to_owned())]);
    };
    let first_port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let first_port = first_port.min(u16::MAX - PORTS);
    let mut settings = vec![
        ("PROMETHEUS__PROVISIONER", "process".to_owned()),
        ("PROMETHEUS__BINARY", prometheus.display().to_string()),
        ("PROMETHEUS__DATA_DIR", folder.join("prometheus-instances").display().to_string()),
        ("PROMETHEUS__TMPFS_DIR", folder.join("prometheus-in-memory").display().to_string()),
        ("PROMETHEUS__PORTS", format!("{first_port}-{}", first_port + PORTS)),
        ("QUERY__LISTEN", pool.to_string()),
        ("QUERY__POOLS", POOLS.to_owned()),
    ];
    let promtool = promtool.iter().map(|path| path.display().to_string());
    settings.extend(promtool.map(|path| ("PROMETHEUS__PROMTOOL", path)));
    Ok(settings)
}

/// The catalog with retention sizes that are small enough for any disk.
pub(super) fn small_catalog(catalog: &str) -> serde_json::Result<String> {
    let mut catalog: Value = serde_json::from_str(catalog)?;
    let services = catalog.get_mut("services").and_then(Value::as_array_mut);
    let plans = services
        .into_iter()
        .flatten()
        .filter_map(|service| service.get_mut("plans").and_then(Value::as_array_mut));
    for plan in plans.flatten() {
        if let Some(size) = plan.pointer_mut("/metadata/prometheus/retention_size") {
            *size = RETENTION_SIZE.into();
        }
    }
    Ok(catalog.to_string())
}

/// Provisions the Prometheus, binds the app to it, and waits for samples and the alert.
pub(super) async fn provision(
    programs: Option<&PrometheusPrograms>,
    platform: &Platform<'_>,
    pool: SocketAddr,
    progress: &StartProgress,
) -> DemoPrometheus {
    let Some(programs) = programs else { return DemoPrometheus::NoProgram };
    let provisioned = async {
        progress.step("two Prometheus servers");
        let rules = programs.rules();
        let alerts = rules.as_ref().map(|_| ALERTS);
        let credentials = platform::prometheus(platform, rules).await?;
        progress.step("first samples");
        let samples = timeout(SAMPLES_TIMEOUT, async {
            for series in [SERIES, EVENTS].into_iter().chain(alerts) {
                samples(platform, &credentials.url, Some(&credentials), series).await;
            }
            samples(platform, &format!("http://{pool}"), None, SERIES).await;
        });
        samples
            .await
            .map_err(|_| anyhow!("it has no samples after {} s", SAMPLES_TIMEOUT.as_secs()))
    };
    match provisioned.await {
        Ok(()) => DemoPrometheus::Runs,
        Err(error) => DemoPrometheus::Failed(error.to_string()),
    }
}

/// Returns when the Prometheus at `url` has samples of a series.
async fn samples(
    platform: &Platform<'_>,
    url: &str,
    credentials: Option<&Credentials>,
    series: &str,
) {
    let url = format!("{url}/api/v1/query?query={series}");
    loop {
        let mut request = platform.http.get(&url);
        if let Some(Credentials { username, password, .. }) = credentials {
            request = request.basic_auth(username, password);
        }
        if let Ok(mut response) = request.send().await
            && let Ok(answer) = response.json::<Value>().await
            && answer.pointer("/data/result/0").is_some()
        {
            return;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_program_nothing_is_provisioned() {
        let pool = ([127, 0, 0, 1], 9090).into();
        assert!(PrometheusPrograms::find(&[("PATH".into(), "/nowhere".into())].into()).is_none());
        let settings = settings(None, Path::new("/nowhere"), pool).unwrap();
        assert_eq!(settings, [("PROMETHEUS__PROVISIONER", "none".to_owned())]);
    }

    #[test]
    fn rules_require_promtool() {
        let prometheus = PathBuf::from("/bin/prometheus");
        let mut programs = PrometheusPrograms { prometheus, promtool: None };
        assert_eq!(programs.rules(), None);
        programs.promtool = Some("/bin/promtool".into());
        let rules = programs.rules().unwrap();
        assert_eq!(rules["groups"][0]["rules"][0]["expr"], "up == 0");
    }

    #[test]
    fn retention_sizes_are_small() {
        let catalog = small_catalog(crate::config::catalog::BUILT_IN).unwrap();
        assert!(catalog.contains("\"retention_size\":\"128MiB\""), "{catalog}");
    }
}
