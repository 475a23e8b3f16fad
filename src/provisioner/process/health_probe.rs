//! Asks a replica how it does.

use crate::{net, provisioner::DesiredInstance};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, time::Duration};
use tokio::time::timeout;

/// A Prometheus that is well answers at once.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Its own metrics are some hundred kilobytes.
const LONGEST_ANSWER: usize = 16 << 20;

/// Asks cancel connections that are used once: a replica is asked now and then.
pub(super) struct HealthProbe(awc::Client);

/// What a process says of the configuration that it read last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reload {
    pub(super) was_successful: bool,
    /// When it took one last.
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
            let mut answer = net::send(request).await.ok()?;
            if !answer.status().is_success() {
                return None;
            }
            let body = answer.body().limit(LONGEST_ANSWER).await.ok()?;
            String::from_utf8(body.to_vec()).ok()
        };
        timeout(TIMEOUT, exchange).await.ok()?
    }
}

impl fmt::Debug for HealthProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthProbe").finish_non_exhaustive()
    }
}
