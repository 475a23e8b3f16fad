//! Readiness and reload probes of a replica.

use crate::{net, provisioner::DesiredInstance};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, time::Duration};
use tokio::time::timeout;

/// Timeout of one probe.
const TIMEOUT: Duration = Duration::from_secs(3);

/// `/metrics` of Prometheus has some hundred kilobytes.
const MAX_BODY_SIZE: u64 = 16 << 20;

/// Probes are rare, so each one uses a new connection.
pub(super) struct HealthProbe(awc::Client);

/// Result of the last configuration reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reload {
    pub(super) was_successful: bool,
    /// Timestamp of the last successful reload, as Prometheus exposes it.
    pub(super) at: String,
}

impl HealthProbe {
    pub(super) fn new() -> Self {
        Self(net::client(net::connector(None).timeout(TIMEOUT)))
    }

    pub(super) async fn is_ready(&self, url: &str, password: &SecretString) -> bool {
        self.get(&format!("{url}/-/ready"), password).await.is_some()
    }

    pub(super) async fn last_reload(&self, url: &str, password: &SecretString) -> Option<Reload> {
        let text = self.get(&format!("{url}/metrics"), password).await?;
        let value =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Some(Reload {
            was_successful: value("prometheus_config_last_reload_successful")? == "1",
            at: value("prometheus_config_last_reload_success_timestamp_seconds")?.to_owned(),
        })
    }

    async fn get(&self, url: &str, password: &SecretString) -> Option<String> {
        let request = self
            .0
            .get(url)
            .force_close()
            .basic_auth(DesiredInstance::WEB_USER, password.expose_secret());
        let exchange = async {
            let mut response = net::send(request).await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            let body = net::read_body(&mut response, MAX_BODY_SIZE).await.ok()?;
            String::from_utf8(body).ok()
        };
        timeout(TIMEOUT, exchange).await.ok()?
    }
}

impl fmt::Debug for HealthProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthProbe").finish_non_exhaustive()
    }
}
