//! The demo's Prometheus. It requires a `prometheus` executable.

use super::platform::{self, Credentials, Platform};
use crate::{cli::Environment, provisioner::process::find_program};
use anyhow::anyhow;
use serde_json::Value;
use std::{
    env,
    fmt::{self, Write},
    io,
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
pub(super) const SERIES: &str = "api_http_requests_total";

/// The series of events.
const EVENTS: &str = "events_to_metrics";

/// A pool of the servers of the demo's Prometheus.
const POOLS: &str =
    r#"[{"name": "demo", "selection_interval": "1s", "locators": [{"provisioned": "all"}]}]"#;

/// Maximum storage of the demo's Prometheus.
const RETENTION_SIZE: &str = "128MiB";

#[derive(Clone, Debug)]
pub(super) enum DemoPrometheus {
    /// It runs and has samples, and the query pool of its servers is ready.
    Runs { credentials: Credentials, pool: SocketAddr },
    /// There is no executable.
    NoProgram,
    /// It could not be created.
    Failed(String),
}

/// The executable, if it is in the `PATH`.
pub(super) fn program(environment: &Environment) -> Option<PathBuf> {
    let folders: Vec<_> = env::split_paths(environment.get("PATH")?).collect();
    find_program(Path::new("prometheus"), &folders).ok()
}

/// Settings with which all files of `program` are in `folder`, and with a query pool at `pool`.
pub(super) fn settings(
    program: Option<&Path>,
    folder: &Path,
    pool: SocketAddr,
) -> io::Result<Vec<(&'static str, String)>> {
    let Some(program) = program else {
        return Ok(vec![("PROMETHEUS__PROVISIONER", "none".to_owned())]);
    };
    let first_port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let first_port = first_port.min(u16::MAX - PORTS);
    Ok(vec![
        ("PROMETHEUS__PROVISIONER", "process".to_owned()),
        ("PROMETHEUS__BINARY", program.display().to_string()),
        ("PROMETHEUS__DATA_DIR", folder.join("prometheus-instances").display().to_string()),
        ("PROMETHEUS__TMPFS_DIR", folder.join("prometheus-in-memory").display().to_string()),
        ("PROMETHEUS__PORTS", format!("{first_port}-{}", first_port + PORTS)),
        ("QUERY__LISTEN", pool.to_string()),
        ("QUERY__POOLS", POOLS.to_owned()),
    ])
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

/// Provisions the Prometheus, binds the app to it, and waits for samples.
pub(super) async fn provision(
    program: Option<&Path>,
    platform: &Platform<'_>,
    pool: SocketAddr,
) -> DemoPrometheus {
    if program.is_none() {
        return DemoPrometheus::NoProgram;
    }
    let provisioned = async {
        let credentials = platform::prometheus(platform).await?;
        let samples = timeout(SAMPLES_TIMEOUT, async {
            samples(platform, &credentials.url, Some(&credentials), SERIES).await;
            samples(platform, &credentials.url, Some(&credentials), EVENTS).await;
            samples(platform, &format!("http://{pool}"), None, SERIES).await;
        });
        samples
            .await
            .map_err(|_| anyhow!("it has no samples after {} s", SAMPLES_TIMEOUT.as_secs()))?;
        Ok::<_, anyhow::Error>(credentials)
    };
    match provisioned.await {
        Ok(credentials) => DemoPrometheus::Runs { credentials, pool },
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

impl fmt::Display for DemoPrometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs { credentials: Credentials { url, username, password }, pool } => write!(
                f,
                "\
A dedicated Prometheus scrapes the app every second with two servers (cf create-service prometheus ha):

Query it:                    curl -u {username}:{password} '{url}/api/v1/query?query={SERIES}'
The app's last events:       curl -gu {username}:{password} '{url}/api/v1/query?query=last_over_time({EVENTS}[5m])'
Open in a browser:           {url}/
                             (user {username}, password {password})

A query pool is one address in front of both servers, as for Grafana. Kill one of the two prometheus
processes: no query fails, and what it missed is answered by the other.

Query the pool:              curl 'http://{pool}/api/v1/query?query={SERIES}'
See its servers:             http://{pool}/mpp/status"
            ),
            Self::NoProgram => f.write_str(
                "\
There is no dedicated Prometheus: the program prometheus is not in the PATH. Install it, as with
apt-get install prometheus, or take it from https://prometheus.io/download, and start the demo again.",
            ),
            Self::Failed(reason) => {
                f.write_str("There is no dedicated Prometheus: ")?;
                f.write_str(reason)?;
                f.write_char('.')
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_how_to_install_prometheus() {
        let text = DemoPrometheus::NoProgram.to_string();
        assert!(text.contains("apt-get install prometheus") && text.contains("PATH"), "{text}");
        assert!(
            DemoPrometheus::Failed("no port is free".to_owned()).to_string().ends_with("is free.")
        );
        let pool = ([127, 0, 0, 1], 9090).into();
        let settings = settings(None, Path::new("/nowhere"), pool).unwrap();
        let catalog = small_catalog(crate::config::catalog::BUILT_IN).unwrap();
        assert!(catalog.contains("\"retention_size\":\"128MiB\""), "{catalog}");
        assert_eq!(settings, [("PROMETHEUS__PROVISIONER", "none".to_owned())]);
    }
}
