//! Polls the apps of an instance, so that their state can be read without waiting.

use super::{
    TsuruSettings,
    state::{self, ProbeResult},
};
use crate::{
    domain::prometheus::Replica,
    net,
    provisioner::DesiredInstance,
    tls::ClientConfig,
    tsuru::{AppInfo, TsuruApiError, TsuruClient, one_line},
};
use secrecy::{ExposeSecret, SecretString};
use std::{cell::RefCell, fmt, rc::Rc, sync::Arc, time::Duration};
use tokio::{task::JoinHandle, time::timeout};

/// The app of a replica.
#[derive(Clone, Debug)]
pub(super) struct ReplicaApp {
    pub(super) number: u8,
    pub(super) app: String,
    pub(super) password: SecretString,
}

/// The state of the replicas of an instance. Polling ends on drop.
#[derive(Debug)]
pub(super) struct ReplicaWatcher {
    replicas: Rc<RefCell<Vec<Replica>>>,
    task: JoinHandle<()>,
}

impl ReplicaWatcher {
    /// Polls every `interval`. Requires a `LocalSet`.
    pub(super) fn start(
        probe: ReplicaProbe,
        apps: Vec<ReplicaApp>,
        replicas: Vec<Replica>,
        interval: Duration,
    ) -> Self {
        let replicas = Rc::new(RefCell::new(replicas));
        let seen = Rc::clone(&replicas);
        let task = tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(interval).await;
                for app in &apps {
                    // The state stays unchanged while Tsuru does not answer.
                    let Ok(now) = probe.probe(app).await else { continue };
                    let mut seen = seen.borrow_mut();
                    if let Some(replica) = seen.iter_mut().find(|it| it.number == now.number) {
                        *replica = now;
                    }
                }
            }
        });
        Self { replicas, task }
    }

    pub(super) fn replicas(&self) -> Vec<Replica> {
        self.replicas.borrow().clone()
    }
}

impl Drop for ReplicaWatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Maximum timeout of a readiness request.
const MAX_PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Determines the state of a replica.
#[derive(Clone)]
pub(super) struct ReplicaProbe {
    client: TsuruClient,
    /// For connections to the apps.
    tls: Arc<ClientConfig>,
    scheme: String,
    /// Timeout of a readiness request.
    limit: Duration,
}

impl ReplicaProbe {
    pub(super) fn new(
        client: TsuruClient,
        tls: Arc<ClientConfig>,
        settings: &TsuruSettings,
    ) -> Self {
        let limit = settings.timeout.min(MAX_PROBE_TIMEOUT);
        Self { client, tls, scheme: settings.scheme.clone(), limit }
    }

    pub(super) async fn probe(&self, watched: &ReplicaApp) -> Result<Replica, TsuruApiError> {
        match self.client.app(&watched.app).await? {
            None => Ok(state::gone(watched.number)),
            // Tsuru could not determine the units.
            Some(app) if !state::has_units(&app) && !app.error.is_empty() => {
                Err(TsuruApiError::InStream(one_line(&app.error)))
            }
            Some(app) => Ok(self.probe_app(watched, &app).await),
        }
    }

    async fn probe_app(&self, watched: &ReplicaApp, app: &AppInfo) -> Replica {
        let url = app.url(&self.scheme);
        let result = match &*url {
            "" => ProbeResult::NoResponse("Tsuru reports no address of the app".to_owned()),
            url => self.probe_ready(url, &watched.password).await,
        };
        state::replica(watched.number, &url, app, &result)
    }

    /// Sends a readiness request to the Prometheus at `url`, on a new connection.
    async fn probe_ready(&self, url: &str, password: &SecretString) -> ProbeResult {
        let url = format!("{url}/-/ready");
        let (url, tls) = match net::plain_http_url(&url) {
            None => (url, None),
            Some(url) => (url, Some(Arc::clone(&self.tls))),
        };
        let request = net::client(net::connector(tls).timeout(2 * self.limit))
            .get(url)
            .force_close()
            .basic_auth(DesiredInstance::WEB_USER, password.expose_secret());
        match timeout(self.limit, net::send(request)).await {
            Ok(Ok(response)) => ProbeResult::Status(response.status().as_u16()),
            Ok(Err(error)) => ProbeResult::NoResponse(net::reason(&error)),
            Err(_) => ProbeResult::NoResponse(TsuruApiError::Timeout(self.limit).to_string()),
        }
    }
}

impl fmt::Debug for ReplicaProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaProbe").finish_non_exhaustive()
    }
}
