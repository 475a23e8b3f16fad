//! The Prometheus of the demo, if the program is installed.

use super::platform::{self, Credentials, Platform};
use crate::{cli::Environment, provisioner::process::find_program};
use anyhow::anyhow;
use serde_json::Value;
use std::{
    env,
    fmt::{self, Write},
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// Number of ports after the first free one that it may use.
const PORTS: u16 = 20;
/// Timeout for the first samples: service discovery runs every five seconds.
const SAMPLES_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Series of the demo's app.
pub(super) const SERIES: &str = "api_http_requests_total";

/// Storage of the demo's Prometheus.
const RETENTION_SIZE: &str = "128MiB";

#[derive(Clone, Debug)]
pub(super) enum Own {
    /// It runs, and has samples.
    Runs(Credentials),
    /// There is no program to run.
    NoProgram,
    /// It could not be created.
    Failed(String),
}

/// The program, if it is in `PATH`.
pub(super) fn program(environment: &Environment) -> Option<PathBuf> {
    let folders: Vec<_> = env::split_paths(environment.get("PATH")?).collect();
    find_program(Path::new("prometheus"), &folders).ok()
}

/// The settings with which `program` keeps everything in `folder`.
pub(super) fn settings(
    program: Option<&Path>,
    folder: &Path,
) -> io::Result<Vec<(&'static str, String)>> {
    let Some(program) = program else {
        return Ok(vec![("PROMETHEUS__PROVISIONER", "none".to_owned())]);
    };
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let first = first.min(u16::MAX - PORTS);
    Ok(vec![
        ("PROMETHEUS__PROVISIONER", "process".to_owned()),
        ("PROMETHEUS__BINARY", program.display().to_string()),
        ("PROMETHEUS__DATA_DIR", folder.join("prometheus-instances").display().to_string()),
        ("PROMETHEUS__TMPFS_DIR", folder.join("prometheus-in-memory").display().to_string()),
        ("PROMETHEUS__PORTS", format!("{first}-{}", first + PORTS)),
    ])
}

/// The catalog with plans that fit on every disk.
pub(super) fn modest(catalog: &str) -> serde_json::Result<String> {
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

/// Creates it, binds the app, and waits for samples.
pub(super) async fn make(program: Option<&Path>, platform: &Platform<'_>) -> Own {
    if program.is_none() {
        return Own::NoProgram;
    }
    let made = async {
        let credentials = platform::prometheus(platform).await?;
        let samples = timeout(SAMPLES_TIMEOUT, samples(platform, &credentials)).await;
        samples.map_err(|_| anyhow!("it has no samples after {} s", SAMPLES_TIMEOUT.as_secs()))?;
        Ok::<_, anyhow::Error>(credentials)
    };
    match made.await {
        Ok(credentials) => Own::Runs(credentials),
        Err(error) => Own::Failed(error.to_string()),
    }
}

/// Resolves when there are samples of the app.
async fn samples(platform: &Platform<'_>, credentials: &Credentials) {
    let url = format!("{}/api/v1/query?query={SERIES}", credentials.url);
    loop {
        let request = platform.http.get(&url);
        let request = request.basic_auth(&credentials.username, &credentials.password);
        if let Ok(mut response) = request.send().await
            && let Ok(answer) = response.json::<Value>().await
            && answer.pointer("/data/result/0").is_some()
        {
            return;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs(Credentials { url, username, password }) => write!(
                f,
                "\
A dedicated Prometheus scrapes the app every second (cf create-service prometheus standard):

Query it:                    curl -u {username}:{password} '{url}/api/v1/query?query={SERIES}'
Open in a browser:           {url}/
                             (user {username}, password {password})"
            ),
            Self::NoProgram => f.write_str(
                "\
There is no dedicated Prometheus: the program prometheus is not in the PATH. Install it, as with
apt-get install prometheus, or take it from https://prometheus.io/download, and start the demo again.",
            ),
            Self::Failed(why) => {
                f.write_str("There is no dedicated Prometheus: ")?;
                f.write_str(why)?;
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
        let text = Own::NoProgram.to_string();
        assert!(text.contains("apt-get install prometheus") && text.contains("PATH"), "{text}");
        assert!(Own::Failed("no port is free".to_owned()).to_string().ends_with("is free."));
        let settings = settings(None, Path::new("/nowhere")).unwrap();
        let catalog = modest(crate::config::catalog::BUILT_IN).unwrap();
        assert!(catalog.contains("\"retention_size\":\"128MiB\""), "{catalog}");
        assert_eq!(settings, [("PROMETHEUS__PROVISIONER", "none".to_owned())]);
    }
}
